/* SPDX-License-Identifier: MIT */
/* Answers of an engine as they become a world, and the plan's next step in it. An input is a line, "ENGINE PHASE
 * LETTERS" without the spaces, and the answers: ENGINE as for fuzz-engine, PHASE the digit of the record's phase; the
 * letters are below. */
#include "answers.h"
#include "engine.h"
#include "plan.h"
#include "ref.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define OLD_ID "aaaaaaaaaaaaaaaa"
#define NEW_ID "bbbbbbbbbbbbbbbb"
#define IMAGE  "sha256:2222222222222222222222222222222222222222222222222222222222222222"

static void set_digest(struct digest *d, char c)
{
	memset(d->text, c, DIGEST_TEXT_LEN);
	memcpy(d->text, "sha256:", strlen("sha256:"));
}

static void make_record(const char *letters, struct record *r)
{
	record_init(r);
	r->phase =
		letters[0] >= '0' && letters[0] < '0' + PHASE_MAX ? letters[0] - '0' : PHASE_IDLE;
	set_digest(&r->current.digest, '1');
	set_digest(&r->target.digest, '2');
	set_digest(&r->previous.digest, '3');
	copy_text(r->old_id, sizeof(r->old_id), strchr(letters, 'o') ? "" : OLD_ID);
	copy_text(r->new_id, sizeof(r->new_id), strchr(letters, 'n') ? "" : NEW_ID);
	copy_text(r->target.image, sizeof(r->target.image), strchr(letters, 'i') ? IMAGE : "");
	copy_text(r->current.image, sizeof(r->current.image), strchr(letters, 'c') ? IMAGE : "");
	r->previous.brought = !strchr(letters, 'k');
	r->serving = !strchr(letters, 's');
	r->synced = strchr(letters, 'y');
	r->rollback = strchr(letters, 'b');
	r->starts = strchr(letters, 't') ? PLAN_STARTS_MAX : 0;
	if (!strchr(letters, 'f'))
		return;
	r->n_followers = 1;
	r->followers[0] = (struct follower){.name = "side", .old_id = OLD_ID, .serving = true};
}

static void check_view(const struct container_view *v)
{
	answers_check_text(v->error);
	if (v->id[sizeof(v->id) - 1] || v->image[sizeof(v->image) - 1] ||
	    v->policy[sizeof(v->policy) - 1] || v->final_policy[sizeof(v->final_policy) - 1])
		abort();
	/* A container is ours by both labels. */
	if (digest_is_set(&v->target) != (v->final_policy[0] != '\0'))
		abort();
	(void)view_is_broken(v);
	(void)view_left_alone(v);
}

static void check_world(const struct world *w, const struct record *r)
{
	for (size_t i = 0; i < MEMBERS_MAX; i++) {
		check_view(&w->members[i].old);
		check_view(&w->members[i].new);
	}
	check_view(&w->blocker);
	(void)world_runs_current(w, r);
}

/* A plan has a next step in every world, and says why a pass ends. */
static void plan(const struct record *r, const struct world *w)
{
	static const enum operation asked[] = {OPERATION_UPDATE, OPERATION_CHECK,
					       OPERATION_ROLLBACK};
	struct container_config config = {.name = (char *)"app", .image = (char *)"r.io/app:v1"};

	for (size_t i = 0; i < ARRAY_SIZE(asked); i++) {
		struct pass_state m = {.operation = asked[i], .now_ms = 1, .now_s = 1796126400};
		struct record decided = *r;
		struct step step = plan_next(&config, r, w, &m);

		answers_check_text(step.reason);
		(void)plan_candidate(r, w, &m);
		(void)plan_runs_already(r, w, &m);
		if (step.member >= MEMBERS_MAX)
			abort();
		if (action_is_decision(step.action))
			plan_decide(&decided, &m, step.action, w);
	}
}

static void look(const struct context *s, const struct record *r)
{
	static struct world w, before;
	struct error e;
	int q;

	memset(&w, 0, sizeof(w));
	/* The second one goes by what the first one has found. */
	for (unsigned int i = 0; i < 2; i++) {
		before = w;
		q = world_look(s, r, i ? WORLD_WHOLE : WORLD_CONTAINERS | WORLD_IMAGES, &w, &e);
		if (q < 0) {
			answers_check_error(&e, q);
			if (memcmp(&w, &before, sizeof(w)) != 0)
				abort();
			return;
		}
		check_world(&w, r);
		plan(r, &w);
	}
}

static void recover(const struct context *s, struct record *r)
{
	struct container_view slots[SLOT_MAX];
	struct error e;
	int q = world_look_at_names(s, slots, &e);

	if (q < 0) {
		answers_check_error(&e, q);
		return;
	}
	for (size_t i = 0; i < SLOT_MAX; i++)
		check_view(&slots[i]);
	record_init(r);
	plan_recover(r, slots);
	if (r->phase >= PHASE_MAX)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_free_ char *line = answers_take_line(&data, &n);
	const char *letters = line[0] ? line + 1 : line;
	_cleanup_engine_ struct engine *engine = NULL;
	struct context s = {.name = "app"};
	static struct record r;
	static bool ready;
	struct error e;
	struct ref ref;
	const char *why;

	if (!ready)
		json_budget((size_t)6 * 1024 * 1024);
	ready = true;
	if (answers_open_engine(line[0], data, n, &engine, &e) < 0)
		return 0;
	if (ref_parse(strchr(letters, 'p') ? "r.io/app@" IMAGE : "r.io/app:v1", &ref, &why) < 0)
		abort();
	s.engine = engine;
	s.ref = &ref;
	make_record(letters, &r);
	if (strchr(letters, 'r'))
		recover(&s, &r);
	look(&s, &r);
	ref_free(&ref);
	return 0;
}
