/* SPDX-License-Identifier: MIT */
/* The rows until an update is prepared: what the pass must know about a candidate, and what rules it out. */
#include <errno.h>

#include "plan-internal.h"
#include "hold.h"
#include "schedule.h"

CLAIM(is_answered, s->m->answer.known && s->m->answer.error.code == 0)

SHARED_CLAIM(plan_is_rollback, s->m->operation == OPERATION_ROLLBACK ||
				       (s->r->phase == PHASE_PREPARE && s->r->rollback))

static bool runs_already(const struct situation *s)
{
	const struct fetch_reply *reply = &s->m->answer.reply;
	const char *image = s->w->old.image;

	if (!is_answered(s) || !view_exists(&s->w->old))
		return false;
	if (world_runs_current(s->w, s->r) &&
	    (digest_eq(&reply->digest, &s->r->current.digest) ||
	     digest_eq(&reply->manifest, &s->r->current.manifest)))
		return true;
	return s->m->answer.listed || streq(image, reply->digest.text) ||
	       streq(image, reply->config.text) || streq(image, reply->manifest.text);
}

bool plan_runs_already(const struct record *r, const struct world *w, const struct pass_state *m)
{
	return runs_already(&(struct situation){.r = r, .w = w, .m = m});
}

static const char *rejection_of(const struct situation *s, const struct digest *d)
{
	return record_rejected(s->r, d, s->m->engine);
}

static const char *find_rejected(const struct situation *s)
{
	const char *reason;

	if (!is_answered(s))
		return NULL;
	reason = rejection_of(s, &s->m->answer.reply.digest);
	return reason ? reason : rejection_of(s, &s->m->answer.reply.manifest);
}

/* The next poll then costs one request. */
CLAIM(refusal_is_written,
      !digest_is_set(&s->m->unusable.digest) || rejection_of(s, &s->m->unusable.digest))

/* One that is under way is counted already. An image that others remove while it waits for its window (docker image
 * prune -a) is downloaded when that opens. */
static bool update_is_undisturbed(const struct situation *s)
{
	bool under_way = s->r->phase == PHASE_PREPARE &&
			 (s->w->image[0] || (s->c->windows.n > 0 && window_is_open(s)));

	return under_way || !is_answered(s) ||
	       !record_is_disturbed(s->r, &s->m->answer.reply.digest, s->m->engine);
}

CLAIM(store_can_keep_it,
      !is_answered(s) || !record_is_hopeless(s->r, &s->m->answer.reply.digest, s->w->boot_id))

bool plan_needs_repair(const struct situation *s)
{
	return view_is_broken(&s->w->old) &&
	       (runs_already(s) ||
		(world_runs_current(s->w, s->r) && digest_is_set(&s->r->current.digest) &&
		 (find_rejected(s) || !store_can_keep_it(s))));
}

static const struct digest *candidate_of(const struct situation *s)
{
	if (s->r->phase == PHASE_PREPARE && (s->r->rollback || !is_answered(s)))
		return &s->r->target.digest;
	if (s->m->operation == OPERATION_ROLLBACK)
		return &s->r->previous.digest;
	return plan_needs_repair(s) ? &s->r->current.digest : &s->m->answer.reply.digest;
}

const struct digest *plan_candidate(const struct record *r, const struct world *w,
				    const struct pass_state *m)
{
	return candidate_of(&(struct situation){.r = r, .w = w, .m = m});
}

/* A missing container with a saved spec is recreated at once: nothing that defers an update defers that. */
CLAIM(is_remade, digest_is_set(&s->m->saved_spec))
CLAIM(container_is_possible,
      view_exists(s->old) || s->c->create || is_remade(s) || !s->m->spec_known)
/* An image that was loaded has no digest of a registry: its Id is enough to go back to it. */
CLAIM(previous_is_known, s->r->previous.image[0])
CLAIM(previous_is_not_rejected, !rejection_of(s, &s->r->previous.digest))
CLAIM(container_is_of_last_update, world_runs_current(s->w, s->r))
CLAIM(presence_is_known, s->r->phase == PHASE_PREPARE || s->m->image_known)
SHARED_CLAIM(image_is_present,
	     s->r->phase == PHASE_PREPARE ? s->w->image[0] != '\0' : s->m->image_present)

/* With other keys another digest may be what is signed: the index, or this platform's manifest. */
CLAIM(target_is_what_is_signed,
      !digest_eq(&s->m->signature.digest, &s->r->target.digest) ||
	      digest_eq(&s->m->signature.pulled, release_pulled(&s->r->target)))
CLAIM(update_is_wanted,
      container_is_possible(s) && target_is_what_is_signed(s) &&
	      (!is_answered(s) || (digest_eq(&s->r->target.digest, &s->m->answer.reply.digest) &&
				   !runs_already(s) && !find_rejected(s) && !plan_needs_repair(s))))
CLAIM(rollback_is_wanted, previous_is_known(s) && previous_is_not_rejected(s) &&
				  container_is_of_last_update(s) && image_is_present(s) &&
				  s->r->rollback)

static bool prepared_is_wanted(const struct situation *s)
{
	if (s->r->phase != PHASE_PREPARE)
		return true;
	return s->m->refusal.code == 0 && way_is_free(s) &&
	       (plan_is_rollback(s) ? rollback_is_wanted(s) : update_is_wanted(s));
}

CLAIM(nothing_was_refused, s->m->refusal.code == 0)
CLAIM(saved_spec_is_known, s->m->spec_known)
CLAIM(container_is_not_held,
      s->m->operation == OPERATION_CHECK || (!s->c->hold && !record_is_held(s->r, s->m->now_s)))
CLAIM(registry_was_asked, s->m->answer.known)

/* An image that is already in the engine needs no registry, unless its rollout may have been halted since. */
CLAIM(registry_is_not_needed, s->m->answer.error.code != -ENOENT && s->r->phase == PHASE_PREPARE &&
				      s->r->synced && image_is_present(s) &&
				      s->m->operation != OPERATION_CHECK &&
				      (!record_has_policy(s->r) || s->c->rollout == ROLLOUT_NO))

/* A certificate is not valid yet for a clock that is behind. */
CLAIM(clock_is_no_obstacle,
      s->m->answer.error.code != -EPROTO || s->m->now_s != 0 || registry_is_not_needed(s))
CLAIM(registry_answered, is_answered(s) || registry_is_not_needed(s))

/* What the first update of a container replaces is what a rollback goes back to. */
CLAIM(adopted_is_written,
      !is_answered(s) || !view_exists(&s->w->old) || release_is_set(&s->r->current))

/* A digest that is no longer waited for must be cleared: with it each poll would begin a pass. */
CLAIM(current_is_written,
      !runs_already(s) ? adopted_is_written(s)
		       : world_runs_current(s->w, s->r) && !digest_is_set(&s->r->seen) &&
				 digest_eq(&s->r->current.digest, &s->m->answer.reply.digest))
CLAIM(repair_is_asked_for, s->m->operation != OPERATION_CHECK)
CLAIM(update_is_asked_for,
      repair_is_asked_for(s) && (s->m->operation != OPERATION_LOOK || is_remade(s)))
CLAIM(check_knows_host, update_is_asked_for(s) || s->m->host_is_known)
CLAIM(old_was_started_again, s->progress->started_old)
CLAIM(followers_are_known, s->m->followers_known)

static const char *find_repair_blocker(const struct situation *s)
{
	if (record_is_hopeless(s->r, &s->r->current.digest, s->w->boot_id))
		return "recreating it failed; it is tried again after a reboot, or after pullet "
		       "retry";
	if (!way_is_free(s))
		return "another container has the name that its successor needs: remove it";
	if (s->r->n_followers > 0)
		return "other containers depend on it: remove all and create them again";
	return NULL;
}

CLAIM(repair_is_possible, !find_repair_blocker(s))
CLAIM(candidate_is_verified, digest_is_set(candidate_of(s))
				     ? digest_eq(candidate_of(s), &s->m->verified)
				     : s->m->no_key_demands)

CLAIM(floor_is_wanted, s->c->keys &&record_lacks_floor(s->r))
CLAIM(floor_is_known, !floor_is_wanted(s) || digest_eq(&s->m->floor_of, &s->r->current.digest))
CLAIM(floor_is_written, !digest_is_set(&s->m->floor_of) || digest_eq(&s->m->floor_of, &s->r->floor))

/* An operator who has signed what runs again expects the alarm to end. */
CLAIM(renewal_is_known, s->m->renewal_known || !s->c->keys || !runs_already(s) ||
				!world_runs_current(s->w, s->r) ||
				!record_has_expired(s->r, s->m->now_s))
CLAIM(renewal_is_written, !s->m->renewal_known || s->m->renewal_written)

/* The next pass asks no registry for it then. */
static bool signature_is_written(const struct situation *s)
{
	const struct signed_candidate *now = &s->m->signature, *then = &s->r->signed_candidate;

	return !digest_is_set(&now->digest) ||
	       (digest_eq(&now->digest, &then->digest) && digest_eq(&now->pulled, &then->pulled) &&
		signature_eq(&now->signature, &then->signature) && s->m->place == s->r->place);
}

CLAIM(registry_has_current, digest_eq(&s->m->answer.reply.digest, &s->r->current.digest))
CLAIM(spec_is_saved, s->m->spec_saved)
CLAIM(candidate_is_new, !runs_already(s))

/* Compose, when it is disturbed, leaves containers behind that it created and never started. NAME.next of such a one is
 * removed first. */
CLAIM(is_never_started, view_exists(&s->w->old) && s->w->old.state == STATE_CREATED &&
				!s->w->old.error[0] &&
				!(s->r->phase == PHASE_PREPARE && view_exists(&s->w->new)))

/* A container that has failed is to get its fix. */
CLAIM(old_runs_or_may_be_mended,
      !is_never_started(s) && !s->w->old.cannot_be_removed &&
	      (!view_has_failed(&s->w->old) || (!runs_already(s) && !find_rejected(s))))

/* Others may have started NAME.next, or brought it back, while an update was given up. */
CLAIM(nothing_is_left,
      s->r->phase != PHASE_IDLE || !view_exists(&s->w->new) || s->m->operation == OPERATION_CHECK)

/* The next poll needs one request less then. */
CLAIM(rejection_is_written, !find_rejected(s) || rejection_of(s, &s->m->answer.reply.digest))
CLAIM(candidate_is_not_rejected, !find_rejected(s))

/* NAME.next of a container that an operator stopped is removed before the pass ends. */
CLAIM(no_operator_stopped_old,
      !view_left_alone(&s->w->old) || (s->r->phase == PHASE_PREPARE && view_exists(&s->w->new)))
CLAIM(age_counts, s->c->min_age_ms > 0 && is_answered(s) && !is_remade(s) && !plan_is_urgent(s))

static int64_t old_enough_s(const struct situation *s)
{
	return s->r->seen_s + (int64_t)(s->c->min_age_ms / 1000);
}

/* The age counts from when this device first saw the digest: a builder can write any date into an image. */
static bool age_is_known(const struct situation *s)
{
	const struct record *r = s->r;

	return !age_counts(s) || s->m->now_s == 0 ||
	       (digest_eq(&r->seen, candidate_of(s)) && r->seen_s != 0 && r->seen_s <= s->m->now_s);
}

CLAIM(candidate_is_old_enough,
      !age_counts(s) || (s->m->now_s != 0 && s->m->now_s >= old_enough_s(s)))
SHARED_CLAIM(policy_is_wanted,
	     is_answered(s) && s->c->rollout != ROLLOUT_NO && !s->m->pinned && !is_remade(s))
CLAIM(policy_was_asked, !policy_is_wanted(s) || s->m->policy.known)
CLAIM(has_policy, policy_is_wanted(s) && s->m->policy.error.code == 0 && s->m->policy.reply.found)

static struct rollout_device this_device(const struct situation *s)
{
	return (struct rollout_device){
		.version = PULLET_VERSION,
		.position = s->m->policy.position,
		.sequence = s->r->rollout_sequence,
		.policy = s->r->rollout_policy,
		.digest = *candidate_of(s),
		.now_s = s->m->now_s,
	};
}

/* A policy for another image sets no sequence: it must not lock out the one for this image. */
static struct policy_note note_policy(const struct situation *s)
{
	const struct rollout *policy = &s->m->policy.reply.rollout;
	const struct rollout_device device = this_device(s);
	struct policy_note note = {s->r->rollout_sequence, s->r->rollout_policy,
				   s->r->rollout_state};
	char ignored[160];
	bool next = rollout_is_in_sequence(policy, &device, ignored, sizeof(ignored));

	if (next && (policy->clear || digest_eq(&policy->target, &device.digest))) {
		note.sequence = policy->sequence;
		note.policy = policy->document;
	}
	if (next && policy->clear)
		note.state = ROLLOUT_CLEARED;
	else if ((next || device.sequence == 0) && !streq(note.state, ROLLOUT_LOST))
		note.state = ROLLOUT_SEEN;
	return note;
}

struct policy_note plan_note_policy(const struct record *r, const struct world *w,
				    const struct pass_state *m)
{
	return note_policy(&(struct situation){.r = r, .w = w, .m = m});
}

static bool sequence_is_written(const struct situation *s)
{
	const struct policy_answer *policy = &s->m->policy;
	struct policy_note note;

	if (policy->refused)
		return !digest_is_set(&policy->manifest) ||
		       digest_eq(&policy->manifest, &s->r->rollout_refused);
	if (!has_policy(s))
		return true;
	if (digest_is_set(&policy->manifest) &&
	    (!digest_eq(&policy->manifest, &s->r->rollout_manifest) ||
	     !signature_eq(&policy->signature, &s->r->rollout_signature)))
		return false;
	note = note_policy(s);
	return note.sequence == s->r->rollout_sequence &&
	       streq(note.policy.text, s->r->rollout_policy.text) &&
	       streq(note.state, s->r->rollout_state);
}

static void explain_removed(const struct situation *s, char *why, size_t size)
{
	const char *how = s->m->policy.refused ? "is not signed any more" : "was removed";
	char sequence[40] = "";

	if (s->r->rollout_sequence > 0)
		(void)snprintf(sequence, sizeof(sequence), " (sequence %ju)",
			       (uintmax_t)s->r->rollout_sequence);
	(void)snprintf(why, size,
		       "the rollout policy beside %.400s%s %s: publish one, end all rollouts with "
		       "pullet rollout clear, or free this device with pullet retry %s",
		       s->c->image, sequence, how, s->c->name);
}

/* False: why has the reason. A policy that cannot be read may be a halt, and one that was removed may have been one, so
 * the device waits. */
static bool judge_policy(const struct situation *s, char *why, size_t size)
{
	const struct error *e = &s->m->policy.error;
	const struct rollout_device device = this_device(s);
	bool required = s->c->rollout == ROLLOUT_REQUIRED;

	if (!policy_is_wanted(s))
		return true;
	if (e->code != 0)
		(void)snprintf(why, size, "the rollout policy cannot be fetched: %.500s", e->text);
	else if (required && streq(s->r->rollout_state, ROLLOUT_LOST))
		(void)snprintf(why, size,
			       "rollout = required, and the last sequence was lost with a damaged "
			       "record; to accept the present policy: pullet retry %s",
			       s->c->name);
	else if (required && !s->m->policy.reply.found)
		(void)snprintf(why, size,
			       "rollout = required, and there is no %spolicy beside %.400s",
			       s->m->policy.refused ? "signed " : "", s->c->image);
	else if (required && s->m->policy.reply.rollout.clear)
		(void)snprintf(why, size,
			       "rollout = required, and the policy beside %.400s ends all rollouts",
			       s->c->image);
	else if (s->m->policy.reply.found)
		return rollout_admits(&s->m->policy.reply.rollout, &device, why, size);
	else if (record_has_policy(s->r))
		explain_removed(s, why, size);
	else
		return true;
	return false;
}

static bool policy_admits(const struct situation *s)
{
	char why[RECORD_TEXT_MAX + 128];

	return judge_policy(s, why, sizeof(why));
}

static void explain_policy(const struct situation *s, char *text, size_t size)
{
	(void)judge_policy(s, text, size);
}

CLAIM(successor_is_possible, s->m->successor_checked)

CLAIM(may_download, image_is_present(s) || is_remade(s) || plan_is_urgent(s) ||
			    schedule_is_open(&s->c->download_windows, plan_clock(s)))
CLAIM(details_are_known,
      digest_is_set(&s->m->answer.reply.manifest) || !is_answered(s) ||
	      (s->r->phase == PHASE_PREPARE && s->r->synced && image_is_present(s)))

/* The engine would send the credentials to a token server that the network half did not trust. */
CLAIM(credentials_are_safe, image_is_present(s) || !s->m->has_credentials || !is_answered(s) ||
				    !s->m->answer.reply.withheld[0])
CLAIM(space_is_known, s->m->space_known)
CLAIM(there_is_space, s->m->no_space.code == 0)
CLAIM(update_is_prepared, s->r->phase == PHASE_PREPARE)

/* The reasons of passes that end. */

EXPLAIN(explain_refusal, "%s", s->m->refusal.text)

static void explain_missing(const struct situation *s, char *text, size_t size)
{
	const char *name = s->c->name;

	if (s->m->service_of[0])
		(void)snprintf(text, size,
			       "there is no container '%s' in the engine; there is %s, whose "
			       "compose service is %s: name that in the configuration",
			       name, s->m->service_of, name);
	else
		(void)snprintf(text, size,
			       "there is no container '%s' in the engine, and no create = to make "
			       "one",
			       name);
}

static void explain_hold(const struct situation *s, char *text, size_t size)
{
	if (s->c->hold)
		copy_text(text, size, RESULT_HELD_CONFIG);
	else
		hold_explain(&s->r->hold, text, size);
}

EXPLAIN(explain_clock, RESULT_CLOCK_NOT_SET ": %.500s", s->m->answer.error.text)
EXPLAIN(explain_no_answer, "%s", s->m->answer.error.text)
EXPLAIN(explain_repair_check,
	RESULT_STORE_DAMAGED ": container %s: %.250s; only a check was asked for", s->c->name,
	s->old->error)
EXPLAIN(explain_repair_blocker, RESULT_STORE_DAMAGED ": container %s: %.250s; %s", s->c->name,
	s->old->error, find_repair_blocker(s))
EXPLAIN(explain_rejected, RESULT_REJECTED, find_rejected(s))
EXPLAIN(explain_disturbed, "something %s; mend that, then run pullet retry %s",
	s->r->phase == PHASE_PREPARE
		? "removes the image whenever it was downloaded (docker image prune -a?)"
		: "starts, stops or removes this container whenever it is updated (a systemd unit "
		  "with docker run?)",
	s->c->name)
EXPLAIN(explain_withheld, "%s", s->m->answer.reply.withheld)
EXPLAIN(explain_space, "%.600s", s->m->no_space.text)
EXPLAIN(explain_no_previous, "there is no version to go back to: none was replaced yet")
EXPLAIN(explain_previous_rejected,
	"the previous version was rejected: %.400s; to forget that: pullet retry %s",
	rejection_of(s, &s->r->previous.digest), s->c->name)
EXPLAIN(explain_replaced,
	"the container was replaced since the last update, so its previous version is not known")
EXPLAIN(explain_no_image,
	"the image of the previous version is no longer in the engine: publish it again")

SHARED_EXPLAIN(explain_blocker, "a container named %s is in the way: rename or remove it",
	       s->w->blocker_name)
EXPLAIN(explain_stopped, "%s", view_left_alone(&s->w->old))

static void explain_download(const struct situation *s, char *text, size_t size)
{
	schedule_explain(&s->c->download_windows, plan_clock(s), "download-window", s->c->name,
			 text, size);
}

static void explain_failed(const struct situation *s, char *text, size_t size)
{
	const struct container_view *old = &s->w->old;

	if (is_never_started(s))
		(void)snprintf(text, size, "it was created and never started; docker start %s",
			       s->c->name);
	else if (old->cannot_be_removed)
		(void)snprintf(text, size,
			       "its removal failed, and it never starts again; once that is "
			       "mended: docker rm %s",
			       s->c->name);
	else if (old->error[0])
		(void)snprintf(text, size,
			       "the engine could not start it: %.400s; once that is mended: docker "
			       "start %s",
			       old->error, s->c->name);
	else
		(void)snprintf(text, size,
			       "it is down, and no operator stopped it: %s; to start it again: "
			       "docker start %s",
			       old->oom_killed ? "the kernel killed it for want of memory"
			       : old->exit_code == 255
				       ? "it ended with the host, or with status 255"
				       : "the engine did not start it again",
			       s->c->name);
}

/* All that an update asks was asked; what remains are the operator's own words about when. */
static void explain_check(const struct situation *s, char *text, size_t size)
{
	char why[RECORD_TEXT_MAX] = "only a check was asked for";

	if (s->c->hold || record_is_held(s->r, s->m->now_s))
		explain_hold(s, why, sizeof(why));
	else if (s->c->update == UPDATE_TELL && host_has_all(s)) {
		(void)snprintf(text, size, RESULT_TELL "pullet update %s takes it", s->c->name);
		return;
	} else if (!window_is_open(s))
		explain_window(s, why, sizeof(why));
	else if (!host_has_all(s))
		explain_host(s, why, sizeof(why));
	(void)snprintf(text, size, "there is an update; %s", why);
}

static void explain_hopeless(const struct situation *s, char *text, size_t size)
{
	const char *said = after_prefix(s->r->last_error, RESULT_STORE_DAMAGED ": ");

	(void)snprintf(text, size,
		       RESULT_STORE_DAMAGED ": %.400s; it is tried again after a reboot, or once "
					    "that is repaired: pullet retry %s",
		       said ? said : "the engine cannot keep the image", s->c->name);
}

static void explain_age(const struct situation *s, char *text, size_t size)
{
	char date[CALENDAR_LOCAL_MAX];

	if (s->m->now_s == 0)
		(void)snprintf(text, size, "the clock is not set, and min-age needs it");
	else
		(void)snprintf(
			text, size,
			"min-age: it is taken from %s on; pullet update --now %s takes it now",
			calendar_local(old_enough_s(s), date), s->c->name);
}

const struct plan_row plan_rows_before[] = {
	ROW(ASK, "a final refusal is written down", DECIDE_REJECTED, ONE, refusal_is_written),
	ROW(ASK, "what is prepared is still wanted", DECIDE_FORGET, ONE, prepared_is_wanted),
	ROW(ASK, "nothing was refused", REFUSE, ONE, nothing_was_refused, explain_refusal),
	ROW(ASK, "a saved spec was looked for", FIND_SPEC, ONE, saved_spec_is_known),
	ROW(ASK, "there is a container, or one can be made", FAIL, ONE, container_is_possible,
	    explain_missing),
	ROW(ASK, "the container is not held", DEFER, ONE, container_is_not_held, explain_hold),
	ROW(ASK, "nothing of an update is left", REMOVE_NEW, ONE, nothing_is_left),
	ROW(ASK, "the registry was asked", ASK, ONE, registry_was_asked),
	ROW(ASK, "the clock is set, or not needed", DEFER, ONE, clock_is_no_obstacle,
	    explain_clock),
	ROW(ASK, "the registry answered, or is not needed", FAIL, ONE, registry_answered,
	    explain_no_answer),
	ROW(ASK, "the version that runs is written down", DECIDE_CURRENT, ONE, current_is_written),

	ROW(REPAIR, "more than a check was asked for", DEFER, ONE, repair_is_asked_for,
	    explain_repair_check),
	ROW(REPAIR, "old was started once more", START_OLD, ONE, old_was_started_again),
	ROW(REPAIR, "the followers are known", FIND_FOLLOWERS, ONE, followers_are_known),
	ROW(REPAIR, "nothing prevents the repair", FAIL, ONE, repair_is_possible,
	    explain_repair_blocker),
	ROW(REPAIR, "the current version is verified", VERIFY, ONE, candidate_is_verified),
	ROW(REPAIR, "the registry has the current version", ASK_DETAILS, ONE, registry_has_current),
	ROW(REPAIR, "old's spec is saved", SAVE_SPEC, ONE, spec_is_saved),
	ROW(REPAIR, "-", REMOVE_OLD, ONE, never),

	ROW(TAKE, "old runs, or the candidate may mend it", FAIL, ONE, old_runs_or_may_be_mended,
	    explain_failed),
	ROW(TAKE, "no other container is in the way", FAIL, ONE, way_is_free, explain_blocker),
	ROW(TAKE, "what runs is signed, or was asked for", ASK_RENEWAL, ONE, renewal_is_known),
	ROW(TAKE, "its renewal is written down", DECIDE_RENEWAL, ONE, renewal_is_written),
	ROW(TAKE, "the candidate is new", UP_TO_DATE, ONE, candidate_is_new),
	ROW(TAKE, "its rejection is written down", DECIDE_REJECTED, ONE, rejection_is_written),
	ROW(TAKE, "the candidate is not rejected", REFUSE, ONE, candidate_is_not_rejected,
	    explain_rejected, .already_reported = true),
	ROW(TAKE, "the engine's store can keep it", FAIL, ONE, store_can_keep_it, explain_hopeless,
	    .already_reported = true),
	ROW(TAKE, "others let it be updated", DEFER, ONE, update_is_undisturbed, explain_disturbed),
	ROW(TAKE, "no operator stopped old", DEFER, ONE, no_operator_stopped_old, explain_stopped),
	ROW(TAKE, "the candidate's age is known", DECIDE_SEEN, ONE, age_is_known),
	ROW(TAKE, "the candidate is old enough", DEFER, ONE, candidate_is_old_enough, explain_age),
	ROW(TAKE, "the policy was asked", ASK_POLICY, ONE, policy_was_asked),
	ROW(TAKE, "the policy's sequence is written down", DECIDE_SEQUENCE, ONE,
	    sequence_is_written),
	ROW(TAKE, "the policy admits the candidate", DEFER, ONE, policy_admits, explain_policy),
	ROW(TAKE, "the followers are known", FIND_FOLLOWERS, ONE, followers_are_known),
	ROW(TAKE, "its successor can be made", CHECK_SUCCESSOR, ONE, successor_is_possible),
	ROW(TAKE, "the floor of its sequence is known", ASK_FLOOR, ONE, floor_is_known),
	ROW(TAKE, "the floor is written down", DECIDE_FLOOR, ONE, floor_is_written),
	ROW(TAKE, "the candidate is verified", VERIFY, ONE, candidate_is_verified),
	ROW(TAKE, "its signature is written down", DECIDE_SIGNATURE, ONE, signature_is_written),
	ROW(TAKE, "its image was looked for", FIND_IMAGE, ONE, presence_is_known),
	ROW(TAKE, "its image is here, or may be downloaded now", DEFER, ONE, may_download,
	    explain_download),
	ROW(TAKE, "its details are known", ASK_DETAILS, ONE, details_are_known),
	ROW(TAKE, "no credentials go to a foreign token server", REFUSE, ONE, credentials_are_safe,
	    explain_withheld),
	ROW(TAKE, "the disk space is known", CHECK_SPACE, ONE, space_is_known),
	ROW(TAKE, "there is disk space", DEFER, ONE, there_is_space, explain_space),
	ROW(TAKE, "a check has looked at the host", CHECK_HOST, ONE, check_knows_host),
	ROW(TAKE, "more than a check was asked for", DEFER, ONE, update_is_asked_for,
	    explain_check),
	ROW(TAKE, "the update is prepared", DECIDE_PREPARE, ONE, update_is_prepared),

	ROW(ROLLBACK, "what is prepared is still wanted", DECIDE_FORGET, ONE, prepared_is_wanted),
	ROW(ROLLBACK, "nothing was refused", REFUSE, ONE, nothing_was_refused, explain_refusal),
	ROW(ROLLBACK, "there is a previous version", REFUSE, ONE, previous_is_known,
	    explain_no_previous, .already_reported = true),
	ROW(ROLLBACK, "the previous version is not rejected", REFUSE, ONE, previous_is_not_rejected,
	    explain_previous_rejected, .already_reported = true),
	ROW(ROLLBACK, "the container is of the last update", REFUSE, ONE,
	    container_is_of_last_update, explain_replaced, .already_reported = true),
	ROW(ROLLBACK, "its image was looked for", FIND_IMAGE, ONE, presence_is_known),
	ROW(ROLLBACK, "its image is here", REFUSE, ONE, image_is_present, explain_no_image,
	    .already_reported = true),
	ROW(ROLLBACK, "no other container is in the way", REFUSE, ONE, way_is_free,
	    explain_blocker),
	ROW(ROLLBACK, "no operator stopped old", DEFER, ONE, no_operator_stopped_old,
	    explain_stopped),
	ROW(ROLLBACK, "the followers are known", FIND_FOLLOWERS, ONE, followers_are_known),
	ROW(ROLLBACK, "its successor can be made", CHECK_SUCCESSOR, ONE, successor_is_possible),
	ROW(ROLLBACK, "the candidate is verified", VERIFY, ONE, candidate_is_verified),
	ROW(ROLLBACK, "the update is prepared", DECIDE_PREPARE, ONE, update_is_prepared),
};
const size_t plan_rows_before_n = ARRAY_SIZE(plan_rows_before);
