/* SPDX-License-Identifier: MIT */
#include "plan.h"

#include <stdio.h>

/* What a condition may look at. */
struct situation {
	const struct record *r;
	const struct world *w;
	const struct health_rule *h;
	const struct memory *m;
};

static bool never(const struct situation *s)
{
	(void)s;
	return false;
}

static bool way_is_free(const struct situation *s)
{
	return !view_exists(&s->w->obstacle);
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
 * again would not mend it (research: security-reliability 6b). */
static bool image_is_no_torso(const struct situation *s)
{
	return !image_is_here(s) || s->r->synced || !s->r->target.brought || same_boot(s) ||
	       s->m->fetched || s->m->drop_tried;
}

static bool fetch_is_written(const struct situation *s)
{
	return image_is_here(s) || (!s->r->synced && same_boot(s));
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

static bool next_is_not_stale(const struct situation *s)
{
	return !view_exists(&s->w->new) || s->m->created;
}

static bool new_exists(const struct situation *s)
{
	return view_exists(&s->w->new);
}

static bool new_is_gone(const struct situation *s)
{
	return !new_exists(s);
}

static bool old_is_gone(const struct situation *s)
{
	return !view_exists(&s->w->old);
}

/* Making NAME.next moves the local tag for a moment; a crash in it leaves the tag behind. The tag of
 * a first container had no other place, and goes with it if it fails. */
static bool tag_is_not_ahead(const struct situation *s)
{
	return !s->r->target.brought || !image_is_here(s) || !streq(s->w->tag, s->w->image) ||
	       streq(s->w->old.image, s->w->image) || (old_is_gone(s) && new_exists(s));
}

static bool old_is_parked(const struct situation *s)
{
	return old_is_gone(s) || streq(s->w->old.policy, "no");
}

static bool old_is_aside(const struct situation *s)
{
	return old_is_gone(s) || s->w->old.slot == SLOT_PREV;
}

/* The engine cannot rename what is just between two lives; it serves nobody anyway. */
static bool old_is_no_crash_loop(const struct situation *s)
{
	return old_is_gone(s) || s->w->old.state != STATE_RESTARTING;
}

static bool new_has_name(const struct situation *s)
{
	return s->w->new.slot == SLOT_MAIN;
}

/* It runs, or it ran under our eyes, or it did its one job. */
static bool new_has_run(const struct situation *s)
{
	return view_is_up(&s->w->new) || s->m->started_new ||
	       health_is_finished(s->h, &s->w->new, s->r->policy);
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
	return old_is_gone(s) || !view_is_up(&s->w->old);
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
	return streq(s->w->new.policy, s->r->policy);
}

static bool old_image_is_kept(const struct situation *s)
{
	return old_is_gone(s) || streq(s->w->old.image, s->w->new.image) ||
	       streq(s->w->kept, s->w->old.image);
}

static bool tag_is_moved(const struct situation *s)
{
	return streq(s->w->tag, s->w->new.image);
}

static bool older_is_gone(const struct situation *s)
{
	return !s->w->older_present || s->m->older_tried;
}

/* Nothing to go back to, and something to keep: a sick container is better than none. */
static bool there_is_a_way_back(const struct situation *s)
{
	return !old_is_gone(s) || s->r->old_id[0] == '\0' || new_is_gone(s);
}

static bool new_is_parked(const struct situation *s)
{
	return new_is_gone(s) || streq(s->w->new.policy, "no");
}

static bool new_is_stopped(const struct situation *s)
{
	return new_is_gone(s) || !view_is_up(&s->w->new);
}

static bool old_has_own_policy(const struct situation *s)
{
	return old_is_gone(s) || streq(s->w->old.policy, s->r->policy);
}

static bool old_serves_again(const struct situation *s)
{
	return old_is_gone(s) || !s->r->serving || view_is_up(&s->w->old) || s->m->started_old;
}

static bool old_has_name(const struct situation *s)
{
	return old_is_gone(s) || s->w->old.slot == SLOT_MAIN;
}

static bool target_image_is_gone(const struct situation *s)
{
	return !s->r->target.brought || !image_is_here(s) || s->m->drop_tried ||
	       streq(s->w->old.image, s->w->image);
}

struct row {
	struct plan_row row;
	bool (*holds)(const struct situation *);
};

/* The whole machine. Walk the rows of the phase from the top; the first condition that does not hold
 * names the next action. Between stopping the old and starting the new one stands nothing that could
 * be done before or after: that is all the downtime there is. */
static const struct row table[] = {
	{{PHASE_IDLE, "-", ACT_NOTHING}, never},

	{{PHASE_PREPARE, "nobody else's container is in the way", ACT_REFUSE}, way_is_free},
	{{PHASE_PREPARE, "the image was not cut short by a power cut", ACT_DROP_TARGET},
	 image_is_no_torso},
	{{PHASE_PREPARE, "a fetch is written down", ACT_DECIDE_FETCH}, fetch_is_written},
	{{PHASE_PREPARE, "the image is here and synced", ACT_FETCH}, image_is_ready},
	{{PHASE_PREPARE, "that is written down", ACT_DECIDE_SYNCED}, sync_is_written},
	{{PHASE_PREPARE, "the gate is open", ACT_WAIT}, gate_is_open},
	{{PHASE_PREPARE, "NAME.next is of this pass", ACT_REMOVE_NEW}, next_is_not_stale},
	{{PHASE_PREPARE, "NAME.next exists", ACT_CREATE}, new_exists},
	{{PHASE_PREPARE, "the local tag is where it was", ACT_RESTORE_TAG}, tag_is_not_ahead},
	{{PHASE_PREPARE, "-", ACT_DECIDE_TRIAL}, never},

	{{PHASE_TRIAL, "new exists", ACT_DECIDE_REVERT}, new_exists},
	{{PHASE_TRIAL, "old has restart policy no", ACT_PARK_OLD}, old_is_parked},
	{{PHASE_TRIAL, "old is not in a crash loop", ACT_STOP_OLD}, old_is_no_crash_loop},
	{{PHASE_TRIAL, "old is named NAME.prev", ACT_RENAME_OLD_PREV}, old_is_aside},
	{{PHASE_TRIAL, "new is named NAME", ACT_RENAME_NEW}, new_has_name},
	{{PHASE_TRIAL, "new ran, or a start is left", ACT_DECIDE_REVERT}, starts_are_left},
	{{PHASE_TRIAL, "new ran, or its start is counted", ACT_DECIDE_START}, start_is_counted},
	{{PHASE_TRIAL, "old is stopped", ACT_STOP_OLD}, old_is_stopped},
	{{PHASE_TRIAL, "new ran", ACT_START_NEW}, new_has_run},
	{{PHASE_TRIAL, "the verdict is known", ACT_PROBE}, verdict_is_known},
	{{PHASE_TRIAL, "the verdict is good", ACT_DECIDE_REVERT}, verdict_is_good},
	{{PHASE_TRIAL, "-", ACT_DECIDE_COMMIT}, never},

	{{PHASE_COMMIT, "new exists", ACT_DECIDE_REVERT}, new_exists},
	{{PHASE_COMMIT, "new is named NAME", ACT_RENAME_NEW}, new_has_name},
	{{PHASE_COMMIT, "new has its final restart policy", ACT_POLICY_NEW}, new_has_final_policy},
	{{PHASE_COMMIT, "old is stopped", ACT_STOP_OLD}, old_is_stopped},
	{{PHASE_COMMIT, "new ran", ACT_START_NEW}, new_has_run},
	{{PHASE_COMMIT, "the old image is kept under our tag", ACT_KEEP_OLD}, old_image_is_kept},
	{{PHASE_COMMIT, "the local tag is on the new image", ACT_MOVE_TAG}, tag_is_moved},
	{{PHASE_COMMIT, "old is gone", ACT_REMOVE_OLD}, old_is_gone},
	{{PHASE_COMMIT, "the image before that is gone", ACT_DROP_OLDER}, older_is_gone},
	{{PHASE_COMMIT, "-", ACT_DECIDE_IDLE}, never},

	{{PHASE_REVERT, "there is a way back", ACT_DECIDE_COMMIT}, there_is_a_way_back},
	{{PHASE_REVERT, "new has restart policy no", ACT_PARK_NEW}, new_is_parked},
	{{PHASE_REVERT, "new is stopped", ACT_STOP_NEW}, new_is_stopped},
	{{PHASE_REVERT, "old has its own restart policy", ACT_POLICY_OLD}, old_has_own_policy},
	{{PHASE_REVERT, "old serves again", ACT_START_OLD}, old_serves_again},
	{{PHASE_REVERT, "new is gone", ACT_REMOVE_NEW}, new_is_gone},
	{{PHASE_REVERT, "old is named NAME", ACT_RENAME_OLD}, old_has_name},
	{{PHASE_REVERT, "the local tag is where it was", ACT_RESTORE_TAG}, tag_is_not_ahead},
	{{PHASE_REVERT, "target's image is gone", ACT_DROP_TARGET}, target_image_is_gone},
	{{PHASE_REVERT, "-", ACT_DECIDE_IDLE}, never},
};

enum action plan_next(const struct record *r, const struct world *w, const struct health_rule *h,
		      const struct memory *m)
{
	struct situation s = {r, w, h, m};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		if (table[i].row.phase == r->phase && !table[i].holds(&s))
			return table[i].row.action;
	}
	return ACT_NOTHING;
}

static int64_t downtime_ms(int64_t down_ns, int64_t up_ns)
{
	return down_ns > 0 && up_ns > down_ns ? (up_ns - down_ns) / 1000000 : 0;
}

static void decide_trial(struct record *r, const struct world *w)
{
	r->phase = PHASE_TRIAL;
	r->starts = 0;
	r->downtime_ms = -1;
	(void)snprintf(r->old_id, sizeof(r->old_id), "%s", w->old.id);
	(void)snprintf(r->new_id, sizeof(r->new_id), "%s", w->new.id);
	(void)snprintf(r->policy, sizeof(r->policy), "%s", w->new.final_policy);
	r->serving = view_exists(&w->old) && view_is_up(&w->old);
}

static void decide_commit(struct record *r, const struct world *w)
{
	r->phase = PHASE_COMMIT;
	(void)snprintf(r->target.image, sizeof(r->target.image), "%s", w->new.image);
	if (r->serving)
		r->downtime_ms = downtime_ms(w->old.finished_ns, w->new.started_ns);
}

static void decide_revert(struct record *r, const struct memory *m, const struct world *w)
{
	r->phase = PHASE_REVERT;
	r->blame = view_exists(&w->new);
	if (!r->blame)
		(void)snprintf(r->reason, sizeof(r->reason), "somebody removed the new container");
	else if (m->verdict == VERDICT_BAD)
		(void)snprintf(r->reason, sizeof(r->reason), "%s", m->reason);
	else
		(void)snprintf(r->reason, sizeof(r->reason),
			       "it did not stay up in %d starts%s%.400s", PLAN_STARTS_MAX,
			       m->reason[0] ? ": " : "", m->reason);
}

static void decide_idle(struct record *r, const struct world *w)
{
	if (r->phase == PHASE_COMMIT) {
		if (!digest_eq(&r->current.digest, &r->target.digest))
			r->previous = r->current;
		r->current = r->target;
		r->last_error[0] = '\0';
	}
	if (r->phase == PHASE_REVERT) {
		if (r->blame)
			record_reject(r, &r->target, r->reason);
		(void)snprintf(r->last_error, sizeof(r->last_error), "%s", r->reason);
		if (r->serving)
			r->downtime_ms = downtime_ms(w->old.finished_ns, w->old.started_ns);
	}
	r->phase = PHASE_IDLE;
}

void plan_decide(struct record *r, struct memory *m, enum action decision, const struct world *w)
{
	if (decision == ACT_DECIDE_FETCH) {
		r->synced = false;
		(void)snprintf(r->boot_id, sizeof(r->boot_id), "%s", w->boot_id);
	} else if (decision == ACT_DECIDE_SYNCED) {
		r->synced = true;
	} else if (decision == ACT_DECIDE_TRIAL) {
		decide_trial(r, w);
	} else if (decision == ACT_DECIDE_START) {
		r->starts++;
		m->counted = true;
	} else if (decision == ACT_DECIDE_COMMIT) {
		decide_commit(r, w);
	} else if (decision == ACT_DECIDE_REVERT) {
		decide_revert(r, m, w);
	} else if (decision == ACT_DECIDE_IDLE) {
		decide_idle(r, w);
	}
}

void plan_begin(struct record *r, const struct release *target, const char *boot_id)
{
	r->phase = PHASE_PREPARE;
	r->target = *target;
	r->synced = false;
	(void)snprintf(r->boot_id, sizeof(r->boot_id), "%s", boot_id);
	r->old_id[0] = r->new_id[0] = r->policy[0] = r->reason[0] = '\0';
	r->serving = r->blame = false;
	r->starts = 0;
}

static bool is_ours(const struct container_view *v)
{
	return view_exists(v) && digest_is_set(&v->target);
}

void plan_recover(struct record *r, const struct container_view slots[SLOTS])
{
	const struct container_view *main = &slots[SLOT_MAIN], *next = &slots[SLOT_NEXT];
	const struct container_view *prev = &slots[SLOT_PREV], *old = NULL, *new = NULL;

	if (view_exists(prev)) {
		old = prev;
		new = is_ours(main) ? main : is_ours(next) ? next : NULL;
	} else if (view_exists(main) && is_ours(next)) {
		old = main;
		new = next;
	} else if (is_ours(main)) {
		new = main; /* alone, so it had won; whether all behind it was done is seen by looking */
	}
	if (!old && !new)
		return;
	r->phase = old ? PHASE_REVERT : PHASE_COMMIT;
	r->blame = false; /* nobody knows what went wrong, if anything did */
	(void)snprintf(r->reason, sizeof(r->reason), "the record was lost");
	if (new) {
		r->target.digest = new->target;
		(void)snprintf(r->target.image, sizeof(r->target.image), "%s", new->image);
		(void)snprintf(r->new_id, sizeof(r->new_id), "%s", new->id);
		(void)snprintf(r->policy, sizeof(r->policy), "%s", new->final_policy);
	} else if (old) {
		(void)snprintf(r->policy, sizeof(r->policy), "%s",
			       old->final_policy[0] ? old->final_policy : old->policy);
	}
	if (old) {
		(void)snprintf(r->old_id, sizeof(r->old_id), "%s", old->id);
		/* Parked and down: whether it served cannot be known; once too often is better. */
		r->serving = view_is_up(old) || old->slot == SLOT_PREV ||
			     (new && !streq(old->policy, new->final_policy));
	}
}

static const char *const names[] = {
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
