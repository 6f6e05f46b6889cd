/* SPDX-License-Identifier: MIT */
/* What decisions and operations do to the record, and how a lost one is made again. */
#include <stdio.h>

#include "engine.h"
#include "hold.h"
#include "plan.h"

static int64_t downtime_ms(int64_t down_ns, int64_t up_ns)
{
	return down_ns > 0 && up_ns > down_ns ? (up_ns - down_ns) / 1000000 : 0;
}

static void decide_trial(struct record *r, const struct world *w)
{
	r->phase = PHASE_TRIAL;
	r->starts = 0;
	r->downtime_ms = -1;
	copy_text(r->old_id, sizeof(r->old_id), w->old.id);
	copy_text(r->new_id, sizeof(r->new_id), w->new.id);
	copy_text(r->policy, sizeof(r->policy), w->new.final_policy);
	r->serving = view_exists(&w->old) && view_is_up(&w->old);
	for (size_t i = 0; i < r->n_followers; i++) {
		const struct pair *pair = &w->followers[i];
		struct follower *f = &r->followers[i];

		copy_text(f->old_id, sizeof(f->old_id), pair->old.id);
		copy_text(f->new_id, sizeof(f->new_id), pair->new.id);
		copy_text(f->policy, sizeof(f->policy), pair->new.final_policy);
		f->serving = view_exists(&pair->old) && view_is_up(&pair->old);
	}
}

static void decide_commit(struct record *r, const struct world *w)
{
	r->phase = PHASE_COMMIT;
	copy_text(r->target.image, sizeof(r->target.image), w->new.image);
	if (w->new.version[0])
		memcpy(r->target.version, w->new.version, sizeof(w->new.version));
	/* One that was removed meanwhile tells nothing. */
	if (r->serving && view_exists(&w->old))
		r->downtime_ms = downtime_ms(w->old.finished_ns, w->new.started_ns);
}

/* Whether the container failed because of a damaged store, not because of its release. An image that was synced in
 * this boot is complete, unless the engine says otherwise: a last log line may say anything. */
static bool store_is_to_blame(const struct record *r, const struct pass_state *m,
			      const struct world *w)
{
	if (m->store_said || view_is_broken(&w->new))
		return true;
	return r->reject_target && !streq(r->boot_id, w->boot_id) && !r->rollback &&
	       store_is_doubtful(m->reason, w->new.state == STATE_EXITED ? w->new.exit_code : 0);
}

/* Whether the engine refused the last start with words that are not about the image. After a crash its own copy of them
 * is left. */
static bool host_is_to_blame(const struct pass_state *m, const struct world *w)
{
	const struct container_view *new = &w->new;

	if (m->not_at_fault)
		return false;
	return m->host_said || (!view_is_up(new) && new->error[0] && !m->reason[0] &&
				!store_is_of_image(new->error));
}

/* The version that was here before, recreated: keep the unhealthy one rather than none. */
static bool is_recreated(const struct record *r)
{
	return !r->old_id[0] && digest_is_set(&r->current.digest) &&
	       digest_eq(&r->target.digest, &r->current.digest);
}

static void decide_revert(struct record *r, const struct pass_state *m, const struct world *w)
{
	bool stopped = m->verdict == VERDICT_BAD && m->not_at_fault;
	bool disturbed =
		view_exists(&w->blocker) || !view_is_kept(&w->new) || stopped || m->in_conflict;
	bool host = !disturbed && host_is_to_blame(m, w);

	r->phase = PHASE_REVERT;
	r->reject_target = !disturbed && !m->not_at_fault && !host;
	r->host.refused = false;
	if (m->damaged || ((r->reject_target || host) && store_is_to_blame(r, m, w))) {
		r->reject_target = false;
		r->target.brought = true; /* to be replaced by a whole one */
		record_damage(r, w->boot_id);
		(void)snprintf(r->reason, sizeof(r->reason), RESULT_STORE_DAMAGED ": %.450s",
			       m->reason);
		return;
	}
	if ((r->reject_target || host) && is_recreated(r)) {
		r->reject_target = false;
		decide_commit(r, w);
		return;
	}
	if (host) {
		record_host_refused(r, w->boot_id, m->engine);
		(void)snprintf(r->reason, sizeof(r->reason), "%s%.450s",
			       m->health.host ? "" : "the host could not start it: ",
			       m->reason[0] ? m->reason : w->new.error);
		return;
	}
	if (disturbed)
		record_disturbed(r, &r->target.digest, m->engine);
	if (view_exists(&w->blocker))
		(void)snprintf(r->reason, sizeof(r->reason),
			       "a container named %s was created externally", w->blocker_name);
	else if (!view_is_kept(&w->new) || stopped)
		(void)snprintf(r->reason, sizeof(r->reason), "the new container was %s externally",
			       !view_is_kept(&w->new) || m->removed ? "removed" : "stopped");
	else if (m->verdict == VERDICT_BAD)
		copy_text(r->reason, sizeof(r->reason), m->reason);
	else
		(void)snprintf(r->reason, sizeof(r->reason),
			       "it did not stay up in %d starts%s%.400s", PLAN_STARTS_MAX,
			       m->reason[0] ? ": " : "", m->reason);
}

/* Whether the old container fails now, too: old and new may share a damaged layer. */
static bool old_fails_too(const struct record *r, const struct world *w)
{
	return view_is_broken(&w->old) ||
	       (r->serving && view_exists(&w->old) && !view_is_up(&w->old) &&
		store_is_doubtful(w->old.error, w->old.exit_code));
}

static void reject(struct record *r, const struct world *w)
{
	if (!old_fails_too(r, w)) {
		record_reject(r, &r->target, "", r->reason);
		return;
	}
	r->reject_target = false;
	record_damage(r, w->boot_id);
	(void)snprintf(r->reason, sizeof(r->reason),
		       RESULT_STORE_DAMAGED ": the old container does not start any more%s%.400s",
		       w->old.error[0] ? ": " : "", w->old.error);
}

static void forget_seen(struct record *r)
{
	r->seen = (struct digest){0};
	r->seen_s = 0;
}

static void note_revert(struct record *r, const struct world *w)
{
	copy_text(r->last_error, sizeof(r->last_error), r->reason);
	if (r->serving && view_exists(&w->old))
		r->downtime_ms = downtime_ms(w->old.finished_ns, w->old.started_ns);
}

/* No image is rejected or dropped; the next pass looks at the host before it stops anything. */
static void decide_again(struct record *r, const struct world *w)
{
	note_revert(r, w);
	r->host.refused = r->serving = false;
	r->old_id[0] = r->new_id[0] = r->policy[0] = '\0';
	r->starts = 0;
	r->phase = PHASE_PREPARE;
}

/* A version that came to stay rules out all that were signed before it; one that an operator ordered back does not. */
static void note_signature(struct record *r, const struct pass_state *m)
{
	if (!r->rollback)
		record_raise_sequences(r, &r->target, m->now_s);
	if (digest_eq(&r->signed_candidate.digest, &r->target.digest))
		r->signed_candidate = (struct signed_candidate){0};
}

static void decide_idle(struct record *r, const struct pass_state *m, const struct world *w)
{
	if (r->phase == PHASE_COMMIT) {
		note_signature(r, m);
		if (!digest_eq(&r->current.digest, &r->target.digest)) {
			if (release_is_set(&r->current))
				r->previous = r->current;
			r->disturbed = (struct disturbed){0};
		} else {
			r->target.brought |= r->current.brought;
		}
		r->current = r->target;
		r->host = (struct host_refusal){0};
		r->damage = (struct damage){0};
		r->deferred = (struct disturbed){0};
		r->last_error[0] = '\0';
		if (r->rollback)
			record_reject(r, &r->previous, "", PLAN_ROLLED_BACK);
	}
	if (r->phase == PHASE_REVERT) {
		if (r->reject_target)
			reject(r, w);
		note_revert(r, w);
	}
	/* The candidate is no longer waited for. */
	if (r->phase == PHASE_COMMIT || r->reject_target)
		forget_seen(r);
	r->phase = PHASE_IDLE;
}

static void decide_fetch(struct record *r, const struct pass_state *m, const struct world *w)
{
	bool clean = m->dropped || r->boot_id[0];

	/* The whole image was in the engine, and was not removed by this update. */
	if (r->synced && !w->image[0] && !m->drop_tried)
		record_disturbed(r, &r->target.digest, m->engine);
	r->synced = false;
	copy_text(r->boot_id, sizeof(r->boot_id), clean ? w->boot_id : "");
}

static void decide_synced(struct record *r, const struct pass_state *m, const struct world *w)
{
	r->synced = true;
	if (m->fetched)
		copy_text(r->boot_id, sizeof(r->boot_id), m->untrusted ? "" : w->boot_id);
}

static void decide_deferral(struct record *r, struct pass_state *m)
{
	struct disturbed *x = &r->deferred;
	char reason[RECORD_TEXT_MAX];

	if (!digest_eq(&x->digest, &r->target.digest))
		*x = (struct disturbed){.digest = r->target.digest};
	x->times += x->times < RECORD_COUNT_MAX;
	m->before.written = true;
	if (!m->before.final)
		return;
	(void)snprintf(reason, sizeof(reason), RESULT_GAVE_UP "%.450s", m->before.refusal);
	record_reject(r, &r->target, "", reason);
	copy_text(r->last_error, sizeof(r->last_error), reason);
}

/* What an operator put in place, by what the engine says of its image. */
static struct release find_running(const struct record *r, const struct pass_state *m,
				   const struct world *w)
{
	struct release now = {.digest = m->answer.runs};

	if (streq(w->old.image, r->previous.image))
		return r->previous;
	copy_text(now.image, sizeof(now.image), w->old.image);
	memcpy(now.version, w->old.version, sizeof(now.version));
	return now;
}

/* The container runs the candidate: it was pulled by hand or under another index, or the tag went back to it. Or it
 * was adopted. */
static void decide_current(struct record *r, const struct pass_state *m, const struct world *w)
{
	const struct fetch_reply *reply = &m->answer.reply;
	struct release now = {.digest = reply->digest, .manifest = reply->manifest};

	if (!plan_runs_already(r, w, m)) {
		r->current = find_running(r, m, w);
		return;
	}
	forget_seen(r);
	/* The reply has no details of a known digest, so the record keeps its own. */
	if (world_runs_current(w, r) && digest_eq(&r->current.digest, &reply->digest))
		return;
	copy_text(now.image, sizeof(now.image), w->old.image);
	memcpy(now.version, w->old.version, sizeof(now.version));
	now.brought = world_runs_current(w, r) && r->current.brought;
	if (world_runs_current(w, r))
		now.signature = r->current.signature;
	if (now.brought || now.signature.n_keys > 0)
		now.pulled = *release_pulled(&r->current);
	r->current = now;
}

static void decide_rejected(struct record *r, const struct pass_state *m)
{
	const struct fetch_reply *reply = &m->answer.reply;
	const struct release target = {.digest = reply->digest, .manifest = reply->manifest};
	const char *known = record_rejected(r, &reply->manifest, m->engine);
	char reason[RECORD_TEXT_MAX];

	if (digest_is_set(&m->unusable.digest)) {
		record_reject(r, &m->unusable, m->engine, m->refusal.text);
		if (digest_eq(&r->seen, &m->unusable.digest))
			forget_seen(r);
		return;
	}
	copy_text(reason, sizeof(reason), known);
	/* For no more versions of the engine than before. */
	record_reject(r, &target, record_rejected(r, &reply->manifest, "") ? "" : m->engine,
		      reason);
}

static void decide_seen(struct record *r, const struct pass_state *m, const struct world *w)
{
	r->seen = *plan_candidate(r, w, m);
	r->seen_s = m->now_s;
}

static void decide_sequence(struct record *r, const struct pass_state *m, const struct world *w)
{
	struct policy_note note;

	if (m->policy.refused) {
		r->rollout_refused = m->policy.manifest;
		return;
	}
	note = plan_note_policy(r, w, m);
	r->rollout_manifest = m->policy.manifest;
	r->rollout_signature = m->policy.signature;
	r->rollout_sequence = note.sequence;
	r->rollout_policy = note.policy;
	if (note.state != r->rollout_state)
		copy_text(r->rollout_state, sizeof(r->rollout_state), note.state);
}

static void decide_floor(struct record *r, const struct pass_state *m)
{
	for (size_t i = 0; i < m->n_floor; i++)
		record_raise_sequence(r, &m->floor[i]);
	r->floor = m->floor_of;
	r->place = m->place;
}

static void decide_renewal(struct record *r, struct pass_state *m)
{
	m->renewal_written = true;
	r->renewal_s = m->now_s;
	if (m->renewal.n_keys == 0)
		return;
	r->current.signature = m->renewal;
	record_raise_sequences(r, &r->current, m->now_s);
}

static void decide_signature(struct record *r, const struct pass_state *m)
{
	r->signed_candidate = m->signature;
	r->place = m->place;
	if (r->phase == PHASE_PREPARE && digest_eq(&r->target.digest, &m->signature.digest))
		r->target.signature = m->signature.signature;
}

/* How the candidate was verified goes with it. */
static void sign_target(struct record *r, const struct pass_state *m)
{
	struct release *target = &r->target;

	if (!digest_eq(&m->signature.digest, &target->digest))
		return;
	target->signature = m->signature.signature;
	if (!digest_eq(&m->signature.pulled, release_pulled(target)))
		target->pulled = m->signature.pulled;
}

static void decide_forget(struct record *r, struct pass_state *m, const struct world *w)
{
	/* A pull that a power cut ended may have left layers that the next version has, too. */
	m->pull_was_cut |=
		r->phase == PHASE_PREPARE && !r->synced && !streq(r->boot_id, w->boot_id);
	m->drop_tried = m->dropped = m->image_known = false;
	r->phase = PHASE_IDLE;
}

/* The first durable decision: this target, and whether its image will be ours to remove. */
static void decide_prepare(struct record *r, const struct pass_state *m, const struct world *w)
{
	const struct fetch_reply *reply = &m->answer.reply;
	bool present = m->image_present, rollback = m->operation == OPERATION_ROLLBACK;

	/* Something else replaced what is written down: that very version, or an operator chose another. */
	if (!rollback && view_exists(&w->old) && !world_runs_current(w, r)) {
		if (digest_eq(&reply->digest, &r->current.digest))
			record_disturbed(r, &reply->digest, m->engine);
		else
			r->current = find_running(r, m, w);
	}
	if (rollback)
		r->target = r->previous;
	else
		r->target = (struct release){
			.digest = reply->digest,
			.manifest = reply->manifest,
			.brought = !present || (digest_eq(&reply->digest, &r->previous.digest) &&
						r->previous.brought)};
	sign_target(r, m);
	if (!rollback)
		memcpy(r->target.version, reply->version, sizeof(reply->version));
	r->platform[0] = '\0';
	if (m->platform.os[0])
		(void)oci_platform_text(&m->platform, r->platform, sizeof(r->platform));
	r->phase = PHASE_PREPARE;
	r->host = (struct host_refusal){0};
	r->synced = r->rollback = rollback; /* it ran here */
	copy_text(r->boot_id, sizeof(r->boot_id), m->pull_was_cut && !present ? "" : w->boot_id);
	r->old_id[0] = r->new_id[0] = r->policy[0] = r->reason[0] = '\0';
	r->serving = r->reject_target = false;
	r->starts = 0;
}

void plan_decide(struct record *r, struct pass_state *m, enum action decision,
		 const struct world *w)
{
	if (decision == ACT_DECIDE_CURRENT) {
		decide_current(r, m, w);
	} else if (decision == ACT_DECIDE_REJECTED) {
		decide_rejected(r, m);
	} else if (decision == ACT_DECIDE_SEEN) {
		decide_seen(r, m, w);
	} else if (decision == ACT_DECIDE_SEQUENCE) {
		decide_sequence(r, m, w);
	} else if (decision == ACT_DECIDE_FLOOR) {
		decide_floor(r, m);
	} else if (decision == ACT_DECIDE_RENEWAL) {
		decide_renewal(r, m);
	} else if (decision == ACT_DECIDE_SIGNATURE) {
		decide_signature(r, m);
	} else if (decision == ACT_DECIDE_FORGET) {
		decide_forget(r, m, w);
	} else if (decision == ACT_DECIDE_PREPARE) {
		decide_prepare(r, m, w);
	} else if (decision == ACT_DECIDE_FETCH) {
		decide_fetch(r, m, w);
	} else if (decision == ACT_DECIDE_SYNCED) {
		decide_synced(r, m, w);
	} else if (decision == ACT_DECIDE_DEFERRAL) {
		decide_deferral(r, m);
	} else if (decision == ACT_DECIDE_TRIAL) {
		decide_trial(r, w);
	} else if (decision == ACT_DECIDE_START) {
		r->starts++;
		m->counted = true;
	} else if (decision == ACT_DECIDE_COMMIT) {
		decide_commit(r, w);
	} else if (decision == ACT_DECIDE_REVERT) {
		decide_revert(r, m, w);
	} else if (decision == ACT_DECIDE_AGAIN) {
		decide_again(r, w);
	} else if (decision == ACT_DECIDE_IDLE) {
		decide_idle(r, m, w);
	}
}

static bool is_ours(const struct container_view *v)
{
	return view_exists(v) && digest_is_set(&v->target);
}

/* A lost record does not tell whether a parked container served. If in doubt, it is started. */
static bool may_have_served(const struct container_view *old, const struct container_view *new)
{
	return view_is_up(old) || old->slot == SLOT_PREV ||
	       (new && (view_was_started(new) || !streq(old->policy, new->final_policy)));
}

static const char *recovered_policy(const struct container_view *old,
				    const struct container_view *new)
{
	if (new)
		return new->final_policy;
	if (old)
		return old->final_policy[0] ? old->final_policy : old->policy;
	return "";
}

void plan_recover(struct record *r, const struct container_view slots[SLOT_MAX])
{
	const struct container_view *main = &slots[SLOT_MAIN], *next = &slots[SLOT_NEXT];
	const struct container_view *prev = &slots[SLOT_PREV], *old = NULL, *new = NULL;

	if (view_exists(prev) && (is_ours(main) || !view_exists(main))) {
		old = prev;
		new = is_ours(main) ? main : is_ours(next) ? next : NULL;
	} else if (view_exists(main) && is_ours(next)) {
		old = main;
		new = next;
	} else if (is_ours(main)) {
		new = main; /* alone: its update was committed, and the next look shows what is left to do */
	}
	if (!old && !new)
		return;
	r->phase = old ? PHASE_REVERT : PHASE_COMMIT;
	r->reject_target = false; /* what went wrong, if anything, is not known */
	(void)snprintf(r->reason, sizeof(r->reason), "the record was lost");
	if (new) {
		/* What a label claims of the version that runs is not believed alone: the Id is known for sure. */
		if (old || new->confirmed || digest_parse(new->image, &r->target.digest) < 0)
			r->target.digest = new->target;
		copy_text(r->target.image, sizeof(r->target.image), new->image);
		copy_text(r->new_id, sizeof(r->new_id), new->id);
	}
	copy_text(r->policy, sizeof(r->policy), recovered_policy(old, new));
	if (old) {
		copy_text(r->old_id, sizeof(r->old_id), old->id);
		r->serving = may_have_served(old, new);
		r->starts = new ? view_was_started(new) : 0;
	}
}

void plan_recover_follower(struct record *r, size_t i, const struct pair *pair)
{
	const struct container_view *old = view_exists(&pair->old) ? &pair->old : NULL;
	const struct container_view *new = is_ours(&pair->new) ? &pair->new : NULL;
	struct follower *f = &r->followers[i];

	copy_text(f->old_id, sizeof(f->old_id), old ? old->id : "");
	copy_text(f->new_id, sizeof(f->new_id), new ? new->id : "");
	copy_text(f->policy, sizeof(f->policy), recovered_policy(old, new));
	f->serving = !old || r->starts > 0 || may_have_served(old, new);
	/* An old container is removed only after the commit. */
	if (new && !old)
		r->phase = PHASE_COMMIT;
}

static bool apply_retry(struct record *r, char *reason, size_t size)
{
	size_t n = r->n_rejected + r->n_rejected_before;
	bool disturbed = digest_is_set(&r->disturbed.digest), changed;
	bool damaged = digest_is_set(&r->damage.digest);

	disturbed |= r->host.times > 0 || r->deferred.times > 0;
	r->host.times = 0;
	if (n > 0)
		(void)snprintf(reason, size, "%zu rejected digest%s forgotten", n,
			       n == 1 ? " is" : "s are");
	else
		(void)snprintf(reason, size, "%s",
			       damaged	   ? "the engine's store is tried again"
			       : disturbed ? "the disturbed update is tried again"
					   : "nothing was rejected");
	changed = n > 0 || damaged || disturbed;
	if (record_forget_policy(r)) {
		n = changed ? strlen(reason) : 0;
		(void)snprintf(reason + n, size - n, "%sthe rollout policy is forgotten",
			       n ? "; " : "");
		changed = true;
	}
	r->n_rejected = r->n_rejected_before = 0;
	r->disturbed = (struct disturbed){0};
	r->deferred = (struct disturbed){0};
	r->damage = (struct damage){0};
	r->last_error[0] = '\0';
	return changed;
}

bool plan_note(enum operation operation, const struct container_config *c, const struct hold *hold,
	       struct record *r, struct result *ret)
{
	bool held = operation == OPERATION_HOLD, was_held = r->held;
	bool changed = r->held != held || !hold_is_same(&r->hold, hold);

	ret->outcome = OUTCOME_DEFERRED;
	ret->from = ret->to = r->current.digest;
	if (operation == OPERATION_RETRY)
		return apply_retry(r, ret->reason, sizeof(ret->reason));
	r->held = held;
	r->hold = *hold;
	if (held)
		hold_explain(hold, ret->reason, sizeof(ret->reason));
	else
		(void)snprintf(ret->reason, sizeof(ret->reason), "%s%s",
			       was_held ? "released" : "it was not held by the operator",
			       c->hold ? "; hold = yes in the configuration stays" : "");
	return changed;
}
