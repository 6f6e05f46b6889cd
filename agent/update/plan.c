/* SPDX-License-Identifier: MIT */
#include "plan-internal.h"

static struct situation with_member(struct situation s, size_t member)
{
	s.member = member;
	s.old = &s.w->members[member].old;
	s.new = &s.w->members[member].new;
	s.policy = member ? s.r->followers[member - 1].policy : s.r->policy;
	s.serving = member ? s.r->followers[member - 1].serving : s.r->serving;
	s.progress = &s.m->member[member];
	return s;
}

static bool row_holds(const struct plan_row *row, struct situation *s)
{
	size_t n = row->members == ONE ? 1 : 1 + s->r->n_followers;

	for (size_t i = 0; i < n; i++) {
		*s = with_member(*s, row->members == EACH_BACK ? n - 1 - i : i);
		if (!row->holds(s))
			return false;
	}
	return true;
}

static bool block_applies(enum block b, const struct situation *s)
{
	enum phase phase = s->r->phase;
	bool before = phase == PHASE_IDLE || phase == PHASE_PREPARE;
	bool rollback = before && plan_is_rollback(s);
	bool update = before && !rollback && s->m->operation != OPERATION_FINISH;

	switch (b) {
	case BLOCK_ASK:
	case BLOCK_TAKE:
		return update;
	case BLOCK_REPAIR:
		return update && plan_needs_repair(s);
	case BLOCK_ROLLBACK:
		return rollback;
	case BLOCK_PREPARE:
		return phase == PHASE_PREPARE && (update || rollback);
	case BLOCK_TRIAL:
		return phase == PHASE_TRIAL;
	case BLOCK_COMMIT:
		return phase == PHASE_COMMIT;
	case BLOCK_REVERT:
		return phase == PHASE_REVERT;
	}
	return false;
}

/* The first row whose condition does not hold; NULL: all do. s is set to its member. */
static const struct plan_row *find_row(const struct plan_row *rows, size_t n, struct situation *s)
{
	enum block last = BLOCK_REVERT;
	bool applies = false;

	for (size_t i = 0; i < n; i++) {
		if (i == 0 || rows[i].block != last) {
			last = rows[i].block;
			*s = with_member(*s, 0);
			applies = block_applies(last, s);
		}
		if (applies && !row_holds(&rows[i], s))
			return &rows[i];
	}
	return NULL;
}

struct step plan_next(const struct container_config *c, const struct record *r,
		      const struct world *w, const struct pass_state *m)
{
	struct situation s = {.c = c, .r = r, .w = w, .m = m};
	const struct plan_row *row = find_row(plan_rows_before, plan_rows_before_n, &s);
	struct step step = {.action = ACT_NOTHING};

	if (!row)
		row = find_row(plan_rows_swap, plan_rows_swap_n, &s);
	if (!row)
		return step;
	step.action = row->action;
	step.block = row->block;
	step.member = s.member;
	step.already_reported = row->already_reported;
	if (row->explain)
		row->explain(&s, step.reason, sizeof(step.reason));
	return step;
}

static const char names[][32] = {
	[ACT_NOTHING] = "nothing",
	[ACT_UP_TO_DATE] = "up-to-date",
	[ACT_DEFER] = "defer",
	[ACT_REFUSE] = "refuse",
	[ACT_FAIL] = "fail",
	[ACT_FIND_SPEC] = "find saved spec",
	[ACT_ASK] = "ask registry",
	[ACT_ASK_DETAILS] = "ask details",
	[ACT_ASK_POLICY] = "ask policy",
	[ACT_FIND_IMAGE] = "look for it",
	[ACT_FIND_FOLLOWERS] = "find followers",
	[ACT_ASK_FLOOR] = "ask floor",
	[ACT_ASK_RENEWAL] = "ask renewal",
	[ACT_CHECK_SUCCESSOR] = "check successor",
	[ACT_VERIFY] = "verify",
	[ACT_CHECK_SPACE] = "check disk space",
	[ACT_CHECK_HOST] = "check host",
	[ACT_ASK_BEFORE] = "ask before-unit",
	[ACT_ASK_HEALTH] = "ask health-unit",
	[ACT_ASK_AFTER] = "ask after-unit",
	[ACT_SAVE_SPEC] = "save spec",
	[ACT_FETCH] = "fetch",
	[ACT_DROP_TARGET] = "drop target's image",
	[ACT_CREATE] = "create new",
	[ACT_RESTORE_TAG] = "restore tag",
	[ACT_PARK_OLD] = "park old",
	[ACT_PARK_NEW] = "park new",
	[ACT_RENAME_OLD_PREV] = "rename old to NAME.prev",
	[ACT_RENAME_NEW] = "rename new to NAME",
	[ACT_RENAME_NEW_NEXT] = "rename new to NAME.next",
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
	[ACT_DECIDE_CURRENT] = "write current",
	[ACT_DECIDE_REJECTED] = "write rejected",
	[ACT_DECIDE_SEEN] = "write seen",
	[ACT_DECIDE_SEQUENCE] = "write sequence",
	[ACT_DECIDE_FLOOR] = "write floor",
	[ACT_DECIDE_RENEWAL] = "write renewal",
	[ACT_DECIDE_SIGNATURE] = "write signature",
	[ACT_DECIDE_FORGET] = "forget the update, write idle",
	[ACT_DECIDE_PREPARE] = "write prepare",
	[ACT_DECIDE_FETCH] = "write fetch",
	[ACT_DECIDE_SYNCED] = "write synced",
	[ACT_DECIDE_DEFERRAL] = "write deferral",
	[ACT_DECIDE_TRIAL] = "write trial",
	[ACT_DECIDE_START] = "write start",
	[ACT_DECIDE_COMMIT] = "write commit",
	[ACT_DECIDE_REVERT] = "write revert",
	[ACT_DECIDE_AGAIN] = "write prepare again",
	[ACT_DECIDE_IDLE] = "write idle",
};

static const char block_names[][10] = {
	[BLOCK_ASK] = "ask",	       [BLOCK_REPAIR] = "repair",   [BLOCK_TAKE] = "take",
	[BLOCK_ROLLBACK] = "rollback", [BLOCK_PREPARE] = "prepare", [BLOCK_TRIAL] = "trial",
	[BLOCK_COMMIT] = "commit",     [BLOCK_REVERT] = "revert",
};

bool action_is_end(enum action a)
{
	return a <= ACT_FAIL;
}

bool action_is_decision(enum action a)
{
	return a >= ACT_DECIDE_CURRENT;
}

unsigned int action_touches(enum action a)
{
	if (a == ACT_CREATE || a == ACT_DECIDE_FORGET ||
	    (a >= ACT_ASK_BEFORE && a <= ACT_ASK_AFTER))
		return WORLD_WHOLE;
	if (a == ACT_FIND_FOLLOWERS || (a >= ACT_PARK_OLD && a <= ACT_REMOVE_NEW))
		return WORLD_CONTAINERS;
	return a >= ACT_FETCH && a <= ACT_DROP_OLDER ? WORLD_IMAGES : 0;
}

const char *action_name(enum action a)
{
	return names[a];
}

const char *block_name(enum block b)
{
	return block_names[b];
}

size_t plan_rows(const struct plan_row **ret)
{
	static struct plan_row rows[128];
	size_t n = plan_rows_before_n + plan_rows_swap_n;

	memcpy(rows, plan_rows_before, plan_rows_before_n * sizeof(rows[0]));
	memcpy(rows + plan_rows_before_n, plan_rows_swap, plan_rows_swap_n * sizeof(rows[0]));
	*ret = rows;
	return n;
}
