/* SPDX-License-Identifier: MIT */
#include "pass-internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "credential.h"
#include "followers.h"
#include "log.h"
#include "candidate.h"
#include "store.h"

#define PASS_ACTIONS_MAX 300 /* far more than any way through the table needs */
#define PASS_MISSES_MAX	 3   /* times the world may change between look and act */
#define PASS_ROUNDS_MAX	 2
#define SETTLE_MS	 300

void pass_finish(struct pass *p, enum outcome outcome, const char *fmt, ...)
{
	va_list ap;

	p->result->outcome = outcome;
	va_start(ap, fmt);
	(void)vsnprintf(p->result->reason, sizeof(p->result->reason), fmt, ap);
	va_end(ap);
}

static bool tells_of_damage(const struct error *e)
{
	return e->code != -EKEYREJECTED && !after_prefix(e->text, RESULT_STORE_DAMAGED) &&
	       store_judge(e->text, 0) == STORE_DAMAGED;
}

static void finish_error(struct pass *p, const struct error *e)
{
	if (e->code == -ECANCELED)
		pass_finish(p, OUTCOME_DEFERRED, RESULT_STOPPED);
	else
		pass_finish(p, e->code == -EKEYREJECTED ? OUTCOME_REFUSED : OUTCOME_FAILED, "%s%s",
			    tells_of_damage(e) ? RESULT_STORE_DAMAGED ": " : "", e->text);
}

void pass_announce_phase(struct pass *p)
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

int pass_save(struct pass *p, struct error *ret_error)
{
	return record_save(p->o->state_dir, p->c->name, &p->record, ret_error);
}

static struct health_rule rule_of(const struct container_config *c)
{
	return (struct health_rule){.kind = c->health, .period_ms = c->health_period_ms};
}

/* Who shared the old one's namespaces must live in the new one's too. */
static void judge_followers(struct pass *p)
{
	for (size_t i = 0; i < p->record.n_followers; i++) {
		const struct container_view *new = &p->world.followers[i].new;
		const struct follower *f = &p->record.followers[i];

		if (!f->serving || !view_exists(new) || view_is_up(new) ||
		    (new->state == STATE_EXITED &&new->exit_code == 0))
			continue;
		p->state.verdict = VERDICT_BAD;
		(void)snprintf(p->state.reason, sizeof(p->state.reason),
			       "container %s, which shares its namespaces, %s%.300s", f->name,
			       new->error[0] ? "does not start: " : "did not stay up", new->error);
		return;
	}
}

/* What the plan cannot know by itself: time, and what it means for health. */
static void update_state(struct pass *p)
{
	const struct container_view *new = &p->world.new;
	struct health_rule rule = rule_of(p->c);
	struct pass_state *m = &p->state;
	bool up = view_exists(new) && view_is_up(new);

	if (!up)
		p->up_since_ms = 0;
	else if (p->up_since_ms == 0)
		p->up_since_ms = now_ms();
	m->verdict = VERDICT_PENDING;
	if (p->record.phase == PHASE_TRIAL && view_exists(new) &&
	    (up || m->member[0].started_new || health_is_finished(&rule, new, p->record.policy)))
		m->verdict = health_judge(&rule, new, p->record.policy,
					  up ? now_ms() - p->up_since_ms : 0, m->reason);
	if (m->verdict == VERDICT_GOOD)
		judge_followers(p);
}

/* What it said last is what people need: one line of its log, in the reason. */
static void add_last_words(struct pass *p)
{
	char line[120], *reason = p->state.reason;
	size_t n = strlen(reason);

	if (engine_last_log(p->act.context.engine, p->world.new.id, line, sizeof(line)) == 0 &&
	    line[0])
		(void)snprintf(reason + n, RECORD_TEXT_MAX - n, "; its last words: %s", line);
}

/* What an operator stops or pauses on trial, or the engine when it is itself stopped, says nothing
 * about the release. */
static bool was_stopped_by_hand(struct pass *p)
{
	const struct container_view *new = &p->world.new;

	if (view_is_up(new))
		return new->state == STATE_PAUSED;
	return new->started_ns > 0 && !new->error[0] &&
	       !engine_ended_by_itself(p->act.context.engine, new->id, new->started_ns);
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

	return engine_wait_event(p->act.context.engine, p->world.new.id, looked_ns,
				 up < period ? (unsigned int)(period - up) : 1, ret_error);
}

static int decide(struct pass *p, enum action decision, struct error *ret_error)
{
	enum phase before = p->record.phase;
	int r;

	if (decision == ACT_DECIDE_REVERT && p->state.verdict == VERDICT_BAD) {
		p->state.not_at_fault = was_stopped_by_hand(p);
		add_last_words(p);
	}
	plan_decide(&p->record, &p->state, decision, &p->world);
	r = pass_save(p, ret_error);
	if (r < 0)
		return r;
	if (p->record.phase != before)
		pass_announce_phase(p);
	if (decision != ACT_DECIDE_IDLE)
		return 0;
	p->result->downtime_ms = p->record.downtime_ms;
	p->result->to = p->record.target.digest;
	if (before == PHASE_COMMIT) {
		saved_spec_forget(p->o->state_dir, p->c->name);
		pass_finish(p, OUTCOME_UPDATED, "%s",
			    p->record.rollback	? PLAN_ROLLED_BACK
			    : p->act.saved_plan ? PASS_MADE_ANEW
						: "");
	} else if (p->record.reject_target)
		pass_finish(p, OUTCOME_ROLLED_BACK, "%s", p->record.reason);
	return 0;
}

/* SIGTERM ends a pass where a container runs: before the swap, or when the new one is up. */
static bool may_rest(const struct pass *p)
{
	if (p->record.phase == PHASE_TRIAL)
		return view_exists(&p->world.new) && view_is_up(&p->world.new);
	return p->record.phase == PHASE_PREPARE;
}

static int take_step(struct pass *p, struct step step, int64_t looked_ns, struct error *ret_error)
{
	const char *whose = step.member ? p->record.followers[step.member - 1].name : p->c->name;
	int r = 0;

	log_debug("%s: %s: %s", whose, phase_name(p->record.phase), action_name(step.action));
	if (action_is_decision(step.action))
		return decide(p, step.action, ret_error);
	if (step.action == ACT_PROBE)
		return probe(p, looked_ns, ret_error);
	if (step.action == ACT_CREATE && step.member == 0)
		r = pass_find_followers(p, ret_error);
	if (r < 0)
		return r;
	r = act_do(&p->act, step, &p->record, &p->world, &p->state, ret_error);
	/* On a thin link that took hours: the window may be over, the rollout halted. */
	if (r == 0 && step.action == ACT_FETCH && !p->record.rollback)
		r = pass_open_gate(p, ret_error);
	return r;
}

/* The engine cannot give back what it took: once a pass the image is brought anew, then we are at our
 * wits' end. The old container runs on. */
static bool may_repair(struct pass *p, enum action action, const struct error *e)
{
	struct error ignored;

	if (p->record.phase != PHASE_PREPARE || !tells_of_damage(e) || p->record.rollback ||
	    (action != ACT_FETCH && action != ACT_CREATE))
		return false;
	record_damage(&p->record, p->world.boot_id);
	if (p->repaired) {
		(void)!pass_save(p, &ignored);
		return false;
	}
	log_warning("%s: %s; removing the image and pulling it again", p->c->name, e->text);
	p->repaired = p->state.damaged = true;
	return true;
}

/* Made from a torn image, it cannot even be looked at. */
static void remove_next(struct pass *p)
{
	_cleanup_free_ char *name = world_slot_name(p->c->name, SLOT_NEXT);
	struct error ignored;

	(void)!engine_remove(p->act.context.engine, name, &ignored);
	p->state.member[0].created = false;
}

/* On trial and running, maybe, but the engine cannot tell of it any more: nothing that can be judged. */
static bool give_up_new(struct pass *p, const struct error *e)
{
	struct engine *engine = p->act.context.engine;
	const char *id = p->record.new_id;
	_cleanup_json_ json_t *j = NULL;
	struct error said, ignored;

	if (p->record.phase != PHASE_TRIAL || !tells_of_damage(e) ||
	    engine_inspect_container(engine, id, &j, &said) == 0 || !tells_of_damage(&said))
		return false;
	(void)!engine_stop(engine, id, p->c->stop_timeout_s, &ignored);
	if (engine_remove(engine, id, &ignored) < 0)
		return false;
	p->state.damaged = true;
	copy_text(p->state.reason, sizeof(p->state.reason), said.text);
	return true;
}

static void settle(struct pass *p, int64_t looked_ns)
{
	const char *id = view_exists(&p->world.old) ? p->world.old.id : p->world.new.id;
	struct error ignored;

	if (id[0])
		(void)!engine_wait_event(p->act.context.engine, id, looked_ns, SETTLE_MS, &ignored);
}

static int work(struct pass *p, struct error *ret_error)
{
	struct health_rule rule = rule_of(p->c);
	struct step step;
	enum phase looked = PHASE_IDLE;
	unsigned int parts = WORLD_WHOLE;
	const char *why;
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
			r = world_look(&p->act.context, &p->record, parts, &p->world, ret_error);
			if (r < 0 && p->state.member[0].created &&
			    may_repair(p, ACT_CREATE, ret_error)) {
				remove_next(p);
				continue;
			}
			if (r < 0 && give_up_new(p, ret_error))
				continue;
			if (r < 0)
				return r;
		}
		update_state(p);
		step = plan_next(&p->record, &p->world, &rule, &p->state);
		if (step.action == ACT_NOTHING)
			return 0;
		if (step.action == ACT_WAIT) {
			why = candidate_left_alone(&p->world.old);
			if (why)
				pass_finish(p, OUTCOME_DEFERRED, "%s", why);
			return 1;
		}
		if (step.action == ACT_REFUSE)
			return error_set(ret_error, -EKEYREJECTED,
					 "a container that is not ours has the name %s",
					 p->world.blocker_name);
		if (*p->o->cancel && may_rest(p))
			return error_set(ret_error, -ECANCELED, "stopped");
		r = take_step(p, step, looked_ns, ret_error);
		/* Somebody was faster, or it was between two lives: look again when it has settled. */
		if ((r == -ENOENT || r == -EEXIST) && step.action != ACT_FETCH &&
		    ++misses <= PASS_MISSES_MAX) {
			settle(p, looked_ns);
			parts = WORLD_WHOLE;
			continue;
		}
		if (r < 0 && may_repair(p, step.action, ret_error)) {
			parts = WORLD_WHOLE;
			continue;
		}
		if (r < 0)
			return r;
		parts = action_touches(step.action);
	}
	return error_set(ret_error, -ELOOP, "no end after %d actions in phase %s", PASS_ACTIONS_MAX,
			 phase_name(p->record.phase));
}

int pass_work(struct pass *p, struct error *ret_error)
{
	struct error ignored;
	int r = work(p, ret_error);

	if (r == -EKEYREJECTED && p->record.phase == PHASE_PREPARE)
		(void)!pass_abandon(p, &ignored);
	return r;
}

static int recover_followers(struct pass *p, struct error *ret_error)
{
	struct record *r = &p->record;
	int q;

	if (r->phase == PHASE_IDLE)
		return 0;
	q = followers_find(&p->act.context, r->old_id, r->new_id, r, ret_error);
	if (q == 0)
		q = world_look(&p->act.context, r, WORLD_CONTAINERS, &p->world, ret_error);
	for (size_t i = 0; q == 0 && i < r->n_followers; i++)
		plan_recover_follower(r, i, &p->world.followers[i]);
	return q;
}

/* 1 when there is none, or none that can be read. */
static int load_record(struct pass *p, struct error *ret_error)
{
	int r;

	record_init(&p->record);
	r = record_load(p->o->state_dir, p->c->name, &p->record, ret_error);
	if (r == -EBADMSG)
		log_error("%s: %s; going by the names and labels in the engine", p->c->name,
			  ret_error->text);
	return r == -ENOENT || r == -EBADMSG ? 1 : r;
}

static int recover_record(struct pass *p, struct error *ret_error)
{
	struct container_view slots[SLOT_MAX];
	int r = world_look_at_names(&p->act.context, slots, ret_error);

	if (r < 0)
		return r;
	plan_recover(&p->record, slots);
	p->recovered = true;
	r = recover_followers(p, ret_error);
	if (r < 0)
		return r;
	/* Written down first: what is seen now may look different after the next power cut. */
	return p->record.phase == PHASE_IDLE ? 0 : pass_save(p, ret_error);
}

static int look_for_news(struct pass *p, struct error *ret_error)
{
	int r;

	p->state = (struct pass_state){0};
	r = world_look(&p->act.context, &p->record, WORLD_WHOLE, &p->world, ret_error);
	if (r < 0)
		return r;
	p->result->from = candidate_current_is_true(&p->record, &p->world)
				  ? p->record.current.digest
				  : (struct digest){0};
	r = pass_find_kept(p, ret_error);
	if (r < 0)
		return r;
	if (!view_exists(&p->world.old) && !p->c->create && !p->act.saved_plan) {
		r = pass_abandon(p, ret_error);
		return r < 0 ? r
			     : error_set(
				       ret_error, -ENOENT,
				       "there is no container '%s' in the engine, and no create = "
				       "to make one",
				       p->c->name);
	}
	if ((p->c->hold || p->record.held) && p->o->operation != OPERATION_CHECK) {
		pass_finish(p, OUTCOME_DEFERRED, "%s", p->record.held ? PASS_HELD : "hold = yes");
		return 1;
	}
	r = pass_check(p, ret_error);
	if (r != 0)
		return r;
	r = pass_open_gate(p, ret_error);
	return r < 0 ? r : pass_work(p, ret_error);
}

static bool is_going_back(const struct record *r)
{
	return r->phase == PHASE_PREPARE && r->rollback;
}

static int open_engine(struct pass *p, bool record_is_lost, struct error *ret_error)
{
	int r = engine_open(p->o->config->engine, p->o->cancel, &p->act.context.engine, ret_error);

	return r == 0 && record_is_lost ? recover_record(p, ret_error) : r;
}

static int run(struct pass *p, struct error *ret_error)
{
	int r = load_record(p, ret_error);

	/* Also while there is no engine. */
	if (r == 0 && pass_is_note(p->o->operation))
		return pass_note(p, ret_error);
	if (r >= 0)
		r = open_engine(p, r > 0, ret_error);
	if (r == 0 && pass_is_note(p->o->operation))
		return pass_note(p, ret_error);
	for (int round = 0; r == 0 && round < PASS_ROUNDS_MAX; round++) {
		if (p->record.phase != PHASE_IDLE && p->record.phase != PHASE_PREPARE) {
			p->result->from = p->record.current.digest;
			pass_announce_phase(p);
			r = work(p, ret_error);
			/* Putting a lost record right is no update. */
			if (r == 0 && p->recovered)
				p->result->outcome = OUTCOME_NONE;
		}
		if (r != 0 || p->result->outcome != OUTCOME_NONE)
			break;
		if (is_going_back(&p->record) || p->o->operation == OPERATION_ROLLBACK)
			r = pass_roll_back(p, ret_error);
		else if (p->o->operation != OPERATION_FINISH)
			r = look_for_news(p, ret_error);
		else
			break;
		/* Undone without blame (a lost record, a meddler): try once more. */
		if (r != 0 || p->result->outcome != OUTCOME_NONE)
			break;
	}
	return r;
}

static int set_up(struct pass *p, struct credential *ret_credential, char **ret_auth,
		  struct error *ret_error)
{
	const struct registry_config *registry;
	const char *why;
	int r = ref_parse(p->c->image, &p->ref, &why);

	if (r < 0)
		return error_set(ret_error, r, "%s: %s", p->c->image, why);
	p->fetch = fetch_new(&p->o->fetch, p->ref.host);
	registry = config_registry(p->o->config, p->ref.host);
	r = credential_load(registry ? registry->credentials : NULL, p->ref.host, ret_credential,
			    ret_error);
	if (r < 0)
		return r;
	*ret_auth = credential_engine_header(ret_credential, p->ref.host);
	p->act = (struct act_context){
		.context = {.name = p->c->name, .ref = &p->ref},
		.config = p->c,
		.image_config = &p->reply.config,
		.pull = {.auth = *ret_auth, .progress = on_progress, .userdata = p},
	};
	return 0;
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
	r = set_up(&p, &credential, &auth, &e);
	if (r == 0)
		r = run(&p, &e);
	if (r < 0)
		finish_error(&p, &e);
	else if (ret->outcome == OUTCOME_NONE && o->operation != OPERATION_FINISH)
		pass_finish(&p, OUTCOME_FAILED, "%s", p.record.reason);
	if (p.act.context.engine && !p.already_reported)
		result_save_error(ret, o->state_dir, &p.record);
	engine_close(p.act.context.engine);
	verified_free(p.verified);
	saved_spec_free(&p.saved);
	fetch_free(p.fetch);
	ref_free(&p.ref);
}
