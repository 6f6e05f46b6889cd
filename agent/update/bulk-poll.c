/* SPDX-License-Identifier: MIT */
#include "bulk-poll.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "clock.h"
#include "engine.h"
#include "log.h"
#include "record.h"
#include "ref.h"
#include "saved-spec.h"
#include "world.h"

/* A container whose registry is asked. Its record is read again when more of it is needed, since a thousand records
 * do not fit into the memory of a small machine. */
struct asked {
	const struct container_config *config;
	struct ref ref;
	struct digest current;
	bool had_error; /* last_error is set */
	bool done;
};

struct poll {
	const struct task *task;
	struct asked *asked;
	size_t n;
	char engine[RECORD_ENGINE_MAX]; /* its version */
};

static struct result result_of(const struct container_config *c, const struct digest *from)
{
	return (struct result){
		.container = c->name, .image = c->image, .from = *from, .downtime_ms = -1};
}

static void report_candidate(const struct poll *p, const struct container_config *c)
{
	p->task->on_event(json_pack("{s:s, s:s}", "event", "candidate", "container", c->name));
}

/* Reports the result, and saves what it says about last_error. */
static void take(const struct poll *p, const struct result *r)
{
	_cleanup_free_ struct record *record = xmalloc(sizeof(*record));
	struct error ignored;

	if (record_read(p->task->state_dir, r->container, record, &ignored) == 0)
		result_save_error(r, p->task->state_dir, record);
	p->task->on_result(r);
}

static void defer(const struct poll *p, const struct container_config *c,
		  const struct digest *current, const char *reason)
{
	struct result r = result_of(c, current);

	r.outcome = OUTCOME_DEFERRED;
	copy_text(r.reason, sizeof(r.reason), reason);
	take(p, &r);
}

/* --- containers and records --- */

static const json_t *find_container(const json_t *list, const char *base, enum slot slot)
{
	_cleanup_free_ char *name = world_slot_name(base, slot);
	const json_t *container, *alias;
	size_t i, j;

	json_array_foreach (list, i, container) {
		json_array_foreach (json_object_get(container, "Names"), j, alias) {
			const char *s = json_string_value(alias);

			/* A link of another container is "/OTHER/ALIAS". */
			if (s && streq(s + (s[0] == '/'), name))
				return container;
		}
	}
	return NULL;
}

/* A container that runs, or ended well, needs no repair. */
static bool is_well(const json_t *container)
{
	const char *state = json_get_string(container, "State");
	const char *status = json_get_string(container, "Status");

	return state && (streq(state, "running") ||
			 (streq(state, "exited") && status && after_prefix(status, "Exited (0)")));
}

/* Whether only a new digest can make work. An update that waits has set seen, and its pass asks the registry. */
static bool is_at_rest(const struct poll *p, const struct container_config *c, const json_t *list,
		       struct record *record)
{
	const json_t *container = find_container(list, c->name, SLOT_MAIN);
	const char *image = json_get_string(container, "ImageID");
	/* The pass tells of it. */
	bool in_the_way = find_container(list, c->name, SLOT_NEXT) ||
			  find_container(list, c->name, SLOT_PREV);
	struct error ignored;

	return record_read(p->task->state_dir, c->name, record, &ignored) == 0 &&
	       record->phase == PHASE_IDLE && !digest_is_set(&record->seen) &&
	       digest_is_set(&record->current.digest) && image &&
	       streq(image, record->current.image) && is_well(container) && !in_the_way &&
	       !saved_spec_exists(p->task->state_dir, c->name);
}

/* Reports containers that need no registry; the others go to p->asked. */
static int look(struct poll *p, const struct container_config *const *containers, size_t n,
		struct error *ret_error)
{
	_cleanup_free_ struct record *record = xmalloc(sizeof(*record));
	_cleanup_json_ json_t *list = NULL;
	_cleanup_engine_ struct engine *engine = NULL;
	const char *ignored;
	int r = engine_open(p->task->config->engine, p->task->cancel, &engine, ret_error);

	if (r < 0)
		return r;
	copy_text(p->engine, sizeof(p->engine), engine_version(engine)->release);
	/* Without a list each container becomes a candidate, whose pass needs no list. */
	if (engine_list(engine, &list, ret_error) < 0)
		log_debug("%s", ret_error->text);
	for (size_t i = 0; i < n; i++) {
		const struct container_config *c = containers[i];
		struct asked *a = &p->asked[p->n];

		record_init(record);
		if (!is_at_rest(p, c, list, record) || ref_parse(c->image, &a->ref, &ignored) < 0) {
			report_candidate(p, c);
			continue;
		}
		if ((record->held || c->hold) && p->task->operation != OPERATION_CHECK) {
			defer(p, c, &record->current.digest,
			      record->held ? RESULT_HELD : RESULT_HELD_CONFIG);
			ref_free(&a->ref);
			continue;
		}
		a->config = c;
		a->current = record->current.digest;
		a->had_error = record->last_error[0];
		p->n++;
	}
	return 0;
}

/* --- registries --- */

/* What the signal ended, which is no failure. */
static const struct error stopped = {.code = -ECANCELED, .text = "stopped"};

static void take_failure(const struct poll *p, const struct asked *a, const struct error *e)
{
	struct result r = result_of(a->config, &a->current);

	result_set_error(&r, *p->task->cancel ? &stopped : e);
	/* A certificate is not valid yet while the clock is behind. */
	if (e->code == -EPROTO && clock_now() == 0) {
		r.outcome = OUTCOME_DEFERRED;
		(void)snprintf(r.reason, sizeof(r.reason), RESULT_CLOCK_NOT_SET ": %.740s",
			       e->text);
	}
	take(p, &r);
}

static void take_digest(const struct poll *p, const struct asked *a, const struct digest *d)
{
	_cleanup_free_ struct record *record = xmalloc(sizeof(*record));
	struct result r = result_of(a->config, &a->current);
	bool same = digest_eq(d, &a->current);
	const char *x = NULL;
	struct error ignored;

	if (!same && record_read(p->task->state_dir, a->config->name, record, &ignored) == 0)
		x = record_rejected(record, d, p->engine);
	r.to = *d;
	r.outcome = x ? OUTCOME_REFUSED : OUTCOME_UP_TO_DATE;
	if (x)
		(void)snprintf(r.reason, sizeof(r.reason), RESULT_REJECTED, x);
	if (x)
		take(p, &r);
	else if (same && !a->had_error)
		p->task->on_result(&r);
	else
		report_candidate(p, a->config);
}

/* Asks for n images of one registry, and takes the answers if there are any. */
static int ask(const struct poll *p, struct fetch *f, struct asked *const *batch, size_t n,
	       unsigned int *ret_wait_s, struct error *ret_error)
{
	_cleanup_free_ const char **images = xcalloc(n, sizeof(*images));
	_cleanup_free_ struct fetch_resolved *resolved = xcalloc(n, sizeof(*resolved));
	int r;

	for (size_t i = 0; i < n; i++)
		images[i] = batch[i]->config->image;
	r = fetch_resolve(f, images, n, resolved, ret_error);
	for (size_t i = 0; r == 0 && i < n; i++) {
		batch[i]->done = true;
		if (resolved[i].error.code == 0) {
			take_digest(p, batch[i], &resolved[i].digest);
			continue;
		}
		if (resolved[i].retry_after_s > *ret_wait_s)
			*ret_wait_s = resolved[i].retry_after_s;
		take_failure(p, batch[i], &resolved[i].error);
	}
	return r;
}

/* Asks for one container first: a registry that sends Retry-After gets no request for the others. */
static void ask_registry(const struct poll *p, struct asked **batch, size_t n)
{
	_cleanup_fetch_ struct fetch *f = fetch_new(&p->task->fetch, batch[0]->ref.host);
	char reason[RECORD_TEXT_MAX];
	unsigned int wait_s = 0;
	struct error e;
	int r = ask(p, f, batch, 1, &wait_s, &e);

	if (r == 0 && wait_s == 0 && n > 1)
		r = ask(p, f, batch + 1, n - 1, &wait_s, &e);
	if (wait_s > 0)
		p->task->on_event(json_pack("{s:s, s:s, s:i}", "event", "retry-after", "registry",
					    batch[0]->ref.host, "seconds", (int)wait_s));
	(void)snprintf(reason, sizeof(reason), RESULT_RETRY_AFTER, batch[0]->ref.host,
		       (uint64_t)wait_s);
	for (size_t i = 0; i < n; i++) {
		if (batch[i]->done)
			continue;
		batch[i]->done = true;
		if (r < 0)
			take_failure(p, batch[i], &e);
		else
			defer(p, batch[i]->config, &batch[i]->current, reason);
	}
}

static void ask_registries(const struct poll *p)
{
	_cleanup_free_ struct asked **batch = xcalloc(p->n, sizeof(*batch));

	for (size_t i = 0; i < p->n; i++) {
		size_t n = 0;

		if (p->asked[i].done)
			continue;
		for (size_t j = i; j < p->n; j++) {
			if (streq(p->asked[j].ref.host, p->asked[i].ref.host))
				batch[n++] = &p->asked[j];
		}
		if (*p->task->cancel)
			take_failure(p, &p->asked[i], &stopped);
		else
			ask_registry(p, batch, n);
	}
}

int bulk_poll_run(const struct task *task, const struct container_config *const *containers,
		  size_t n, struct error *ret_error)
{
	struct poll p = {.task = task, .asked = xcalloc(n, sizeof(*p.asked))};
	int r = look(&p, containers, n, ret_error);

	if (r == 0)
		ask_registries(&p);
	for (size_t i = 0; i < p.n; i++)
		ref_free(&p.asked[i].ref);
	free(p.asked);
	return r;
}
