/* SPDX-License-Identifier: MIT */
#include "pass.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "act.h"
#include "credential.h"
#include "log.h"
#include "news.h"
#include "ref.h"
#include "schedule.h"

#define PASS_ACTIONS_MAX 300 /* far more than any way through the table needs */
#define PASS_MISSES_MAX	 3   /* times the world may change between look and act */
#define PASS_ROUNDS_MAX	 2
#define SETTLE_MS	 300

struct pass {
	const struct pass_options *o;
	const struct container_config *c;
	struct result *result;
	struct record record;
	struct memory memory;
	struct world world;
	struct hands hands;
	struct ref ref;
	struct verified *verified;
	struct fetch_reply reply;
	uint64_t up_since_ms; /* since when the new one is known to be up; 0: not */
	uint64_t progress_ms; /* of the last progress event */
	bool recovered;	      /* the record was lost, and made anew from the engine */
	bool told_before;     /* the result says nothing that the record does not say already */
};

/* Ends the pass with an outcome; the text is for people. */
static void finish(struct pass *p, enum outcome outcome, const char *fmt, ...) format_printf(3, 4);

static void finish(struct pass *p, enum outcome outcome, const char *fmt, ...)
{
	va_list ap;

	p->result->outcome = outcome;
	va_start(ap, fmt);
	(void)vsnprintf(p->result->reason, sizeof(p->result->reason), fmt, ap);
	va_end(ap);
}

static void finish_error(struct pass *p, const struct error *e)
{
	if (e->code == -ECANCELED)
		finish(p, OUTCOME_DEFERRED, "stopped by a signal");
	else
		finish(p, e->code == -EKEYREJECTED ? OUTCOME_REFUSED : OUTCOME_FAILED, "%s",
		       e->text);
}

static void announce_phase(struct pass *p)
{
	json_t *event = json_pack("{s:s, s:s, s:s, s:s}", "event", "phase", "container", p->c->name,
				  "phase", phase_name(p->record.phase), "digest",
				  p->record.target.digest.text);

	p->o->on_event(event);
	json_decref(event);
}

static void on_progress(void *userdata, uint64_t current, uint64_t total)
{
	struct pass *p = userdata;
	json_t *event;

	/* A few a second are enough for any eye. */
	if (now_ms() - p->progress_ms < 250 && current < total)
		return;
	p->progress_ms = now_ms();
	event = json_pack("{s:s, s:s, s:I, s:I}", "event", "progress", "container", p->c->name,
			  "current", (json_int_t)current, "total", (json_int_t)total);
	p->o->on_event(event);
	json_decref(event);
}

static int save(struct pass *p, struct error *ret_error)
{
	return record_save(p->o->state_dir, p->c->name, &p->record, ret_error);
}

/* Failures are remembered once, not written again at every poll. */
static void save_last_error(struct pass *p)
{
	char text[RECORD_TEXT_MAX];
	struct error e;
	bool bad = p->result->outcome == OUTCOME_FAILED || p->result->outcome == OUTCOME_REFUSED;

	if (p->told_before || (!bad && p->result->outcome != OUTCOME_UP_TO_DATE))
		return;
	(void)snprintf(text, sizeof(text), "%.500s", bad ? p->result->reason : "");
	if (streq(text, p->record.last_error))
		return;
	memcpy(p->record.last_error, text, sizeof(text));
	if (save(p, &e) < 0)
		log_warning("%s: %s", p->c->name, e.text);
}

static struct health_rule rule_of(const struct container_config *c)
{
	return (struct health_rule){.kind = c->health, .period_ms = c->health_period_ms};
}

/* What the plan cannot know by itself: time, and what it means for health. */
static void update_memory(struct pass *p)
{
	const struct container_view *new = &p->world.new;
	struct health_rule rule = rule_of(p->c);
	struct memory *m = &p->memory;
	bool up = view_exists(new) && view_is_up(new);

	if (!up)
		p->up_since_ms = 0;
	else if (p->up_since_ms == 0)
		p->up_since_ms = now_ms();
	m->verdict = VERDICT_PENDING;
	if (p->record.phase == PHASE_TRIAL && view_exists(new) &&
	    (up || m->started_new || health_is_finished(&rule, new, p->record.policy)))
		m->verdict = health_judge(&rule, new, p->record.policy,
					  up ? now_ms() - p->up_since_ms : 0, m->reason);
}

/* What it said last is what people need: one line of its log, in the reason. */
static void add_last_words(struct pass *p)
{
	char line[120], *reason = p->memory.reason;
	size_t n = strlen(reason);

	if (engine_last_log(p->hands.sight.engine, p->world.new.id, line, sizeof(line)) == 0 &&
	    line[0])
		(void)snprintf(reason + n, RECORD_TEXT_MAX - n, "; its last words: %s", line);
}

static int64_t wall_ns(void)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_REALTIME, &ts) < 0)
		return 0;
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static int probe(struct pass *p, int64_t looked_ns, struct error *ret_error)
{
	uint64_t up = now_ms() - p->up_since_ms, period = p->c->health_period_ms;

	return engine_wait_event(p->hands.sight.engine, p->world.new.id, looked_ns,
				 up < period ? (unsigned int)(period - up) : 1, ret_error);
}

static int decide(struct pass *p, enum action decision, struct error *ret_error)
{
	enum phase before = p->record.phase;
	int r;

	if (decision == ACT_DECIDE_REVERT && p->memory.verdict == VERDICT_BAD)
		add_last_words(p);
	plan_decide(&p->record, &p->memory, decision, &p->world);
	r = save(p, ret_error);
	if (r < 0)
		return r;
	if (p->record.phase != before)
		announce_phase(p);
	if (decision != ACT_DECIDE_IDLE)
		return 0;
	p->result->downtime_ms = p->record.downtime_ms;
	p->result->to = p->record.target.digest;
	if (before == PHASE_COMMIT)
		p->result->outcome = OUTCOME_UPDATED;
	else if (p->record.blame)
		finish(p, OUTCOME_ROLLED_BACK, "%s", p->record.reason);
	return 0;
}

/* SIGTERM ends a pass where a container runs: before the swap, or when the new one is up. */
static bool may_rest(const struct pass *p)
{
	if (p->record.phase == PHASE_TRIAL)
		return view_exists(&p->world.new) && view_is_up(&p->world.new);
	return p->record.phase == PHASE_PREPARE;
}

static int take_action(struct pass *p, enum action action, int64_t looked_ns,
		       struct error *ret_error)
{
	log_debug("%s: %s: %s", p->c->name, phase_name(p->record.phase), action_name(action));
	if (action_is_decision(action))
		return decide(p, action, ret_error);
	if (action == ACT_PROBE)
		return probe(p, looked_ns, ret_error);
	return act_do(&p->hands, action, &p->record, &p->world, &p->memory, ret_error);
}

static void settle(struct pass *p, int64_t looked_ns)
{
	const char *id = view_exists(&p->world.old) ? p->world.old.id : p->world.new.id;
	struct error ignored;

	if (id[0])
		(void)!engine_wait_event(p->hands.sight.engine, id, looked_ns, SETTLE_MS, &ignored);
}

/* The loop: look, decide, do, until there is nothing to do. 0 at idle; 1 when the pass ended for a
 * reason that is in the result. */
static int work(struct pass *p, struct error *ret_error)
{
	struct health_rule rule = rule_of(p->c);
	enum action action;
	enum phase looked = PHASE_IDLE;
	unsigned int parts = WORLD_WHOLE;
	int64_t looked_ns = 0;
	int misses = 0, r;

	for (int i = 0; i < PASS_ACTIONS_MAX; i++) {
		enum phase phase = p->record.phase;

		/* Another phase looks further, or its first look is this one. */
		if (phase != looked)
			parts = WORLD_WHOLE;
		if (parts) {
			looked_ns = wall_ns();
			looked = phase;
			r = world_look(&p->hands.sight, &p->record, parts, &p->world, ret_error);
			if (r < 0)
				return r;
		}
		update_memory(p);
		action = plan_next(&p->record, &p->world, &rule, &p->memory);
		if (action == ACT_NOTHING)
			return 0;
		if (action == ACT_WAIT)
			return 1;
		if (action == ACT_REFUSE)
			return error_set(ret_error, -EKEYREJECTED,
					 "a container that is not ours has the name %s%s",
					 p->c->name,
					 p->world.obstacle.slot == SLOT_PREV ? ".prev" : ".next");
		if (*p->o->cancel && may_rest(p))
			return error_set(ret_error, -ECANCELED, "stopped");
		r = take_action(p, action, looked_ns, ret_error);
		/* Somebody was faster, or it was between two lives: look again when it has settled. */
		if ((r == -ENOENT || r == -EEXIST) && action != ACT_FETCH &&
		    ++misses <= PASS_MISSES_MAX) {
			settle(p, looked_ns);
			parts = WORLD_WHOLE;
			continue;
		}
		if (r < 0)
			return r;
		parts = action_touches(action);
	}
	return error_set(ret_error, -ELOOP, "no end after %d actions in phase %s", PASS_ACTIONS_MAX,
			 phase_name(p->record.phase));
}

/* Back to idle before the swap: nothing but the image and NAME.next to forget. */
static int abandon(struct pass *p, struct error *ret_error)
{
	struct error ignored;

	if (p->record.phase != PHASE_PREPARE)
		return 0;
	if (view_exists(&p->world.new))
		(void)!act_do(&p->hands, ACT_REMOVE_NEW, &p->record, &p->world, &p->memory,
			      &ignored);
	if (p->record.target.brought)
		(void)!act_do(&p->hands, ACT_DROP_TARGET, &p->record, &p->world, &p->memory,
			      &ignored);
	p->record.phase = PHASE_IDLE;
	return save(p, ret_error);
}

static int load_record(struct pass *p, struct error *ret_error)
{
	struct container_view slots[SLOTS];
	struct error why;
	int r;

	record_init(&p->record);
	r = record_load(p->o->state_dir, p->c->name, &p->record, &why);
	if (r == 0)
		return 0;
	if (r != -ENOENT && r != -EBADMSG) {
		*ret_error = why;
		return r;
	}
	if (r == -EBADMSG)
		log_error("%s: %s; going by the names and labels in the engine", p->c->name,
			  why.text);
	r = world_look_at_names(&p->hands.sight, slots, ret_error);
	if (r < 0)
		return r;
	plan_recover(&p->record, slots);
	p->recovered = true;
	/* Written down first: what is seen now may look different after the next power cut. */
	return p->record.phase == PHASE_IDLE ? 0 : save(p, ret_error);
}

static int note_current(struct pass *p, struct error *ret_error)
{
	struct release *current = &p->record.current;
	struct release now = {.digest = p->reply.digest, .manifest = p->reply.manifest};
	bool known = news_current_is_true(&p->record, &p->world);

	if (known && digest_eq(&current->digest, &now.digest))
		return 0;
	(void)snprintf(now.image, sizeof(now.image), "%s", p->world.old.image);
	now.brought = known && current->brought;
	*current = now;
	return save(p, ret_error);
}

static int image_is_present(struct pass *p, const struct digest *d, bool *ret,
			    struct error *ret_error)
{
	_cleanup_free_ char *pinned = ref_pinned(&p->ref, d);
	_cleanup_json_ json_t *j = NULL;
	int r = engine_inspect_image(p->hands.sight.engine, pinned, &j, ret_error);

	*ret = r == 0;
	return r == -ENOENT ? 0 : r;
}

/* The first durable decision: this target, and whether its image will be ours to remove. */
static int begin(struct pass *p, struct error *ret_error)
{
	struct release target = {.digest = p->reply.digest, .manifest = p->reply.manifest};
	bool present = false;
	int r;

	if (p->record.phase == PHASE_PREPARE && digest_eq(&p->record.target.digest, &target.digest))
		return 0;
	r = abandon(p, ret_error);
	if (r == 0)
		r = image_is_present(p, &target.digest, &present, ret_error);
	if (r < 0)
		return r;
	target.brought = !present || (digest_eq(&target.digest, &p->record.previous.digest) &&
				      p->record.previous.brought);
	plan_begin(&p->record, &target, p->world.boot_id);
	r = save(p, ret_error);
	if (r == 0)
		announce_phase(p);
	return r;
}

static int refuse_rejected(struct pass *p, const struct rejected *x, struct error *ret_error)
{
	char reason[RECORD_TEXT_MAX];
	struct release target = {.digest = p->reply.digest, .manifest = p->reply.manifest};
	int r = abandon(p, ret_error);

	memcpy(reason, x->reason, sizeof(reason));
	/* The same manifest in another index: next time one request will do. */
	if (r == 0 && !digest_eq(&x->digest, &target.digest) &&
	    digest_eq(&x->manifest, &target.manifest)) {
		record_reject(&p->record, &target, reason);
		r = save(p, ret_error);
	}
	if (r < 0)
		return r;
	p->result->to = target.digest;
	p->told_before = true;
	return error_set(ret_error, -EKEYREJECTED, "this digest was rejected before: %s", reason);
}

/* Is there news, and may it be taken? 0: an update is prepared; 1: the result says why not. */
static int check(struct pass *p, struct error *ret_error)
{
	const struct rejected *rejected;
	const char *why;
	int r = news_ask(&p->o->fetch, &p->hands.sight, p->c->image, &p->record, &p->world,
			 &p->reply, ret_error);

	/* What is here already needs no registry. */
	if (r < 0 && r != -EKEYREJECTED && r != -ENOENT && p->record.phase == PHASE_PREPARE &&
	    p->record.synced) {
		log_warning("%s: %s; going on with %s", p->c->name, ret_error->text,
			    p->record.target.digest.text);
		return 0;
	}
	if (r < 0)
		return r;
	if (news_runs_already(p->hands.sight.engine, &p->record, &p->world, &p->reply)) {
		r = abandon(p, ret_error);
		if (r == 0)
			r = note_current(p, ret_error);
		p->result->from = p->result->to = p->record.current.digest;
		p->result->outcome = OUTCOME_UP_TO_DATE;
		return r < 0 ? r : 1;
	}
	rejected = news_rejected(&p->record, &p->reply);
	if (rejected)
		return refuse_rejected(p, rejected, ret_error);
	p->result->to = p->reply.digest;
	why = news_left_alone(&p->world.old);
	if (why) {
		finish(p, OUTCOME_DEFERRED, "%s", why);
		return 1;
	}
	r = act_check(&p->hands, &p->world.old, p->reply.digest.text, ret_error);
	if (r == 0)
		r = verify_image(p->c, &p->reply.digest, &p->verified, ret_error);
	p->hands.verified = p->verified;
	return r < 0 ? r : begin(p, ret_error);
}

static void open_gate(struct pass *p)
{
	const char *why = NULL;
	time_t now = time(NULL);
	struct tm local;

	p->memory.gate_open = schedule_gate(p->c, localtime_r(&now, &local), &why);
	if (!p->memory.gate_open)
		finish(p, OUTCOME_DEFERRED, "%s", why);
}

static int look_for_news(struct pass *p, struct error *ret_error)
{
	int r;

	p->memory = (struct memory){0};
	r = world_look(&p->hands.sight, &p->record, WORLD_WHOLE, &p->world, ret_error);
	if (r < 0)
		return r;
	p->result->from = news_current_is_true(&p->record, &p->world) ? p->record.current.digest
								      : (struct digest){0};
	if (!view_exists(&p->world.old) && !p->c->create)
		return error_set(
			ret_error, -ENOENT,
			"there is no container '%s' in the engine, and no create = to make one",
			p->c->name);
	if (p->c->hold) {
		finish(p, OUTCOME_DEFERRED, "hold = yes");
		return 1;
	}
	r = check(p, ret_error);
	if (r != 0)
		return r;
	open_gate(p);
	r = work(p, ret_error);
	if (r == -EKEYREJECTED && p->record.phase == PHASE_PREPARE) {
		struct error ignored;

		(void)!abandon(p, &ignored);
	}
	return r;
}

static int run(struct pass *p, struct error *ret_error)
{
	int r = load_record(p, ret_error);

	for (int round = 0; r == 0 && round < PASS_ROUNDS_MAX; round++) {
		if (p->record.phase != PHASE_IDLE && p->record.phase != PHASE_PREPARE) {
			p->result->from = p->record.current.digest;
			announce_phase(p);
			r = work(p, ret_error);
			/* Putting a lost record right is no update. */
			if (r == 0 && p->recovered)
				p->result->outcome = OUTCOME_NONE;
		}
		if (r != 0 || p->result->outcome != OUTCOME_NONE || p->o->finish_only)
			break;
		r = look_for_news(p, ret_error);
		/* Undone without blame (a lost record, a meddler): try once more. */
		if (r != 0 || p->result->outcome != OUTCOME_NONE)
			break;
	}
	return r;
}

static int open_all(struct pass *p, struct credential *ret_credential, char **ret_auth,
		    struct error *ret_error)
{
	const struct registry_config *registry;
	const char *why;
	int r = ref_parse(p->c->image, &p->ref, &why);

	if (r < 0)
		return error_set(ret_error, r, "%s: %s", p->c->image, why);
	registry = config_registry(p->o->config, p->ref.host);
	r = credential_load(registry ? registry->credentials : NULL, p->ref.host, ret_credential,
			    ret_error);
	if (r < 0)
		return r;
	*ret_auth = credential_engine_header(ret_credential, p->ref.host);
	p->hands = (struct hands){
		.sight = {.name = p->c->name, .ref = &p->ref},
		.config = p->c,
		.image_config = &p->reply.config,
		.auth = *ret_auth,
		.progress = on_progress,
		.userdata = p,
	};
	return engine_open(p->o->config->engine, p->o->cancel, &p->hands.sight.engine, ret_error);
}

void pass_run(const struct pass_options *o, struct result *ret)
{
	_cleanup_(credential_free) struct credential credential = {0};
	_cleanup_free_ char *auth = NULL;
	struct pass p = {.o = o, .c = o->container, .result = ret};
	struct error e;
	int r;

	*ret = (struct result){
		.container = o->container->name,
		.image = o->container->image,
		.downtime_ms = -1,
	};
	record_init(&p.record);
	r = open_all(&p, &credential, &auth, &e);
	if (r == 0)
		r = run(&p, &e);
	if (r < 0)
		finish_error(&p, &e);
	else if (ret->outcome == OUTCOME_NONE && !o->finish_only)
		finish(&p, OUTCOME_FAILED, "%s", p.record.reason);
	if (p.hands.sight.engine)
		save_last_error(&p);
	engine_close(p.hands.sight.engine);
	verified_free(p.verified);
	ref_free(&p.ref);
}
