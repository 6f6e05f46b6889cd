/* SPDX-License-Identifier: MIT */
/* The rows of an update that is prepared: from its image to its end. */
#include "plan-internal.h"
#include "schedule.h"

SHARED_CLAIM(never, false)
SHARED_CLAIM(way_is_free, !view_exists(&s->w->blocker))

/* An operator created another container of the name while ours had other names: it has replaced ours. */
CLAIM(is_replaced, view_exists(&s->w->blocker) && view_is_up(&s->w->blocker))

/* The old container that it replaced may be removed, unless an operator renamed that. */
CLAIM(is_superseded,
      is_replaced(s) && s->member == 0 && view_exists(s->old) && s->old->slot == SLOT_PREV)
CLAIM(same_boot, streq(s->r->boot_id, s->w->boot_id))

/* An image that was pulled and not synced before a power cut looks complete and may not be, and pulling
 * again does not repair it. The same holds for single layers of a pull that was cut short. */
static bool image_is_complete(const struct situation *s)
{
	/* The engine says that it cannot read the image. */
	if (s->m->damaged || (s->w->broken && !s->m->drop_tried))
		return false;
	if (!s->w->image[0] || s->r->synced || !s->r->target.brought || s->m->drop_tried)
		return true;
	return s->m->fetched ? !s->m->untrusted : same_boot(s);
}

/* Not written yet: a synced image was removed since, or a drop left no incomplete layer. */
CLAIM(fetch_is_written, s->w->image[0] || (!s->r->synced && (same_boot(s) || !s->m->dropped)))
CLAIM(image_is_ready, s->w->image[0] && (s->r->synced || s->m->fetched))
CLAIM(sync_is_written, s->r->synced)
CLAIM(download_goes_on, !s->m->pause[0])
EXPLAIN(explain_pause, "%s", s->m->pause)

/* A container that is down waits for no window, nor does a rollback, which an operator requested. */
SHARED_CLAIM(plan_is_urgent, s->m->operation == OPERATION_UPDATE_NOW)
SHARED_CLAIM(window_is_open, s->r->rollback || digest_is_set(&s->m->saved_spec) ||
				     plan_is_urgent(s) ||
				     schedule_is_open(&s->c->windows, plan_clock(s)))

const struct tm *plan_clock(const struct situation *s)
{
	return s->m->now_s ? &s->m->local : NULL;
}

void explain_window(const struct situation *s, char *text, size_t size)
{
	schedule_explain(&s->c->windows, plan_clock(s), "window", s->c->name, text, size);
}

CLAIM(policy_is_fresh,
      !policy_is_wanted(s) || s->m->now_ms - s->m->policy.asked_ms <= PLAN_POLICY_FRESH_MS)
CLAIM(new_is_gone, !view_exists(s->new))
CLAIM(new_is_lost, !view_is_kept(s->new))
CLAIM(old_is_gone, !view_exists(s->old))

/* A follower that an operator removed in the middle of an update is left out. */
static bool follower_is_lost(const struct situation *s, bool gone)
{
	return s->member > 0 && gone;
}

CLAIM(next_is_not_stale,
      new_is_gone(s) || (s->progress->created && streq(s->progress->created_from, s->old->id) &&
			 !view_left_alone(&s->w->old)))
CLAIM(new_exists, !new_is_lost(s) || follower_is_lost(s, old_is_gone(s)))

CLAIM(host_is_known, s->m->host_is_known)

/* Where nothing shows what is wrong, the old one is not stopped again and again. One that is down loses nothing. */
CLAIM(host_let_it_start, s->r->phase != PHASE_PREPARE ||
				 !record_host_is_hopeless(s->r, s->w->boot_id, s->m->engine) ||
				 old_is_gone(s) || !view_is_up(s->old))
SHARED_CLAIM(host_has_all, s->m->host_lacks.code == 0 && host_let_it_start(s))

void explain_host(const struct situation *s, char *text, size_t size)
{
	if (s->m->host_lacks.code != 0)
		(void)snprintf(text, size, "%.500s, so the container could not be started%s",
			       s->m->host_lacks.text, old_is_gone(s) ? "" : " again");
	else
		(void)snprintf(text, size,
			       "%.400s; that was tried %u times: mend it, then run pullet retry %s",
			       s->r->reason, s->r->host.times, s->c->name);
}

/* It has deferred target as often as it may, and the update goes on without it. */
CLAIM(before_is_exhausted, s->c->before_deferrals > 0 && s->c->before_then == HOOK_GO_ON &&
				   digest_eq(&s->r->deferred.digest, &s->r->target.digest) &&
				   s->r->deferred.times >= s->c->before_deferrals)

/* A container that is down, or that an operator rolls back, waits for nobody. */
CLAIM(before_is_asked, !s->c->hooks[HOOK_BEFORE].unit || s->m->before.asked || s->r->rollback ||
			       old_is_gone(s) || !view_is_up(s->old) || before_is_exhausted(s))
CLAIM(before_lets_it_go_on, !s->m->before.refusal[0])
CLAIM(deferral_is_written, before_lets_it_go_on(s) || s->m->before.written)
EXPLAIN(explain_before, "%s", s->m->before.refusal)
CLAIM(health_unit_is_asked,
      !s->c->hooks[HOOK_HEALTH].unit || s->m->health.asked || s->m->verdict != VERDICT_GOOD)
CLAIM(after_is_asked, !s->c->hooks[HOOK_AFTER].unit || s->m->after_asked)

/* Creating NAME.next moves the local tag for a moment, and a crash may leave it there. The tag of a first
 * container has no place to go back to: it stays, and goes with the container if that fails, unless the image stays. */
CLAIM(tag_is_restored,
      !s->r->target.brought || !s->w->image[0] || s->m->tag_tried ||
	      !streq(s->w->tag, s->w->image) || streq(s->old->image, s->w->image) ||
	      (old_is_gone(s) && (!new_is_gone(s) || s->r->host.refused)) || is_replaced(s))
CLAIM(old_is_parked, !view_is_kept(s->old) || streq(s->old->policy, "no"))
CLAIM(old_is_aside, old_is_gone(s) || s->old->slot == SLOT_PREV)

/* The engine refuses to rename a restarting container, and stopping it first costs no downtime. */
CLAIM(old_is_not_restarting, old_is_gone(s) || s->old->state != STATE_RESTARTING)
CLAIM(new_has_name, (s->member == 0 && !way_is_free(s)) || follower_is_lost(s, new_is_lost(s)) ||
			    s->new->slot == SLOT_MAIN)

/* It runs, or this pass started it and it is not to be started again, or it is a one-shot that succeeded. A follower
 * runs if its old one did. */
static bool new_has_run(const struct situation *s)
{
	return view_is_up(s->new) || (s->progress->started_new && !s->progress->restart_due) ||
	       follower_is_lost(s, new_is_lost(s) || !s->serving) ||
	       health_is_finished(s->member ? HEALTH_AUTO : s->c->health, s->new, s->policy);
}

CLAIM(starts_are_left, new_has_run(s) || s->m->counted || s->r->starts < PLAN_STARTS_MAX)
CLAIM(start_is_counted, new_has_run(s) || s->m->counted)
CLAIM(old_is_stopped, old_is_gone(s) || !view_is_up(s->old))
CLAIM(verdict_is_known, s->m->verdict != VERDICT_PENDING)
CLAIM(verdict_is_good, s->m->verdict == VERDICT_GOOD)
CLAIM(new_has_final_policy, follower_is_lost(s, new_is_lost(s)) || streq(s->new->policy, s->policy))

/* Tags are names for people: what others do to images keeps no update from its end. */
CLAIM(old_image_is_kept, old_is_gone(s) || streq(s->old->image, s->new->image) ||
				 streq(s->w->previous_image, s->old->image) || s->m->keep_tried)
CLAIM(tag_is_moved, streq(s->w->tag, s->new->image) || s->m->move_tried)
CLAIM(older_is_gone, !s->w->older_present || s->m->older_tried)

/* There is no previous container: keep the unhealthy one rather than none. */
CLAIM(there_is_a_way_back,
      !old_is_gone(s) || s->r->old_id[0] == '\0' || new_is_lost(s) || !way_is_free(s))
CLAIM(new_is_parked, new_is_lost(s) || streq(s->new->policy, "no"))
CLAIM(new_is_stopped, new_is_gone(s) || !view_is_up(s->new))
CLAIM(old_has_own_policy, old_is_gone(s) || streq(s->old->policy, s->policy) || is_superseded(s))
CLAIM(superseded_is_stopped, !is_superseded(s) || old_is_stopped(s))
CLAIM(superseded_is_gone, !is_superseded(s))
CLAIM(old_serves_again, old_is_gone(s) || !s->serving || view_is_up(s->old) ||
				s->progress->started_old || is_replaced(s))

/* Names and labels tell that the update was on trial, if the record is lost: the new one was started. */
CLAIM(trial_is_seen, view_was_started(&s->w->new) || view_was_started(s->new))

/* An engine calls a container by the name of its start: log tags, the journal's CONTAINER_NAME. The names change while
 * the new one still runs; whatever is in the way, the old one starts, and gets its name at the end. */
CLAIM(names_can_wait, old_serves_again(s) || !trial_is_seen(s) || s->progress->name_failed)
CLAIM(new_made_room, names_can_wait(s) || new_is_lost(s) || s->new->slot != SLOT_MAIN ||
			     s->new->state == STATE_RESTARTING)
CLAIM(old_has_name_to_start, names_can_wait(s) || s->old->slot == SLOT_MAIN || !way_is_free(s) ||
				     (!new_is_gone(s) && s->new->slot == SLOT_MAIN))

/* A container that was never started replaces none. */
CLAIM(name_is_free, old_is_gone(s) || way_is_free(s) || is_replaced(s))
CLAIM(old_has_name,
      old_is_gone(s) || s->old->slot == SLOT_MAIN || (s->member == 0 && is_replaced(s)))

/* An operator orders a rollback again. */
CLAIM(host_is_not_to_blame, !s->r->host.refused || s->r->rollback)

/* A failed rollback does not remove the previous image. */
CLAIM(target_is_previous, digest_eq(&s->r->target.digest, &s->r->previous.digest))
CLAIM(target_image_is_gone, !s->r->target.brought || !s->w->image[0] || s->m->drop_tried ||
				    streq(s->old->image, s->w->image) || target_is_previous(s))

/* plan_next() takes the action of the first row whose condition does not hold. Between the stop of old and the
 * start of new there is no action that could be done before or after, since it would add to the downtime. */
const struct plan_row plan_rows_swap[] = {
	ROW(PREPARE, "the image is complete", DROP_TARGET, ONE, image_is_complete),
	ROW(PREPARE, "a fetch is written down", DECIDE_FETCH, ONE, fetch_is_written),
	ROW(PREPARE, "the download goes on", DEFER, ONE, download_goes_on, explain_pause),
	ROW(PREPARE, "the image is here and synced", FETCH, ONE, image_is_ready),
	ROW(PREPARE, "that is written down", DECIDE_SYNCED, ONE, sync_is_written),
	ROW(PREPARE, "the policy was asked within a minute", ASK_POLICY, ONE, policy_is_fresh),
	ROW(PREPARE, "NAME.next is of this pass and this old", REMOVE_NEW, EACH_BACK,
	    next_is_not_stale),
	ROW(PREPARE, "the window is open", DEFER, ONE, window_is_open, explain_window),
	ROW(PREPARE, "the host was looked at", CHECK_HOST, ONE, host_is_known),
	ROW(PREPARE, "the host has what a start needs", DEFER, ONE, host_has_all, explain_host),
	ROW(PREPARE, "before-unit was asked, or need not be", ASK_BEFORE, ONE, before_is_asked),
	ROW(PREPARE, "its deferral is written down", DECIDE_DEFERRAL, ONE, deferral_is_written),
	ROW(PREPARE, "before-unit lets it go on", DEFER, ONE, before_lets_it_go_on, explain_before),
	ROW(PREPARE, "NAME.next exists", CREATE, EACH, new_exists),
	ROW(PREPARE, "the local tag is where it was", RESTORE_TAG, ONE, tag_is_restored),
	ROW(PREPARE, "-", DECIDE_TRIAL, ONE, never),

	ROW(TRIAL, "no other container took its name", DECIDE_REVERT, ONE, way_is_free),
	ROW(TRIAL, "new exists", DECIDE_REVERT, ONE, new_exists),
	ROW(TRIAL, "old has restart policy no", PARK_OLD, EACH, old_is_parked),
	ROW(TRIAL, "old is not restarting", STOP_OLD, EACH, old_is_not_restarting),
	ROW(TRIAL, "old is named NAME.prev", RENAME_OLD_PREV, EACH, old_is_aside),
	ROW(TRIAL, "new is named NAME", RENAME_NEW, EACH, new_has_name),
	ROW(TRIAL, "new ran, or a start is left", DECIDE_REVERT, ONE, starts_are_left),
	ROW(TRIAL, "new ran, or its start is counted", DECIDE_START, ONE, start_is_counted),
	ROW(TRIAL, "old is stopped", STOP_OLD, EACH_BACK, old_is_stopped),
	ROW(TRIAL, "new ran", START_NEW, EACH, new_has_run),
	ROW(TRIAL, "the verdict is known", PROBE, ONE, verdict_is_known),
	ROW(TRIAL, "health-unit was asked, if it is good", ASK_HEALTH, ONE, health_unit_is_asked),
	ROW(TRIAL, "the verdict is good", DECIDE_REVERT, ONE, verdict_is_good),
	ROW(TRIAL, "-", DECIDE_COMMIT, ONE, never),

	ROW(COMMIT, "new exists", DECIDE_REVERT, ONE, new_exists),
	ROW(COMMIT, "new is named NAME", RENAME_NEW, EACH, new_has_name),
	ROW(COMMIT, "new has its final restart policy", POLICY_NEW, EACH, new_has_final_policy),
	ROW(COMMIT, "old is stopped", STOP_OLD, EACH_BACK, old_is_stopped),
	ROW(COMMIT, "new ran", START_NEW, EACH, new_has_run),
	ROW(COMMIT, "the old image is kept under our tag", KEEP_OLD, ONE, old_image_is_kept),
	ROW(COMMIT, "the local tag is on the new image", MOVE_TAG, ONE, tag_is_moved),
	ROW(COMMIT, "old is gone", REMOVE_OLD, EACH_BACK, old_is_gone),
	ROW(COMMIT, "the image before that is gone", DROP_OLDER, ONE, older_is_gone),
	ROW(COMMIT, "after-unit was asked", ASK_AFTER, ONE, after_is_asked),
	ROW(COMMIT, "-", DECIDE_IDLE, ONE, never),

	ROW(REVERT, "there is a way back", DECIDE_COMMIT, ONE, there_is_a_way_back),
	ROW(REVERT, "new has restart policy no", PARK_NEW, EACH, new_is_parked),
	ROW(REVERT, "old's name is free, if it can be", RENAME_NEW_NEXT, EACH, new_made_room),
	ROW(REVERT, "old has its name, if that is free", RENAME_OLD, EACH_BACK,
	    old_has_name_to_start),
	ROW(REVERT, "new is stopped", STOP_NEW, EACH_BACK, new_is_stopped),
	ROW(REVERT, "old is stopped if another took its place", STOP_OLD, ONE,
	    superseded_is_stopped),
	ROW(REVERT, "old has its own restart policy", POLICY_OLD, EACH, old_has_own_policy),
	ROW(REVERT, "old serves again", START_OLD, EACH, old_serves_again),
	ROW(REVERT, "new is gone", REMOVE_NEW, EACH_BACK, new_is_gone),
	ROW(REVERT, "old is gone if another took its place", REMOVE_OLD, ONE, superseded_is_gone),
	ROW(REVERT, "no other container is in the way", REFUSE, ONE, name_is_free, explain_blocker),
	ROW(REVERT, "old is named NAME", RENAME_OLD, EACH_BACK, old_has_name),
	ROW(REVERT, "the local tag is where it was", RESTORE_TAG, ONE, tag_is_restored),
	ROW(REVERT, "after-unit was asked", ASK_AFTER, ONE, after_is_asked),
	ROW(REVERT, "the host was not to blame", DECIDE_AGAIN, ONE, host_is_not_to_blame),
	ROW(REVERT, "target's image is gone", DROP_TARGET, ONE, target_image_is_gone),
	ROW(REVERT, "-", DECIDE_IDLE, ONE, never),
};
const size_t plan_rows_swap_n = ARRAY_SIZE(plan_rows_swap);
