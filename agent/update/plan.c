/* SPDX-License-Identifier: MIT */
#include "plan.h"

#include <stdio.h>

#include "candidate.h"

/* What a condition may look at: all of it, and one member, which is the container (0) or one of its
 * followers (from 1 on). */
struct situation {
	const struct record *r;
	const struct world *w;
	const struct health_rule *h;
	const struct pass_state *m;
	size_t member;
	const struct container_view *old, *new; /* the member's */
	const char *policy;			/* that its survivor gets */
	bool serving;
	const struct member_progress *progress;
};

static struct situation with_member(struct situation s, size_t member)
{
	s.member = member;
	s.old = member ? &s.w->followers[member - 1].old : &s.w->old;
	s.new = member ? &s.w->followers[member - 1].new : &s.w->new;
	s.policy = member ? s.r->followers[member - 1].policy : s.r->policy;
	s.serving = member ? s.r->followers[member - 1].serving : s.r->serving;
	s.progress = &s.m->member[member];
	return s;
}

static bool never(const struct situation *s)
{
	(void)s;
	return false;
}

static bool way_is_free(const struct situation *s)
{
	return !view_exists(&s->w->blocker);
}

/* An operator made another one while ours were at other names: that is the container now. */
static bool is_replaced(const struct situation *s)
{
	return view_exists(&s->w->blocker) && view_is_up(&s->w->blocker);
}

/* The one whose place it took, which we had put aside; under a name of an operator's it is his. */
static bool is_superseded(const struct situation *s)
{
	return is_replaced(s) && s->member == 0 && view_exists(s->old) && s->old->slot == SLOT_PREV;
}

static bool image_is_here(const struct situation *s)
{
	return s->w->image[0] != '\0';
}

static bool same_boot(const struct situation *s)
{
	return streq(s->r->boot_id, s->w->boot_id);
}

/* Pulled, not known to be synced, and then the power went: looks whole and may be torn; pulling
 * again would not mend it. The same with single layers of a pull that was cut short: the next one finds
 * them there and takes them for whole. */
static bool image_is_complete(const struct situation *s)
{
	/* A torn one that the engine sees to be torn. */
	if (s->m->damaged || (s->w->broken && !s->m->drop_tried))
		return false;
	if (!image_is_here(s) || s->r->synced || !s->r->target.brought || s->m->drop_tried)
		return true;
	return s->m->fetched ? !s->m->untrusted : same_boot(s);
}

/* Gone again, synced as it was; or dropped, so that nothing half written is left of it. */
static bool fetch_is_written(const struct situation *s)
{
	return image_is_here(s) || (!s->r->synced && (same_boot(s) || !s->m->dropped));
}

static bool image_is_ready(const struct situation *s)
{
	return image_is_here(s) && (s->r->synced || s->m->fetched);
}

static bool sync_is_written(const struct situation *s)
{
	return s->r->synced;
}

static bool gate_is_open(const struct situation *s)
{
	return s->m->gate_open;
}

/* An operator's hand may have come down since the pass began. */
static bool old_is_not_left_alone(const struct situation *s)
{
	return !candidate_left_alone(&s->w->old);
}

static bool new_is_gone(const struct situation *s)
{
	return !view_exists(s->new);
}

static bool old_is_gone(const struct situation *s)
{
	return !view_exists(s->old);
}

/* A follower that somebody takes away under our hands is no longer our business. */
static bool follower_is_lost(const struct situation *s, bool gone)
{
	return s->member > 0 && gone;
}

static bool next_is_not_stale(const struct situation *s)
{
	return new_is_gone(s) ||
	       (s->progress->created && streq(s->progress->created_from, s->old->id) &&
		old_is_not_left_alone(s));
}

static bool new_exists(const struct situation *s)
{
	return !new_is_gone(s) || follower_is_lost(s, old_is_gone(s));
}

/* Making NAME.next moves the local tag for a moment; a crash in it leaves the tag behind. The tag of
 * a first container had no other place, and goes with it if it fails. */
static bool tag_is_not_ahead(const struct situation *s)
{
	return !s->r->target.brought || !image_is_here(s) || s->m->tag_tried ||
	       !streq(s->w->tag, s->w->image) || streq(s->old->image, s->w->image) ||
	       (old_is_gone(s) && !new_is_gone(s)) || is_replaced(s);
}

static bool old_is_parked(const struct situation *s)
{
	return old_is_gone(s) || streq(s->old->policy, "no");
}

static bool old_is_aside(const struct situation *s)
{
	return old_is_gone(s) || s->old->slot == SLOT_PREV;
}

/* The engine cannot rename what is just between two lives; it serves nobody anyway. */
static bool old_is_no_crash_loop(const struct situation *s)
{
	return old_is_gone(s) || s->old->state != STATE_RESTARTING;
}

static bool new_has_name(const struct situation *s)
{
	return (s->member == 0 && !way_is_free(s)) || follower_is_lost(s, new_is_gone(s)) ||
	       s->new->slot == SLOT_MAIN;
}

/* It runs, or it ran under our eyes, or it did its one job. A follower runs if its old one did. */
static bool new_has_run(const struct situation *s)
{
	static const struct health_rule any;
	const struct health_rule *rule = s->member > 0 ? &any : s->h;

	return view_is_up(s->new) || s->progress->started_new ||
	       follower_is_lost(s, new_is_gone(s) || !s->serving) ||
	       health_is_finished(rule, s->new, s->policy);
}

static bool starts_are_left(const struct situation *s)
{
	return new_has_run(s) || s->m->counted || s->r->starts < PLAN_STARTS_MAX;
}

static bool start_is_counted(const struct situation *s)
{
	return new_has_run(s) || s->m->counted;
}

static bool old_is_stopped(const struct situation *s)
{
	return old_is_gone(s) || !view_is_up(s->old);
}

static bool verdict_is_known(const struct situation *s)
{
	return s->m->verdict != VERDICT_PENDING;
}

static bool verdict_is_good(const struct situation *s)
{
	return s->m->verdict == VERDICT_GOOD;
}

static bool new_has_final_policy(const struct situation *s)
{
	return follower_is_lost(s, new_is_gone(s)) || streq(s->new->policy, s->policy);
}

static bool old_image_is_kept(const struct situation *s)
{
	return old_is_gone(s) || streq(s->old->image, s->new->image) ||
	       streq(s->w->previous_image, s->old->image);
}

static bool tag_is_moved(const struct situation *s)
{
	return streq(s->w->tag, s->new->image);
}

static bool older_is_gone(const struct situation *s)
{
	return !s->w->older_present || s->m->older_tried;
}

/* Nothing to go back to, and something to keep: a sick container is better than none. */
static bool there_is_a_way_back(const struct situation *s)
{
	return !old_is_gone(s) || s->r->old_id[0] == '\0' || new_is_gone(s) || !way_is_free(s);
}

static bool new_is_parked(const struct situation *s)
{
	return new_is_gone(s) || streq(s->new->policy, "no");
}

static bool new_is_stopped(const struct situation *s)
{
	return new_is_gone(s) || !view_is_up(s->new);
}

static bool old_has_own_policy(const struct situation *s)
{
	return old_is_gone(s) || streq(s->old->policy, s->policy) || is_superseded(s);
}

static bool superseded_is_stopped(const struct situation *s)
{
	return !is_superseded(s) || old_is_stopped(s);
}

static bool superseded_is_gone(const struct situation *s)
{
	return !is_superseded(s);
}

static bool old_serves_again(const struct situation *s)
{
	return old_is_gone(s) || !s->serving || view_is_up(s->old) || s->progress->started_old ||
	       is_replaced(s);
}

/* What nobody started takes nobody's place. */
static bool name_is_free(const struct situation *s)
{
	return old_is_gone(s) || way_is_free(s) || is_replaced(s);
}

static bool old_has_name(const struct situation *s)
{
	return old_is_gone(s) || s->old->slot == SLOT_MAIN || (s->member == 0 && is_replaced(s));
}

/* Kept to go back to, whatever came of going back. */
static bool target_is_previous(const struct situation *s)
{
	return digest_eq(&s->r->target.digest, &s->r->previous.digest);
}

static bool target_image_is_gone(const struct situation *s)
{
	return !s->r->target.brought || !image_is_here(s) || s->m->drop_tried ||
	       streq(s->old->image, s->w->image) || target_is_previous(s);
}

struct row {
	struct plan_row row;
	bool (*holds)(const struct situation *);
};

/* The whole machine. Walk the rows of the phase from the top; the first condition that does not hold
 * names the next action. Between stopping the old and starting the new one stands nothing that could
 * be done before or after: that is all the downtime there is. */
static const struct row table[] = {
	{{PHASE_IDLE, "-", ACT_NOTHING, ONE}, never},

	{{PHASE_PREPARE, "nobody else's container is in the way", ACT_REFUSE, ONE}, way_is_free},
	{{PHASE_PREPARE, "the image is not torn", ACT_DROP_TARGET, ONE}, image_is_complete},
	{{PHASE_PREPARE, "a fetch is written down", ACT_DECIDE_FETCH, ONE}, fetch_is_written},
	{{PHASE_PREPARE, "the image is here and synced", ACT_FETCH, ONE}, image_is_ready},
	{{PHASE_PREPARE, "that is written down", ACT_DECIDE_SYNCED, ONE}, sync_is_written},
	{{PHASE_PREPARE, "NAME.next is of this pass and this old", ACT_REMOVE_NEW, EACH_BACK},
	 next_is_not_stale},
	{{PHASE_PREPARE, "the gate is open", ACT_WAIT, ONE}, gate_is_open},
	{{PHASE_PREPARE, "nobody stopped old meanwhile", ACT_WAIT, ONE}, old_is_not_left_alone},
	{{PHASE_PREPARE, "NAME.next exists", ACT_CREATE, EACH}, new_exists},
	{{PHASE_PREPARE, "the local tag is where it was", ACT_RESTORE_TAG, ONE}, tag_is_not_ahead},
	{{PHASE_PREPARE, "-", ACT_DECIDE_TRIAL, ONE}, never},

	{{PHASE_TRIAL, "nobody took its place", ACT_DECIDE_REVERT, ONE}, way_is_free},
	{{PHASE_TRIAL, "new exists", ACT_DECIDE_REVERT, ONE}, new_exists},
	{{PHASE_TRIAL, "old has restart policy no", ACT_PARK_OLD, EACH}, old_is_parked},
	{{PHASE_TRIAL, "old is not in a crash loop", ACT_STOP_OLD, EACH}, old_is_no_crash_loop},
	{{PHASE_TRIAL, "old is named NAME.prev", ACT_RENAME_OLD_PREV, EACH}, old_is_aside},
	{{PHASE_TRIAL, "new is named NAME", ACT_RENAME_NEW, EACH}, new_has_name},
	{{PHASE_TRIAL, "new ran, or a start is left", ACT_DECIDE_REVERT, ONE}, starts_are_left},
	{{PHASE_TRIAL, "new ran, or its start is counted", ACT_DECIDE_START, ONE},
	 start_is_counted},
	{{PHASE_TRIAL, "old is stopped", ACT_STOP_OLD, EACH_BACK}, old_is_stopped},
	{{PHASE_TRIAL, "new ran", ACT_START_NEW, EACH}, new_has_run},
	{{PHASE_TRIAL, "the verdict is known", ACT_PROBE, ONE}, verdict_is_known},
	{{PHASE_TRIAL, "the verdict is good", ACT_DECIDE_REVERT, ONE}, verdict_is_good},
	{{PHASE_TRIAL, "-", ACT_DECIDE_COMMIT, ONE}, never},

	{{PHASE_COMMIT, "new exists", ACT_DECIDE_REVERT, ONE}, new_exists},
	{{PHASE_COMMIT, "new is named NAME", ACT_RENAME_NEW, EACH}, new_has_name},
	{{PHASE_COMMIT, "new has its final restart policy", ACT_POLICY_NEW, EACH},
	 new_has_final_policy},
	{{PHASE_COMMIT, "old is stopped", ACT_STOP_OLD, EACH_BACK}, old_is_stopped},
	{{PHASE_COMMIT, "new ran", ACT_START_NEW, EACH}, new_has_run},
	{{PHASE_COMMIT, "the old image is kept under our tag", ACT_KEEP_OLD, ONE},
	 old_image_is_kept},
	{{PHASE_COMMIT, "the local tag is on the new image", ACT_MOVE_TAG, ONE}, tag_is_moved},
	{{PHASE_COMMIT, "old is gone", ACT_REMOVE_OLD, EACH_BACK}, old_is_gone},
	{{PHASE_COMMIT, "the image before that is gone", ACT_DROP_OLDER, ONE}, older_is_gone},
	{{PHASE_COMMIT, "-", ACT_DECIDE_IDLE, ONE}, never},

	{{PHASE_REVERT, "there is a way back", ACT_DECIDE_COMMIT, ONE}, there_is_a_way_back},
	{{PHASE_REVERT, "new has restart policy no", ACT_PARK_NEW, EACH}, new_is_parked},
	{{PHASE_REVERT, "new is stopped", ACT_STOP_NEW, EACH_BACK}, new_is_stopped},
	{{PHASE_REVERT, "old is stopped if another took its place", ACT_STOP_OLD, ONE},
	 superseded_is_stopped},
	{{PHASE_REVERT, "old has its own restart policy", ACT_POLICY_OLD, EACH},
	 old_has_own_policy},
	{{PHASE_REVERT, "old serves again", ACT_START_OLD, EACH}, old_serves_again},
	{{PHASE_REVERT, "new is gone", ACT_REMOVE_NEW, EACH_BACK}, new_is_gone},
	{{PHASE_REVERT, "old is gone if another took its place", ACT_REMOVE_OLD, ONE},
	 superseded_is_gone},
	{{PHASE_REVERT, "nobody else's container is in the way", ACT_REFUSE, ONE}, name_is_free},
	{{PHASE_REVERT, "old is named NAME", ACT_RENAME_OLD, EACH_BACK}, old_has_name},
	{{PHASE_REVERT, "the local tag is where it was", ACT_RESTORE_TAG, ONE}, tag_is_not_ahead},
	{{PHASE_REVERT, "target's image is gone", ACT_DROP_TARGET, ONE}, target_image_is_gone},
	{{PHASE_REVERT, "-", ACT_DECIDE_IDLE, ONE}, never},
};

static bool row_holds(const struct row *row, const struct situation *s, size_t *ret_member)
{
	size_t n = row->row.whom == ONE ? 1 : 1 + s->r->n_followers;

	for (size_t i = 0; i < n; i++) {
		size_t member = row->row.whom == EACH_BACK ? n - 1 - i : i;
		struct situation of_member = with_member(*s, member);

		if (!row->holds(&of_member)) {
			*ret_member = member;
			return false;
		}
	}
	return true;
}

struct step plan_next(const struct record *r, const struct world *w, const struct health_rule *h,
		      const struct pass_state *m)
{
	struct situation s = {.r = r, .w = w, .h = h, .m = m};
	struct step step = {ACT_NOTHING, 0};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		if (table[i].row.phase != r->phase || row_holds(&table[i], &s, &step.member))
			continue;
		step.action = table[i].row.action;
		return step;
	}
	return step;
}

static const char names[][25] = {
	[ACT_NOTHING] = "nothing",
	[ACT_WAIT] = "wait",
	[ACT_REFUSE] = "refuse",
	[ACT_FETCH] = "fetch",
	[ACT_DROP_TARGET] = "drop target's image",
	[ACT_CREATE] = "create new",
	[ACT_RESTORE_TAG] = "restore tag",
	[ACT_PARK_OLD] = "park old",
	[ACT_PARK_NEW] = "park new",
	[ACT_RENAME_OLD_PREV] = "rename old to NAME.prev",
	[ACT_RENAME_NEW] = "rename new to NAME",
	[ACT_RENAME_OLD] = "rename old to NAME",
	[ACT_STOP_OLD] = "stop old",
	[ACT_STOP_NEW] = "stop new",
	[ACT_START_NEW] = "start new",
	[ACT_START_OLD] = "start old",
	[ACT_POLICY_OLD] = "set old's restart policy",
	[ACT_POLICY_NEW] = "set new's restart policy",
	[ACT_PROBE] = "probe",
	[ACT_KEEP_OLD] = "keep old image",
	[ACT_MOVE_TAG] = "move tag",
	[ACT_REMOVE_OLD] = "remove old",
	[ACT_REMOVE_NEW] = "remove new",
	[ACT_DROP_OLDER] = "drop older image",
	[ACT_DECIDE_FETCH] = "write fetch",
	[ACT_DECIDE_SYNCED] = "write synced",
	[ACT_DECIDE_TRIAL] = "write trial",
	[ACT_DECIDE_START] = "write start",
	[ACT_DECIDE_COMMIT] = "write commit",
	[ACT_DECIDE_REVERT] = "write revert",
	[ACT_DECIDE_IDLE] = "write idle",
};

bool action_is_decision(enum action a)
{
	return a >= ACT_DECIDE_FETCH;
}

unsigned int action_touches(enum action a)
{
	static const unsigned char images[] = {
		[ACT_FETCH] = 1,       [ACT_DROP_TARGET] = 1, [ACT_RESTORE_TAG] = 1,
		[ACT_KEEP_OLD] = 1,    [ACT_MOVE_TAG] = 1,    [ACT_DROP_OLDER] = 1,
		[ACT_DECIDE_IDLE] = 0,
	};

	if (action_is_decision(a))
		return 0;
	if (a == ACT_CREATE)
		return WORLD_WHOLE;
	return images[a] ? WORLD_IMAGES : WORLD_CONTAINERS;
}

const char *action_name(enum action a)
{
	return names[a];
}

size_t plan_rows(const struct plan_row **ret)
{
	static struct plan_row rows[ARRAY_SIZE(table)];

	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		rows[i] = table[i].row;
	*ret = rows;
	return ARRAY_SIZE(table);
}
