/* SPDX-License-Identifier: MIT */
#include "pass.h"

#include <errno.h>
#include <stdio.h>

#include "act.h"
#include "candidate.h"
#include "clock.h"
#include "basis.h"
#include "download.h"
#include "followers.h"
#include "history.h"
#include "log.h"
#include "repair.h"
#include "spool.h"
#include "traffic.h"
#include "verdict.h"

#define PASS_ACTIONS_MAX 300 /* far more than any way through the table needs */
#define PASS_MISSES_MAX	 3   /* times that the engine may change between look and act */
#define PASS_UPDATES_MAX 2   /* begun in one pass: a second after a revert without rejection */
#define SETTLE_MS	 300
#define PROBE_MAX_MS	 (3600u * 1000)
#define SHORT_WAITS_MAX	 10
#define SHORT_WAIT_MS	 100
#define PASS_REMADE	 "recreated, since the engine's store was damaged"

static void finish(struct result *result, enum outcome outcome, const char *reason)
{
	result->outcome = outcome;
	copy_text(result->reason, sizeof(result->reason), reason);
}

static void announce_phase(struct pass *p)
{
	const struct release *target = &p->record.target;

	p->task->on_event(json_pack("{s:s, s:s, s:s, s:s, s:s}", "event", "phase", "container",
				    p->c->name, "phase", phase_names[p->record.phase], "digest",
				    target->digest.text, "version", target->version));
}

/* The registry sent Retry-After; pulletd sends it no request until then. */
static void announce_retry_after(struct pass *p)
{
	unsigned int *answer = &p->state.answer.reply.retry_after_s;
	unsigned int *policy = &p->state.policy.reply.retry_after_s;
	unsigned int seconds = *answer ? *answer : *policy;

	*answer = *policy = 0;
	if (seconds > 0)
		p->task->on_event(json_pack("{s:s, s:s, s:i}", "event", "retry-after", "container",
					    p->c->name, "seconds", (int)seconds));
}

static void on_progress(void *userdata, uint64_t current, uint64_t total)
{
	struct pass *p = userdata;

	/* Four a second are enough for a terminal. */
	if (now_ms() - p->progress_ms < 250 && current < total)
		return;
	p->progress_ms = now_ms();
	p->task->on_event(json_pack(
		"{s:s, s:s, s:I, s:I, s:o*}", "event", "progress", "container", p->c->name,
		"current", (json_int_t)current, "total", (json_int_t)total, "plain",
		p->download.plain ? json_integer((json_int_t)p->download.plain) : NULL));
}

void pass_announce_step(struct pass *p, const char *text, uint64_t began_ms, uint64_t ms)
{
	if (p->step == text && p->step_began_ms == began_ms && p->step_ms == ms)
		return;
	p->step = text;
	p->step_began_ms = began_ms;
	p->step_ms = ms;
	p->task->on_event(json_pack("{s:s, s:s, s:s, s:I, s:I}", "event", "step", "container",
				    p->c->name, "step", text, "began_ms", (json_int_t)began_ms,
				    "ms", (json_int_t)ms));
}

static void announce_action(struct pass *p, enum action action)
{
	if (action == ACT_ASK || action == ACT_ASK_POLICY)
		pass_announce_step(p, STEP_ASK, 0, 0);
	else if (action == ACT_ASK_DETAILS)
		pass_announce_step(p, STEP_DETAILS, 0, 0);
	else if (action == ACT_FETCH)
		pass_announce_step(p,
				   p->world.image[0]	    ? STEP_IMAGE
				   : download_is_spooled(p) ? STEP_DOWNLOAD
							    : STEP_PULL,
				   0, 0);
}

static int save(struct pass *p, struct error *ret_error)
{
	return record_save(p->task->state_dir, p->c->name, &p->record, ret_error);
}

static void reset_state(struct pass *p)
{
	p->state = (struct pass_state){.operation = p->task->operation,
				       .recovered = p->state.recovered,
				       .has_credentials = p->auth != NULL,
				       .pinned = digest_is_set(&p->ref.digest)};
	copy_text(p->state.engine, sizeof(p->state.engine),
		  engine_version(p->context.engine)->release);
}

static bool is_before_trial(const struct pass *p)
{
	return p->record.phase == PHASE_IDLE || p->record.phase == PHASE_PREPARE;
}

/* The facts that change by themselves. */
static void update_state(struct pass *p)
{
	struct pass_state *m = &p->state;
	time_t now_s = (time_t)clock_now();

	m->now_ms = now_ms();
	m->now_s = now_s > 0 && localtime_r(&now_s, &m->local) ? now_s : 0;
	verdict_judge(p);
	if (is_before_trial(p))
		p->result->to = *pass_candidate(p);
}

static int probe(struct pass *p, struct error *ret_error)
{
	uint64_t began_ms = now_ms(), up_ms = began_ms - p->state.up_since_ms, wait_ms;
	/* After a step of the clock to the past, events of before would end each wait at once: only new ones count. */
	int64_t since_ns = p->short_waits < SHORT_WAITS_MAX ? p->looked_ns : INT64_MAX;
	int r;

	wait_ms = health_limit_ms(p->c, &p->world.new);
	pass_announce_step(p,
			   health_is_checked(p->c, &p->world.new) ? STEP_HEALTHY
			   : p->c->health == HEALTH_EXIT	  ? STEP_EXIT
								  : STEP_TRIAL,
			   p->state.up_since_ms, wait_ms);
	wait_ms = up_ms < wait_ms ? wait_ms - up_ms : 1;
	if (wait_ms > PROBE_MAX_MS)
		wait_ms = PROBE_MAX_MS;
	r = engine_wait_event(p->context.engine, p->world.new.id, since_ns, (unsigned int)wait_ms,
			      ret_error);
	p->short_waits = now_ms() - began_ms < SHORT_WAIT_MS ? p->short_waits + 1 : 0;
	return r;
}

/* Sets the result of an update that is over. One that was reverted without a rejection gets none yet. */
static void finish_update(const struct pass *p, enum phase from, bool host, struct result *ret)
{
	ret->downtime_ms = p->record.downtime_ms;
	ret->to = p->record.target.digest;
	if (p->state.recovered && p->updates == 0)
		return;
	if (from == PHASE_COMMIT)
		finish(ret, OUTCOME_UPDATED,
		       p->record.rollback		     ? PLAN_ROLLED_BACK
		       : digest_is_set(&p->state.saved_spec) ? PASS_REMADE
							     : "");
	else if (p->record.reject_target)
		finish(ret, OUTCOME_ROLLED_BACK, p->record.reason);
	else if (p->updates >= PASS_UPDATES_MAX || (host && p->reverted))
		finish(ret, OUTCOME_FAILED, p->record.reason);
}

/* The history is written with the decision. */
static void note_in_history(struct pass *p, struct result *r)
{
	result_set_versions(r, &p->record);
	if (r->outcome != OUTCOME_NONE)
		history_add(&p->record, r, p->record.began_ms);
}

/* Later polls say only that the digest was rejected before. */
static void note_given_up(struct pass *p)
{
	struct result r = *p->result;

	r.to = p->record.target.digest;
	finish(&r, OUTCOME_REFUSED, p->record.last_error);
	note_in_history(p, &r);
}

static int decide(struct pass *p, enum action decision, struct error *ret_error)
{
	enum phase before = p->record.phase;
	bool host = p->record.host.refused;
	bool over = decision == ACT_DECIDE_IDLE || decision == ACT_DECIDE_AGAIN;
	struct result result = *p->result;
	int r;

	if (decision == ACT_DECIDE_REVERT && p->state.verdict == VERDICT_BAD)
		verdict_explain(p);
	else if (decision == ACT_DECIDE_REVERT && view_exists(&p->world.new))
		p->state.in_conflict |= verdict_is_of_others(p);
	if (decision == ACT_DECIDE_FORGET)
		act_forget(p);
	if (decision == ACT_DECIDE_IDLE && before == PHASE_COMMIT)
		basis_note_committed(p);
	plan_decide(&p->record, &p->state, decision, &p->world);
	if (decision == ACT_DECIDE_PREPARE) {
		p->record.began_ms = p->state.now_s ? clock_wall_ns() / 1000000 : 0;
		p->record.ordered = p->c->update == UPDATE_TELL;
	}
	if (decision == ACT_DECIDE_DEFERRAL && p->state.before.final)
		note_given_up(p);
	if (over) {
		finish_update(p, before, host, &result);
		note_in_history(p, &result);
	}
	r = save(p, ret_error);
	if (r < 0)
		return r;
	/* A target that is forgotten for a newer one may share layers with it. */
	if (decision != ACT_DECIDE_FORGET && (p->record.phase != PHASE_PREPARE || p->record.synced))
		spool_drop(p->task->state_dir, p->c->name);
	if (p->record.phase != before && decision != ACT_DECIDE_FORGET)
		announce_phase(p);
	p->updates += decision == ACT_DECIDE_PREPARE;
	p->reverted |= decision == ACT_DECIDE_REVERT;
	if (decision == ACT_DECIDE_CURRENT)
		p->result->from = p->record.current.digest;
	if (!over)
		return 0;
	*p->result = result;
	if (before == PHASE_COMMIT)
		saved_spec_forget(p->task->state_dir, p->c->name);
	reset_state(p);
	return 0;
}

static int end(struct pass *p, const struct step *step, struct error *ret_error)
{
	const struct digest *candidate = pass_candidate(p);
	static const enum outcome outcomes[] = {
		[ACT_UP_TO_DATE] = OUTCOME_UP_TO_DATE,
		[ACT_DEFER] = OUTCOME_DEFERRED,
		[ACT_REFUSE] = OUTCOME_REFUSED,
		[ACT_FAIL] = OUTCOME_FAILED,
	};
	bool told;

	p->already_reported = step->already_reported;
	if (step->action == ACT_NOTHING)
		return 0;
	finish(p->result, outcomes[step->action], step->reason);
	if (step->action != ACT_DEFER || p->record.rollback || !digest_is_set(candidate))
		return 0;
	/* From the next poll on, it costs one request: bulk-poll.c. */
	told = after_prefix(step->reason, RESULT_TELL);
	if (told && digest_eq(candidate, &p->record.told) && digest_eq(candidate, &p->record.seen))
		return 0;
	if (told)
		p->record.told = *candidate;
	/* A digest that is written as seen costs one request less. */
	if (!digest_eq(candidate, &p->record.seen) &&
	    (told || p->task->operation == OPERATION_UPDATE))
		return decide(p, ACT_DECIDE_SEEN, ret_error);
	return told ? save(p, ret_error) : 0;
}

/* SIGTERM ends a pass where a container runs: before the swap, or when the new one is up. */
static bool may_stop(const struct pass *p)
{
	return is_before_trial(p) || (p->record.phase == PHASE_TRIAL &&
				      view_exists(&p->world.new) && view_is_up(&p->world.new));
}

static int take_step(struct pass *p, const struct step *step, struct error *ret_error)
{
	const char *whose = step->member ? p->record.followers[step->member - 1].name : p->c->name;
	struct error said;
	int r;

	log_debug("%s: %s: %s", whose, block_name(step->block), action_name(step->action));
	if (*p->task->cancel && may_stop(p))
		return error_set(ret_error, -ECANCELED, "stopped");
	if (action_is_decision(step->action))
		return decide(p, step->action, ret_error);
	announce_action(p, step->action);
	if (step->action == ACT_PROBE)
		return probe(p, ret_error);
	r = act_do(p, *step, ret_error);
	announce_retry_after(p);
	if (step->block != BLOCK_REPAIR)
		return r;
	if (r < 0 &&
	    (step->action == ACT_SAVE_SPEC || (step->action == ACT_REMOVE_OLD && r != -ENOENT))) {
		said = *ret_error;
		return error_set(ret_error, -EIO,
				 RESULT_STORE_DAMAGED ": container %s: %.250s; %.400s", p->c->name,
				 p->world.old.error, said.text);
	}
	if (r == 0 && step->action == ACT_REMOVE_OLD) {
		log_warning("%s: %s; recreating the container", p->c->name, p->world.old.error);
		reset_state(p);
	}
	return r;
}

static void settle(struct pass *p)
{
	const char *id = view_exists(&p->world.old) ? p->world.old.id : p->world.new.id;
	struct error ignored;

	if (id[0])
		(void)!engine_wait_event(p->context.engine, id, p->looked_ns, SETTLE_MS, &ignored);
}

/* Handles a failed step. 0: look again; else the error that ends the pass. */
static int handle_error(struct pass *p, enum action failed, int code, struct error *ret_error)
{
	bool restorable = p->record.phase == PHASE_PREPARE && !p->record.rollback &&
			  (failed == ACT_FETCH || failed == ACT_CREATE);
	struct error ignored;

	/* The engine changed since the look, or a container is restarting. */
	if ((code == -ENOENT || code == -EEXIST) && failed != ACT_FETCH &&
	    ++p->misses <= PASS_MISSES_MAX) {
		settle(p);
		p->state.followers_known &= view_exists(&p->world.new);
		return 0;
	}
	if (restorable && repair_is_about_store(ret_error)) {
		if (repair_may_pull_again(p)) {
			log_warning("%s: %s; removing the image and pulling it again", p->c->name,
				    ret_error->text);
			return 0;
		}
		(void)!save(p, &ignored);
	}
	/* No start would tell more. A follower, which comes later, has an image of its own. */
	if (restorable && failed == ACT_CREATE && ret_error->origin == ERROR_IMAGE &&
	    !p->state.member[0].created) {
		record_reject(&p->record, &p->record.target, p->state.engine, ret_error->text);
		return save(p, ret_error);
	}
	/* What old's start said is written down. */
	if (failed == ACT_START_OLD && p->record.host.refused)
		return save(p, &ignored) < 0 ? ignored.code : code;
	if (code != -EKEYREJECTED || !is_before_trial(p))
		return code;
	p->state.refusal = *ret_error;
	return 0;
}

/* Handles a failed look: a damaged store may prevent the inspection of a new container. 0: look again. */
static int handle_look_error(struct pass *p, int code, struct error *ret_error)
{
	if (p->record.phase == PHASE_TRIAL && repair_is_about_store(ret_error) &&
	    repair_remove_new(p))
		return 0;
	if (!p->state.member[0].created || !repair_is_about_store(ret_error) ||
	    handle_error(p, ACT_CREATE, code, ret_error) < 0)
		return code;
	repair_remove_next(p);
	return 0;
}

static int look(struct pass *p, unsigned int parts, struct error *ret_error)
{
	struct record *r = &p->record;
	int q;

	p->looked_ns = clock_wall_ns();
	q = world_look(&p->context, r, parts, &p->world, ret_error);
	/* Written down with the next decision: for the version alone the card is not written. */
	if (q == 0 && !r->current.version[0] && world_runs_current(&p->world, r))
		copy_text(r->current.version, sizeof(r->current.version), p->world.old.version);
	if (q == 0 && p->updates == 0 && !p->state.answer.known)
		p->result->from = !is_before_trial(p) || p->task->operation == OPERATION_ROLLBACK ||
						  world_runs_current(&p->world, r)
					  ? r->current.digest
					  : (struct digest){0};
	return q;
}

/* The loop: look, decide, do, until a row ends the pass. */
static int work(struct pass *p, struct error *ret_error)
{
	unsigned int parts = WORLD_WHOLE;
	enum phase looked = p->record.phase;
	struct step step;
	int r;

	for (int i = 0; i < PASS_ACTIONS_MAX && p->result->outcome == OUTCOME_NONE; i++) {
		/* A look depends on the phase. */
		if (p->record.phase != looked)
			parts = WORLD_WHOLE;
		r = parts ? look(p, parts, ret_error) : 0;
		if (r < 0 && handle_look_error(p, r, ret_error) == 0)
			continue;
		if (r < 0)
			return r;
		looked = p->record.phase;
		update_state(p);
		step = plan_next(p->c, &p->record, &p->world, &p->state);
		if (action_is_end(step.action))
			return end(p, &step, ret_error);
		parts = action_touches(step.action);
		r = take_step(p, &step, ret_error);
		if (r < 0) {
			r = handle_error(p, step.action, r, ret_error);
			parts = WORLD_WHOLE;
		}
		if (r < 0)
			return r;
	}
	if (p->result->outcome != OUTCOME_NONE)
		return 0;
	return error_set(ret_error, -ELOOP, "no end after %d actions in phase %s", PASS_ACTIONS_MAX,
			 phase_names[p->record.phase]);
}

static int recover_followers(struct pass *p, struct error *ret_error)
{
	struct record *r = &p->record;
	int q = followers_find(&p->context, r->old_id, r->new_id, r, ret_error);

	if (q == 0)
		q = world_look(&p->context, r, WORLD_CONTAINERS, &p->world, ret_error);
	for (size_t i = 0; q == 0 && i < r->n_followers; i++)
		plan_recover_follower(r, i, &p->world.followers[i]);
	return q;
}

/* The image that can be gone back to is still in the engine, under a tag of ours. */
static void recover_previous(struct pass *p, const struct container_view *main)
{
	_cleanup_free_ char *kept = xasprintf("%s:%s", WORLD_KEEP_REPOSITORY, p->c->name);
	_cleanup_json_ json_t *image = NULL;
	struct error ignored;

	if (release_is_set(&p->record.previous) ||
	    engine_identify_image(p->context.engine, kept, &image, &ignored) < 0 ||
	    streq_null(json_get_string(image, "Id"), main->image))
		return;
	p->record.previous.digest = candidate_find_digest(image, p->context.ref);
	copy_text(p->record.previous.image, sizeof(p->record.previous.image),
		  json_get_string(image, "Id"));
}

/* Recovers a lost record from the names and labels in the engine. Saves it if an update was under way: after the
 * next power cut the names may say less. So may a damaged file, which was set aside. */
static int recover_record(struct pass *p, bool damaged, struct error *ret_error)
{
	struct container_view slots[SLOT_MAX];
	int r = world_look_at_names(&p->context, slots, ret_error);

	if (r < 0)
		return r;
	recover_previous(p, &slots[SLOT_MAIN]);
	plan_recover(&p->record, slots);
	if (p->record.phase == PHASE_IDLE)
		return damaged ? save(p, ret_error) : 0;
	r = recover_followers(p, ret_error);
	return r < 0 ? r : save(p, ret_error);
}

static int run(struct pass *p, struct error *ret_error)
{
	bool record_only = operations[p->task->operation].record_only;
	int r = record_load(p->task->state_dir, p->c->name, &p->record, ret_error);
	bool lost = r == -ENOENT || r == -EBADMSG, damaged;

	if (r == -EBADMSG)
		log_error("%s: %s; recovering it from the names and labels in the engine%s",
			  p->c->name, ret_error->text,
			  streq(p->record.rollout_state, ROLLOUT_LOST)
				  ? "; its rejected digests and its rollout sequence are lost"
				  : "");
	if (r < 0 && !lost)
		return r;
	damaged = r == -EBADMSG;
	if (r == -ENOENT)
		record_init(&p->record);
	/* An operation on the record alone works without an engine. */
	if (lost || !record_only)
		r = engine_open(p->task->config->engine, p->task->cancel, &p->context.engine,
				ret_error);
	if (r == 0 && lost)
		r = recover_record(p, damaged, ret_error);
	if (r < 0)
		return r;
	p->record_is_known = true;
	if (record_only) {
		if (!plan_note(p->task->operation, p->c, &p->task->hold, &p->record, p->result))
			return 0;
		history_add(&p->record, p->result, 0);
		return save(p, ret_error);
	}
	/* A trial ends without a registry. */
	if (p->login_fault.code < 0 && is_before_trial(p)) {
		*ret_error = p->login_fault;
		return ret_error->code;
	}
	if (!is_before_trial(p))
		announce_phase(p);
	p->state.recovered = lost;
	download_recall(p);
	reset_state(p);
	return work(p, ret_error);
}

static int set_up(struct pass *p, struct error *ret_error)
{
	const struct registry_config *registry;
	const struct credential *credential;
	const char *why;
	int r = ref_parse(p->c->image, &p->ref, &why);

	if (r < 0)
		return error_set(ret_error, r, "%s: %s", p->c->image, why);
	registry = config_registry(p->task->config, p->ref.host);
	r = credentials_choose(registry ? registry->credentials : NULL, p->task->config->auth_dir,
			       p->ref.host, false, &p->credentials, &p->login_fault);
	credential = credentials_find(&p->credentials, p->ref.path);
	if (r == 0 && credential_check(credential, &p->login_fault) == 0)
		p->auth = credential_engine_header(credential, p->ref.host);
	p->context = (struct context){.name = p->c->name, .ref = &p->ref};
	p->fetch = fetch_new(&p->task->fetch, p->ref.host);
	p->pull = (struct pull_options){.auth = p->auth, .progress = on_progress, .userdata = p};
	if (p->task->config->download == DOWNLOAD_SPOOL)
		p->documents = json_need(json_object());
	return 0;
}

void pass_run(const struct task *task, const struct container_config *c, struct result *ret)
{
	struct pass p = {.task = task, .c = c, .result = ret};
	struct error e;
	int r;

	*ret = (struct result){.container = c->name, .image = c->image, .downtime_ms = -1};
	record_init(&p.record);
	r = set_up(&p, &e);
	if (r == 0)
		r = run(&p, &e);
	if (r < 0 && repair_is_about_store(&e))
		r = error_prefix(&e, RESULT_STORE_DAMAGED);
	if (r < 0)
		result_set_error(ret, &e);
	if (digest_eq(&ret->to, &p.state.answer.reply.digest))
		copy_text(ret->to_version, sizeof(ret->to_version), p.state.answer.reply.version);
	result_set_versions(ret, &p.record);
	/* What the record says of a damaged store is more than the pass that meets it again. */
	p.already_reported &= p.task->operation == OPERATION_ROLLBACK ||
			      after_prefix(p.record.last_error, RESULT_STORE_DAMAGED);
	if (p.record_is_known && p.record.phase == PHASE_IDLE && ret->outcome != OUTCOME_DEFERRED)
		spool_drop(task->state_dir, c->name);
	download_note(&p, ret);
	traffic_tell(task, p.fetch);
	if (p.record_is_known && p.context.engine && !p.already_reported)
		result_save_error(ret, task->state_dir, &p.record);
	engine_close(p.context.engine);
	free(p.verified);
	saved_spec_free(&p.saved);
	fetch_free(p.fetch);
	ref_free(&p.ref);
	credentials_free(&p.credentials);
	json_decref(p.documents);
	free(p.auth);
}
