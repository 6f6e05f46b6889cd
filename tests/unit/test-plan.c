/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "plan.h"
#include "test.h"

#define TARGET "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define OTHER  "sha256:2222222222222222222222222222222222222222222222222222222222222222"

/* All that plan_next looks at. */
struct scene {
	struct record r;
	struct world w;
	struct pass_state m;
	struct container_config c;
};

#define SET(field, text) ((void)strcpy(field, text))

static struct container_view old_one(enum slot slot, enum container_state state, const char *policy)
{
	struct container_view v = {.id = "old", .image = "image-old", .slot = slot, .state = state};

	SET(v.policy, policy);
	v.started_ns = 1;
	return v;
}

static struct container_view new_one(enum slot slot, enum container_state state, const char *policy)
{
	struct container_view v = {.id = "new",
				   .image = "image-new",
				   .slot = slot,
				   .state = state,
				   .target = {TARGET},
				   .final_policy = "always"};

	SET(v.policy, policy);
	return v;
}

static struct window never_open; /* no day of the week is set */

static bool is_block_before(enum block block)
{
	return block <= BLOCK_ROLLBACK;
}

/* In each block the scene in which all is done: every condition holds. */
static void all_done(struct scene *s, enum block block)
{
	static const enum phase phases[] = {
		[BLOCK_PREPARE] = PHASE_PREPARE,
		[BLOCK_TRIAL] = PHASE_TRIAL,
		[BLOCK_COMMIT] = PHASE_COMMIT,
		[BLOCK_REVERT] = PHASE_REVERT,
	};

	*s = (struct scene){
		.r = {.phase = is_block_before(block) ? PHASE_IDLE : phases[block],
		      .target = {.digest = {TARGET}, .brought = true},
		      .current = {.digest = {OTHER}, .image = "image-before"},
		      .synced = true,
		      .boot_id = "boot",
		      .old_id = "old",
		      .new_id = "new",
		      .policy = "always",
		      .serving = true,
		      .starts = 1},
		.w = {.image = "image-new", .tag = "image-old", .boot_id = "boot"},
		.m = {.member[0] = {.created = true, .created_from = "old"},
		      .now_s = 1700000000,
		      .spec_known = true,
		      .answer = {.known = true,
				 .reply = {.digest = {TARGET}, .manifest = {TARGET}}},
		      .policy = {.known = true},
		      .image_known = true,
		      .followers_known = true,
		      .successor_checked = true,
		      .verified = {TARGET},
		      .space_known = true,
		      .host_is_known = true,
		      .spec_saved = true},
		.c = {.name = (char *)"app",
		      .image = (char *)"reg/app:stable",
		      .health_period_ms = 1000},
	};
	switch (block) {
	case BLOCK_REPAIR:
		SET(s->w.old.error, "layer does not exist");
		s->m.member[0].started_old = true;
		s->r.current = (struct release){.digest = {TARGET}, .image = "image-old"};
		s->w.old = old_one(SLOT_MAIN, STATE_EXITED, "always");
		SET(s->w.old.error, "layer does not exist");
		return;
	case BLOCK_ROLLBACK:
		s->m.operation = OPERATION_ROLLBACK;
		s->m.image_present = true;
		s->r.previous = (struct release){.digest = {TARGET}, .image = "image-new"};
		s->r.current = (struct release){.digest = {OTHER}, .image = "image-old"};
		s->w.old = old_one(SLOT_MAIN, STATE_RUNNING, "always");
		return;
	case BLOCK_ASK:
	case BLOCK_TAKE:
		s->w.old = old_one(SLOT_MAIN, STATE_RUNNING, "always");
		return;
	case BLOCK_PREPARE:
		s->w.old = old_one(SLOT_MAIN, STATE_RUNNING, "always");
		s->w.new = new_one(SLOT_NEXT, STATE_CREATED, "no");
		s->r.starts = 0;
		return;
	case BLOCK_TRIAL:
		s->w.old = old_one(SLOT_PREV, STATE_EXITED, "no");
		s->w.new = new_one(SLOT_MAIN, STATE_RUNNING, "no");
		s->m.verdict = VERDICT_GOOD;
		return;
	case BLOCK_COMMIT:
		s->w.new = new_one(SLOT_MAIN, STATE_RUNNING, "always");
		SET(s->w.tag, "image-new");
		return;
	case BLOCK_REVERT:
		s->w.old = old_one(SLOT_MAIN, STATE_RUNNING, "always");
		s->w.image[0] = '\0';
		return;
	}
}

#define ARRANGE(name, ...)                \
	static void name(struct scene *s) \
	{                                 \
		__VA_ARGS__;              \
	}

/* One for each row: what breaks its condition, whatever else is broken below it. */
ARRANGE(not_wanted, s->r.phase = PHASE_PREPARE; s->m.refusal.code = -1)
ARRANGE(refused_for_good, SET(s->m.unusable.digest.text, OTHER))
ARRANGE(refused, s->m.refusal.code = -1)
ARRANGE(spec_unknown, s->m.spec_known = false)
ARRANGE(no_container, s->w.old = (struct container_view){0})
ARRANGE(held, s->r.held = true; s->m.operation = OPERATION_UPDATE)
ARRANGE(left_over, s->w.new = new_one(SLOT_NEXT, STATE_RUNNING, "no");
	s->m.operation = OPERATION_UPDATE; s->r.phase = PHASE_IDLE)
ARRANGE(not_asked, s->m.answer.known = false)
ARRANGE(no_clock, s->m.answer.error.code = -EPROTO; s->m.now_s = 0)
ARRANGE(no_answer, s->m.answer.error.code = -EIO)
ARRANGE(runs_unwritten, SET(s->w.old.image, TARGET); SET(s->r.current.digest.text, OTHER))
ARRANGE(adopted, s->r.current = (struct release){0})
ARRANGE(runs, s->r.current = (struct release){.digest = {TARGET}, .image = "image-old"};
	s->r.seen.text[0] = '\0')
ARRANGE(failed, runs(s); s->w.old.state = STATE_EXITED; SET(s->w.old.error, "no such device"))
ARRANGE(rejected_by_manifest, s->r.n_rejected = 0; SET(s->m.answer.reply.manifest.text, OTHER);
	record_reject(&s->r, &(struct release){.digest = {"sha256:3"}, .manifest = {OTHER}}, "",
		      "bad"))
ARRANGE(rejected, record_reject(&s->r, &(struct release){.digest = {TARGET}}, "", "bad"))
ARRANGE(disturbed, s->r.disturbed = (struct disturbed){{TARGET}, "", RECORD_DISTURBED_MAX})
ARRANGE(hopeless, s->r.damage = (struct damage){{TARGET}, "boot", RECORD_DAMAGE_MAX})
ARRANGE(stopped, s->w.new.id[0] = '\0'; s->w.old.state = STATE_EXITED)
ARRANGE(age_unknown, s->c.min_age_ms = 1000; s->r.seen.text[0] = '\0')
ARRANGE(too_young, s->c.min_age_ms = 1000; SET(s->r.seen.text, TARGET); s->r.seen_s = s->m.now_s)
ARRANGE(policy_unknown, s->m.policy.known = false)
ARRANGE(sequence_unwritten, s->m.policy.reply.found = true; s->m.policy.reply.rollout.sequence = 5;
	s->m.policy.reply.rollout.n_points = 1; SET(s->m.policy.reply.rollout.target.text, TARGET))
ARRANGE(not_admitted, s->m.policy.reply.found = true; s->m.policy.reply.rollout.halt = true;
	SET(s->r.rollout_state, ROLLOUT_SEEN))
ARRANGE(only_a_check, s->m.operation = OPERATION_CHECK)
ARRANGE(check_without_host, only_a_check(s); s->m.host_is_known = false)
ARRANGE(followers_unknown, s->m.followers_known = false)
ARRANGE(not_checked, s->m.successor_checked = false)
ARRANGE(not_verified, SET(s->m.verified.text, OTHER))
ARRANGE(with_key, static char *keys[] = {(char *)"prod.pub", NULL}; s->c.keys = keys)
ARRANGE(expired, with_key(s); runs(s); s->m.renewal_known = false;
	s->r.current.signature = (struct signature){.n_keys = 1, .expires_s = s->m.now_s})
ARRANGE(renewal_unwritten, s->m.renewal_known = true; s->m.renewal_written = false)
ARRANGE(floor_unknown, with_key(s); s->m.floor_of.text[0] = s->r.floor.text[0] = '\0';
	SET(s->r.current.digest.text, OTHER))
ARRANGE(floor_unwritten, with_key(s); SET(s->r.current.digest.text, OTHER);
	SET(s->m.floor_of.text, OTHER))
ARRANGE(signature_unwritten, SET(s->m.signature.digest.text, TARGET);
	SET(s->m.signature.pulled.text, TARGET))
ARRANGE(image_unknown, s->m.image_known = false)
ARRANGE(download_shut, s->c.download_windows = (struct window_list){&never_open, 1};
	s->m.image_present = false)
ARRANGE(no_details, s->m.answer.reply.manifest.text[0] = '\0')
ARRANGE(withheld, s->m.has_credentials = true; SET(s->m.answer.reply.withheld, "why"))
ARRANGE(space_unknown, s->m.space_known = false)
ARRANGE(no_space, s->m.no_space.code = -ENOSPC)
ARRANGE(not_started_again, s->m.member[0].started_old = false)
ARRANGE(registry_lost_it, SET(s->m.answer.reply.digest.text, OTHER);
	record_reject(&s->r, &(struct release){.digest = {OTHER}}, "", "bad"))
ARRANGE(spec_not_saved, s->m.spec_saved = false)
ARRANGE(no_previous, s->r.previous = (struct release){0})
ARRANGE(replaced, SET(s->r.current.image, "image-older"))
ARRANGE(image_gone, s->m.image_present = false)
ARRANGE(policy_stale, s->m.now_ms = PLAN_POLICY_FRESH_MS + 1)
ARRANGE(window_shut, s->c.windows = (struct window_list){&never_open, 1})
ARRANGE(blocker, SET(s->w.blocker.id, "another"))
ARRANGE(another, blocker(s); s->w.blocker.state = STATE_RUNNING)
ARRANGE(incomplete, s->r.synced = s->m.fetched = s->m.drop_tried = false;
	SET(s->w.image, "image-new"); SET(s->r.boot_id, "boot before"))
ARRANGE(fetch_not_written, s->w.image[0] = '\0'; s->r.synced = true)
ARRANGE(not_fetched, s->w.image[0] = '\0'; s->r.synced = s->m.fetched = false;
	SET(s->r.boot_id, "boot"))
ARRANGE(download_paused, not_fetched(s); SET(s->m.pause, "downloading 41 %"))
ARRANGE(sync_not_written, s->r.synced = false; s->m.fetched = true)
ARRANGE(next_is_stale, s->w.new = new_one(SLOT_NEXT, STATE_CREATED, "no");
	s->m.member[0].created = false)
ARRANGE(no_new, s->w.new.id[0] = '\0')
ARRANGE(tag_ahead, SET(s->w.image, "image-new"); SET(s->w.tag, "image-new"))
ARRANGE(nothing_broken, (void)s)
ARRANGE(old_not_parked, SET(s->w.old.policy, "unless-stopped"))
ARRANGE(old_crash_loops, s->w.old.state = STATE_RESTARTING)
ARRANGE(old_not_aside, s->w.old.slot = SLOT_MAIN)
ARRANGE(new_without_name, s->w.new.slot = SLOT_NEXT)
ARRANGE(starts_used_up, s->w.new.state = STATE_EXITED;
	s->m.counted = s->m.member[0].started_new = false; s->r.starts = PLAN_STARTS_MAX)
ARRANGE(start_not_counted, s->w.new.state = STATE_CREATED;
	s->m.counted = s->m.member[0].started_new = false; s->r.starts = PLAN_STARTS_MAX - 1)
ARRANGE(old_up, SET(s->w.old.id, "old"); s->w.old.state = STATE_RUNNING)
ARRANGE(new_down, s->w.new.state = STATE_EXITED; s->w.new.exit_code = 1; s->m.counted = true)
ARRANGE(verdict_pending, s->m.verdict = VERDICT_PENDING)
ARRANGE(verdict_bad, s->m.verdict = VERDICT_BAD)
ARRANGE(new_policy_no, SET(s->w.new.policy, "no"))
ARRANGE(old_not_kept, s->w.old = old_one(SLOT_PREV, STATE_EXITED, "no");
	SET(s->w.previous_image, "image-older"))
ARRANGE(tag_behind, SET(s->w.tag, "image-old"))
ARRANGE(old_still_here, s->w.old = old_one(SLOT_PREV, STATE_EXITED, "no");
	SET(s->w.previous_image, "image-old"))
ARRANGE(older_here, s->w.older_present = true)
ARRANGE(no_way_back, s->w.blocker.id[0] = '\0'; s->w.old.id[0] = '\0';
	s->w.new = new_one(SLOT_MAIN, STATE_RUNNING, "no"))
ARRANGE(new_not_parked, s->w.new = new_one(SLOT_MAIN, STATE_RUNNING, "always"))
ARRANGE(name_kept_by_new, s->w.blocker.id[0] = '\0';
	s->w.old = old_one(SLOT_PREV, STATE_EXITED, "no");
	s->w.new = new_one(SLOT_MAIN, STATE_RUNNING, "no");
	s->m.member[0].name_failed = s->m.member[0].started_old = false)
ARRANGE(name_free_for_old, name_kept_by_new(s); s->w.new.slot = SLOT_NEXT)
ARRANGE(new_up, s->w.new = new_one(SLOT_MAIN, STATE_RUNNING, "no");
	s->m.member[0].name_failed = true)
ARRANGE(old_policy_no, s->w.blocker.id[0] = '\0'; SET(s->w.old.policy, "no");
	s->m.member[0].name_failed = true)
ARRANGE(old_down, s->w.blocker.id[0] = '\0'; s->w.old.state = STATE_EXITED;
	s->m.member[0].started_old = false; s->m.member[0].name_failed = true)
ARRANGE(new_here, s->w.new = new_one(SLOT_MAIN, STATE_EXITED, "no"))
ARRANGE(old_without_name, s->w.old.slot = SLOT_PREV)
ARRANGE(old_up_beside_another, another(s); s->w.old.slot = SLOT_PREV;
	s->w.old.state = STATE_RUNNING)
ARRANGE(old_beside_another, another(s); s->w.old.slot = SLOT_PREV; s->w.old.state = STATE_EXITED)
ARRANGE(old_without_place, s->w.old.slot = SLOT_PREV; blocker(s))
ARRANGE(host_unknown, s->m.host_is_known = false)
ARRANGE(device_gone, s->m.host_lacks.code = -ENOENT)
ARRANGE(before_not_asked, s->m.before.asked = false;
	s->c.hooks[HOOK_BEFORE].unit = (char *)"lock.service")
ARRANGE(before_says_no, before_not_asked(s); s->m.before.asked = s->m.before.written = true;
	SET(s->m.before.refusal, "no"))
ARRANGE(deferral_not_written, before_says_no(s); s->m.before.written = false)
ARRANGE(health_not_asked, s->m.verdict = VERDICT_GOOD;
	s->c.hooks[HOOK_HEALTH].unit = (char *)"probe.service")
ARRANGE(after_not_asked, s->c.hooks[HOOK_AFTER].unit = (char *)"tell.service")
ARRANGE(host_to_blame, s->r.host.refused = true)
ARRANGE(target_image_here, SET(s->w.image, "image-new"))

/* In the order of plan.c's table. */
static const struct {
	enum block block;
	void (*break_it)(struct scene *);
	enum action action;
} rows[] = {
	{BLOCK_ASK, refused_for_good, ACT_DECIDE_REJECTED},
	{BLOCK_ASK, not_wanted, ACT_DECIDE_FORGET},
	{BLOCK_ASK, refused, ACT_REFUSE},
	{BLOCK_ASK, spec_unknown, ACT_FIND_SPEC},
	{BLOCK_ASK, no_container, ACT_FAIL},
	{BLOCK_ASK, held, ACT_DEFER},
	{BLOCK_ASK, left_over, ACT_REMOVE_NEW},
	{BLOCK_ASK, not_asked, ACT_ASK},
	{BLOCK_ASK, no_clock, ACT_DEFER},
	{BLOCK_ASK, no_answer, ACT_FAIL},
	{BLOCK_ASK, runs_unwritten, ACT_DECIDE_CURRENT},

	{BLOCK_REPAIR, only_a_check, ACT_DEFER},
	{BLOCK_REPAIR, not_started_again, ACT_START_OLD},
	{BLOCK_REPAIR, followers_unknown, ACT_FIND_FOLLOWERS},
	{BLOCK_REPAIR, blocker, ACT_FAIL},
	{BLOCK_REPAIR, not_verified, ACT_VERIFY},
	{BLOCK_REPAIR, registry_lost_it, ACT_ASK_DETAILS},
	{BLOCK_REPAIR, spec_not_saved, ACT_SAVE_SPEC},
	{BLOCK_REPAIR, nothing_broken, ACT_REMOVE_OLD},

	{BLOCK_TAKE, failed, ACT_FAIL},
	{BLOCK_TAKE, blocker, ACT_FAIL},
	{BLOCK_TAKE, expired, ACT_ASK_RENEWAL},
	{BLOCK_TAKE, renewal_unwritten, ACT_DECIDE_RENEWAL},
	{BLOCK_TAKE, runs, ACT_UP_TO_DATE},
	{BLOCK_TAKE, rejected_by_manifest, ACT_DECIDE_REJECTED},
	{BLOCK_TAKE, rejected, ACT_REFUSE},
	{BLOCK_TAKE, hopeless, ACT_FAIL},
	{BLOCK_TAKE, disturbed, ACT_DEFER},
	{BLOCK_TAKE, stopped, ACT_DEFER},
	{BLOCK_TAKE, age_unknown, ACT_DECIDE_SEEN},
	{BLOCK_TAKE, too_young, ACT_DEFER},
	{BLOCK_TAKE, policy_unknown, ACT_ASK_POLICY},
	{BLOCK_TAKE, sequence_unwritten, ACT_DECIDE_SEQUENCE},
	{BLOCK_TAKE, not_admitted, ACT_DEFER},
	{BLOCK_TAKE, followers_unknown, ACT_FIND_FOLLOWERS},
	{BLOCK_TAKE, not_checked, ACT_CHECK_SUCCESSOR},
	{BLOCK_TAKE, floor_unknown, ACT_ASK_FLOOR},
	{BLOCK_TAKE, floor_unwritten, ACT_DECIDE_FLOOR},
	{BLOCK_TAKE, not_verified, ACT_VERIFY},
	{BLOCK_TAKE, signature_unwritten, ACT_DECIDE_SIGNATURE},
	{BLOCK_TAKE, image_unknown, ACT_FIND_IMAGE},
	{BLOCK_TAKE, download_shut, ACT_DEFER},
	{BLOCK_TAKE, no_details, ACT_ASK_DETAILS},
	{BLOCK_TAKE, withheld, ACT_REFUSE},
	{BLOCK_TAKE, space_unknown, ACT_CHECK_SPACE},
	{BLOCK_TAKE, no_space, ACT_DEFER},
	{BLOCK_TAKE, check_without_host, ACT_CHECK_HOST},
	{BLOCK_TAKE, only_a_check, ACT_DEFER},
	{BLOCK_TAKE, nothing_broken, ACT_DECIDE_PREPARE},

	{BLOCK_ROLLBACK, not_wanted, ACT_DECIDE_FORGET},
	{BLOCK_ROLLBACK, refused, ACT_REFUSE},
	{BLOCK_ROLLBACK, no_previous, ACT_REFUSE},
	{BLOCK_ROLLBACK, rejected, ACT_REFUSE},
	{BLOCK_ROLLBACK, replaced, ACT_REFUSE},
	{BLOCK_ROLLBACK, image_unknown, ACT_FIND_IMAGE},
	{BLOCK_ROLLBACK, image_gone, ACT_REFUSE},
	{BLOCK_ROLLBACK, blocker, ACT_REFUSE},
	{BLOCK_ROLLBACK, stopped, ACT_DEFER},
	{BLOCK_ROLLBACK, followers_unknown, ACT_FIND_FOLLOWERS},
	{BLOCK_ROLLBACK, not_checked, ACT_CHECK_SUCCESSOR},
	{BLOCK_ROLLBACK, not_verified, ACT_VERIFY},
	{BLOCK_ROLLBACK, nothing_broken, ACT_DECIDE_PREPARE},

	{BLOCK_PREPARE, incomplete, ACT_DROP_TARGET},
	{BLOCK_PREPARE, fetch_not_written, ACT_DECIDE_FETCH},
	{BLOCK_PREPARE, download_paused, ACT_DEFER},
	{BLOCK_PREPARE, not_fetched, ACT_FETCH},
	{BLOCK_PREPARE, sync_not_written, ACT_DECIDE_SYNCED},
	{BLOCK_PREPARE, policy_stale, ACT_ASK_POLICY},
	{BLOCK_PREPARE, next_is_stale, ACT_REMOVE_NEW},
	{BLOCK_PREPARE, window_shut, ACT_DEFER},
	{BLOCK_PREPARE, host_unknown, ACT_CHECK_HOST},
	{BLOCK_PREPARE, device_gone, ACT_DEFER},
	{BLOCK_PREPARE, before_not_asked, ACT_ASK_BEFORE},
	{BLOCK_PREPARE, deferral_not_written, ACT_DECIDE_DEFERRAL},
	{BLOCK_PREPARE, before_says_no, ACT_DEFER},
	{BLOCK_PREPARE, no_new, ACT_CREATE},
	{BLOCK_PREPARE, tag_ahead, ACT_RESTORE_TAG},
	{BLOCK_PREPARE, nothing_broken, ACT_DECIDE_TRIAL},

	{BLOCK_TRIAL, blocker, ACT_DECIDE_REVERT},
	{BLOCK_TRIAL, no_new, ACT_DECIDE_REVERT},
	{BLOCK_TRIAL, old_not_parked, ACT_PARK_OLD},
	{BLOCK_TRIAL, old_crash_loops, ACT_STOP_OLD},
	{BLOCK_TRIAL, old_not_aside, ACT_RENAME_OLD_PREV},
	{BLOCK_TRIAL, new_without_name, ACT_RENAME_NEW},
	{BLOCK_TRIAL, starts_used_up, ACT_DECIDE_REVERT},
	{BLOCK_TRIAL, start_not_counted, ACT_DECIDE_START},
	{BLOCK_TRIAL, old_up, ACT_STOP_OLD},
	{BLOCK_TRIAL, new_down, ACT_START_NEW},
	{BLOCK_TRIAL, verdict_pending, ACT_PROBE},
	{BLOCK_TRIAL, health_not_asked, ACT_ASK_HEALTH},
	{BLOCK_TRIAL, verdict_bad, ACT_DECIDE_REVERT},
	{BLOCK_TRIAL, nothing_broken, ACT_DECIDE_COMMIT},

	{BLOCK_COMMIT, no_new, ACT_DECIDE_REVERT},
	{BLOCK_COMMIT, new_without_name, ACT_RENAME_NEW},
	{BLOCK_COMMIT, new_policy_no, ACT_POLICY_NEW},
	{BLOCK_COMMIT, old_up, ACT_STOP_OLD},
	{BLOCK_COMMIT, new_down, ACT_START_NEW},
	{BLOCK_COMMIT, old_not_kept, ACT_KEEP_OLD},
	{BLOCK_COMMIT, tag_behind, ACT_MOVE_TAG},
	{BLOCK_COMMIT, old_still_here, ACT_REMOVE_OLD},
	{BLOCK_COMMIT, older_here, ACT_DROP_OLDER},
	{BLOCK_COMMIT, after_not_asked, ACT_ASK_AFTER},
	{BLOCK_COMMIT, nothing_broken, ACT_DECIDE_IDLE},

	{BLOCK_REVERT, no_way_back, ACT_DECIDE_COMMIT},
	{BLOCK_REVERT, new_not_parked, ACT_PARK_NEW},
	{BLOCK_REVERT, name_kept_by_new, ACT_RENAME_NEW_NEXT},
	{BLOCK_REVERT, name_free_for_old, ACT_RENAME_OLD},
	{BLOCK_REVERT, new_up, ACT_STOP_NEW},
	{BLOCK_REVERT, old_up_beside_another, ACT_STOP_OLD},
	{BLOCK_REVERT, old_policy_no, ACT_POLICY_OLD},
	{BLOCK_REVERT, old_down, ACT_START_OLD},
	{BLOCK_REVERT, new_here, ACT_REMOVE_NEW},
	{BLOCK_REVERT, old_beside_another, ACT_REMOVE_OLD},
	{BLOCK_REVERT, old_without_place, ACT_REFUSE},
	{BLOCK_REVERT, old_without_name, ACT_RENAME_OLD},
	{BLOCK_REVERT, tag_ahead, ACT_RESTORE_TAG},
	{BLOCK_REVERT, after_not_asked, ACT_ASK_AFTER},
	{BLOCK_REVERT, host_to_blame, ACT_DECIDE_AGAIN},
	{BLOCK_REVERT, target_image_here, ACT_DROP_TARGET},
	{BLOCK_REVERT, nothing_broken, ACT_DECIDE_IDLE},
};

/* The same scene with two followers for which all is done too. */
static void add_followers(struct scene *s)
{
	s->r.n_followers = 2;
	for (size_t i = 0; i < 2; i++) {
		s->w.followers[i] = (struct pair){s->w.old, s->w.new};
		SET(s->r.followers[i].policy, s->r.policy);
		s->r.followers[i].serving = s->r.serving;
		s->m.member[i + 1] = s->m.member[0];
	}
}

static void expect_next(const struct scene *s, enum action action, const char *a, const char *b)
{
	enum action next = plan_next(&s->c, &s->r, &s->w, &s->m).action;

	if (next != action)
		fail_msg("%s: unless %s (and %s): '%s' instead of '%s'", phase_names[s->r.phase], a,
			 b, action_name(next), action_name(action));
}

static void test_every_row(void **state)
{
	const struct plan_row *table;

	assert_int_equal(plan_rows(&table), ARRAY_SIZE(rows));
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct scene s;

		assert_int_equal(table[i].block, rows[i].block);
		assert_int_equal(table[i].action, rows[i].action);
		all_done(&s, rows[i].block);
		rows[i].break_it(&s);
		expect_next(&s, rows[i].action, table[i].unless, "-");
	}
}

/* Each row that speaks of each speaks of the followers too, in its order; the others do not. */
static void test_followers(void **state)
{
	const struct plan_row *table;

	(void)plan_rows(&table);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct scene done, broken, s;
		struct step step;

		if (is_block_before(rows[i].block))
			continue;
		all_done(&done, rows[i].block);
		broken = done;
		rows[i].break_it(&broken);
		add_followers(&done);
		add_followers(&broken);

		/* All three at once: the first in the row's order. */
		s = broken;
		step = plan_next(&s.c, &s.r, &s.w, &s.m);
		assert_int_equal(step.action, rows[i].action);
		assert_int_equal(step.member, table[i].members == EACH_BACK ? 2 : 0);
		if (table[i].members == ONE)
			continue;
		/* Only the second follower: it is its turn, and nobody else's. */
		s = done;
		s.w.followers[1] = broken.w.followers[1];
		s.m.member[2] = broken.m.member[2];
		step = plan_next(&s.c, &s.r, &s.w, &s.m);
		if (step.action != rows[i].action || step.member != 2)
			fail_msg("%s: unless %s: '%s' of member %zu", block_name(rows[i].block),
				 table[i].unless, action_name(step.action), step.member);
		/* Somebody took it away: no longer our business. */
		s.w.followers[1] = (struct pair){0};
		step = plan_next(&s.c, &s.r, &s.w, &s.m);
		assert_int_equal(step.member, 0);
		assert_int_not_equal(step.action, rows[i].action);
	}
}

/* Two conditions do not hold: the upper row speaks. So no row can stand in another's place. */
static void test_order_of_rows(void **state)
{
	const struct plan_row *table;

	(void)plan_rows(&table);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		for (size_t j = i + 1; j < ARRAY_SIZE(rows); j++) {
			struct scene s;

			bool same_scene =
				rows[i].block == rows[j].block ||
				(rows[i].block == BLOCK_ASK && rows[j].block == BLOCK_TAKE);

			if (!same_scene || rows[i].break_it == nothing_broken)
				continue;
			all_done(&s, rows[i].block);
			rows[j].break_it(&s);
			rows[i].break_it(&s);
			expect_next(&s, rows[i].action, table[i].unless, table[j].unless);
		}
	}
}

/* What the rows do not say. */
ARRANGE(not_synced_in_this_pass, s->r.synced = false)
ARRANGE(incomplete_of_others, incomplete(s); s->r.target.brought = false)
ARRANGE(incomplete_in_use, incomplete(s); s->m.drop_tried = true)
ARRANGE(pull_cut_in_other_boot, not_fetched(s); SET(s->r.boot_id, "boot before"))
ARRANGE(synced_and_removed, not_fetched(s); s->r.synced = true)
ARRANGE(first_ever, s->w.old = (struct container_view){0}; s->c.create = (char *)"create.json";
	s->r.old_id[0] = '\0'; s->m.member[0].created_from[0] = '\0'; s->r.serving = false)
ARRANGE(first_ever_tagged, first_ever(s); tag_ahead(s))
ARRANGE(next_is_of_another, SET(s->m.member[0].created_from, "older"))
ARRANGE(next_is_of_none, s->m.member[0].created_from[0] = '\0')
ARRANGE(next_is_of_a_stopped_one, s->w.old.state = STATE_EXITED)
ARRANGE(paused, s->w.new.id[0] = '\0'; s->w.old.state = STATE_PAUSED)
ARRANGE(old_was_removed, s->w.old = (struct container_view){0})
ARRANGE(old_was_removed_but_can_be_made, old_was_removed(s); s->c.create = (char *)"create.json")
ARRANGE(tag_moved_on, SET(s->r.target.digest.text, OTHER))
ARRANGE(tag_of_others, tag_ahead(s); s->r.target.brought = false)
ARRANGE(same_image, tag_ahead(s); SET(s->w.old.image, "image-new"))
ARRANGE(third_start_counted, starts_used_up(s); s->m.counted = true)
ARRANGE(third_start_runs, s->r.starts = PLAN_STARTS_MAX; verdict_pending(s))
ARRANGE(ran_and_fell, new_down(s); s->m.counted = false; s->m.member[0].started_new = true;
	verdict_pending(s))
ARRANGE(failed_and_rejected, s->w.old.state = STATE_EXITED; s->w.old.ended_alone = true;
	rejected(s))
ARRANGE(failed_with_a_fix, s->w.old.state = STATE_EXITED; s->w.old.ended_alone = true;
	s->m.answer.reply = (struct fetch_reply){.digest = {TARGET}})
ARRANGE(cannot_be_removed, failed_with_a_fix(s); s->w.old.state = STATE_REMOVING;
	s->w.old.cannot_be_removed = true)
ARRANGE(is_being_removed, s->w.old.state = STATE_REMOVING)
ARRANGE(never_started_with_a_fix, s->w.old.state = STATE_CREATED;
	SET(s->w.old.error, "no such device"); policy_unknown(s))
ARRANGE(exit_is_granted, ran_and_fell(s); s->m.member[0].restart_due = true)
ARRANGE(granted_start_counted, exit_is_granted(s); s->m.counted = true)
ARRANGE(new_being_removed, s->w.new.state = STATE_REMOVING;
	s->m.counted = s->m.member[0].started_new = false; verdict_pending(s))
ARRANGE(old_being_removed, s->w.old.state = STATE_REMOVING; SET(s->w.old.policy, "always"))
ARRANGE(both_being_removed, new_here(s); new_being_removed(s); s->w.old.id[0] = '\0')
ARRANGE(new_being_removed_unparked, new_not_parked(s); new_being_removed(s))
ARRANGE(new_paused, s->w.new.state = STATE_PAUSED; verdict_pending(s))
ARRANGE(one_shot, s->w.new.state = STATE_EXITED; SET(s->r.policy, "on-failure:3");
	SET(s->w.new.policy, "on-failure:3"))
ARRANGE(ended_but_is_to_stay, s->w.new.state = STATE_EXITED)
ARRANGE(new_renamed_by_others, s->w.new.slot = SLOT_OTHER)
ARRANGE(older_in_use, older_here(s); s->m.older_tried = true)
ARRANGE(same_image_in_commit, old_not_kept(s); SET(s->w.old.image, "image-new"))
ARRANGE(first_ever_failed, first_ever(s); new_here(s))
ARRANGE(both_are_gone, s->w.old.id[0] = '\0')
ARRANGE(did_not_serve, old_down(s); s->r.serving = false)
ARRANGE(old_fell_again, old_down(s); s->m.member[0].started_old = true)
ARRANGE(old_renamed_beside_another, another(s); s->w.old.slot = SLOT_OTHER)
ARRANGE(old_renamed_and_parked, old_renamed_beside_another(s); SET(s->w.old.policy, "no"))
ARRANGE(old_gone_beside_another, another(s); tag_ahead(s); s->w.old = (struct container_view){0};
	s->r.target.brought = false)
ARRANGE(new_beside_another, another(s); s->w.old = (struct container_view){0};
	s->w.new = new_one(SLOT_OTHER, STATE_EXITED, "no"))
ARRANGE(doubted, not_fetched(s); s->r.boot_id[0] = '\0')
ARRANGE(doubted_here, incomplete(s); s->r.boot_id[0] = '\0')
ARRANGE(doubted_vouched, doubted_here(s); s->m.fetched = true)
ARRANGE(doubted_unvouched, doubted_vouched(s); s->m.untrusted = true)
ARRANGE(doubted_dropped, doubted(s); s->m.drop_tried = s->m.dropped = true)
ARRANGE(unreadable, s->w.image[0] = '\0'; s->w.broken = true)
ARRANGE(unreadable_dropped, unreadable(s); s->m.drop_tried = s->m.dropped = true)
ARRANGE(told_damaged, s->m.damaged = s->m.fetched = true)
ARRANGE(target_in_use, target_image_here(s); s->m.drop_tried = true)
ARRANGE(target_of_others, target_image_here(s); s->r.target.brought = false)

ARRANGE(no_answer_not_synced, no_answer(s); s->r.synced = false)
ARRANGE(no_answer_under_policy, no_answer(s); s->r.rollout_sequence = 1)
ARRANGE(image_of_others, no_answer(s); s->w.image[0] = '\0')
ARRANGE(going_back, s->r.rollback = true; SET(s->w.old.image, "image-old");
	s->r.previous = (struct release){.digest = {TARGET}, .image = "image-new"};
	s->r.current = (struct release){.digest = {OTHER}, .image = "image-old"}; no_answer(s);
	window_shut(s); held(s))
ARRANGE(going_back_in_vain, going_back(s); s->w.image[0] = '\0')
ARRANGE(only_finish, s->m.operation = OPERATION_FINISH)
ARRANGE(first_ever_created, no_container(s); s->c.create = (char *)"create.json")
ARRANGE(held_check, held(s); only_a_check(s))
ARRANGE(hold_is_over, held(s); s->r.hold.until_s = s->m.now_s)
ARRANGE(hold_goes_on, held(s); s->r.hold.until_s = s->m.now_s + 1)
ARRANGE(hold_without_clock, hold_is_over(s); s->m.now_s = 0)
ARRANGE(only_a_look, s->m.operation = OPERATION_LOOK; s->c.update = UPDATE_TELL)
ARRANGE(look_without_host, only_a_look(s); s->m.host_is_known = false)
ARRANGE(held_look, held(s); only_a_look(s))
ARRANGE(urgent, s->m.operation = OPERATION_UPDATE_NOW)
ARRANGE(urgent_too_young, too_young(s); urgent(s))
ARRANGE(urgent_download, download_shut(s); urgent(s))
ARRANGE(urgent_window, window_shut(s); urgent(s))
ARRANGE(urgent_held, held(s); urgent(s))
ARRANGE(urgent_rejected, rejected(s); urgent(s))
ARRANGE(listed, s->m.answer.listed = true)
ARRANGE(back_at_current, runs(s); SET(s->r.seen.text, OTHER); s->r.seen_s = 1)
ARRANGE(no_clock_for_age, too_young(s); s->m.now_s = 0)
ARRANGE(clock_went_back, too_young(s); s->r.seen_s += 1)
ARRANGE(old_enough, too_young(s); s->m.now_s += 1)
ARRANGE(policy_required, s->c.rollout = ROLLOUT_REQUIRED)
ARRANGE(policy_removed, s->r.rollout_sequence = 5)
ARRANGE(policy_removed_of_another, SET(s->r.rollout_state, ROLLOUT_SEEN))
ARRANGE(policy_removed_and_no, policy_removed(s); s->c.rollout = ROLLOUT_NO)
ARRANGE(policy_cleared_and_removed, policy_removed(s); SET(s->r.rollout_state, ROLLOUT_CLEARED))
ARRANGE(policy_lost, SET(s->r.rollout_state, ROLLOUT_LOST))
/* It would admit the candidate. */
ARRANGE(policy_found, s->m.policy.reply.found = true;
	s->m.policy.reply.rollout = (struct rollout){.sequence = 6,
						     .document = {OTHER},
						     .target = {TARGET},
						     .points = {{0, COHORT_ALL}},
						     .n_points = 1};
	s->r.rollout_sequence = 6; SET(s->r.rollout_policy.text, OTHER);
	SET(s->r.rollout_state, ROLLOUT_SEEN))
ARRANGE(policy_lost_and_required, policy_found(s); s->c.rollout = ROLLOUT_REQUIRED;
	SET(s->r.rollout_state, ROLLOUT_LOST))
ARRANGE(policy_of_earlier_pullet, policy_found(s); s->r.rollout_policy.text[0] = '\0')
ARRANGE(policy_rewritten, policy_found(s); SET(s->m.policy.reply.rollout.document.text, TARGET))
ARRANGE(policy_too_high, policy_found(s); s->m.policy.reply.rollout.sequence = (uint64_t)1 << 53)
ARRANGE(policy_of_another_image, policy_found(s); s->m.policy.reply.rollout.sequence = 7;
	SET(s->m.policy.reply.rollout.target.text, OTHER))
ARRANGE(first_policy_of_another_image, policy_of_another_image(s);
	(void)record_forget_policy(&s->r))
ARRANGE(policy_clears, policy_found(s); s->m.policy.reply.rollout.clear = true;
	SET(s->r.rollout_state, ROLLOUT_CLEARED))
ARRANGE(policy_clears_for_the_first_time, policy_clears(s); SET(s->r.rollout_state, ROLLOUT_SEEN))
ARRANGE(policy_clears_and_required, policy_clears(s); s->c.rollout = ROLLOUT_REQUIRED)
ARRANGE(policy_unreadable, s->m.policy.error.code = -EIO)
ARRANGE(policy_not_asked_for, not_admitted(s); s->c.rollout = ROLLOUT_NO)
ARRANGE(policy_of_a_digest, not_admitted(s); s->m.pinned = true)
ARRANGE(withheld_of_none, withheld(s); s->m.has_credentials = false)
ARRANGE(withheld_of_what_is_here, withheld(s); s->m.image_present = true)
ARRANGE(download_of_what_is_here, download_shut(s); s->m.image_present = true)
ARRANGE(broken_and_current, all_done(s, BLOCK_REPAIR))
ARRANGE(broken_and_rejected, all_done(s, BLOCK_REPAIR); registry_lost_it(s))
ARRANGE(remade_at_once, no_container(s); SET(s->m.saved_spec.text, TARGET); not_admitted(s);
	download_shut(s); too_young(s); no_container(s))
ARRANGE(remade_by_a_look, remade_at_once(s); only_a_look(s))

/* With keys. */
ARRANGE(floor_asked_before, floor_unknown(s); SET(s->r.floor.text, OTHER))
ARRANGE(floor_of_an_older_one, floor_unknown(s); SET(s->r.floor.text, TARGET))
ARRANGE(sequences_are_known, floor_unknown(s); s->r.n_sequences = 1)
ARRANGE(current_is_signed, floor_unknown(s); s->r.current.signature.n_keys = 1)
ARRANGE(current_is_of_no_registry, floor_unknown(s); s->r.current.digest.text[0] = '\0')
ARRANGE(signature_written, signature_unwritten(s); s->r.signed_candidate = s->m.signature)
ARRANGE(signed_elsewhere, signature_written(s); s->m.place = SIGNATURES_REFERRERS)
ARRANGE(signed_by_another_key, signature_written(s); s->m.signature.signature.n_keys = 1;
	SET(s->m.signature.signature.keys[0].id.text, OTHER))
ARRANGE(manifest_is_signed_now, signature_written(s); SET(s->r.signed_candidate.pulled.text, OTHER);
	s->m.signature = s->r.signed_candidate)
ARRANGE(manifest_is_signed, manifest_is_signed_now(s); SET(s->r.target.pulled.text, OTHER))
ARRANGE(policy_refused, s->m.policy.refused = true; SET(s->m.policy.manifest.text, OTHER))
ARRANGE(policy_of_no_text, s->m.policy.refused = true)
ARRANGE(policy_refused_before, policy_refused(s); SET(s->r.rollout_refused.text, OTHER))
ARRANGE(policy_refused_after_one, policy_refused_before(s); SET(s->r.rollout_state, ROLLOUT_SEEN))
ARRANGE(policy_refused_and_required, policy_refused_before(s); policy_required(s))
ARRANGE(policy_signed, policy_found(s); SET(s->m.policy.manifest.text, OTHER))
ARRANGE(policy_signed_by_others_now, policy_signed(s); SET(s->r.rollout_manifest.text, OTHER);
	s->m.policy.signature.n_keys = 1)
ARRANGE(policy_signed_before, policy_signed(s); SET(s->r.rollout_manifest.text, OTHER))

ARRANGE(before_exhausted, before_not_asked(s); s->c.before_deferrals = 2;
	s->r.deferred = (struct disturbed){{TARGET}, "", 2})
ARRANGE(before_almost_exhausted, before_exhausted(s); s->r.deferred.times = 1)
ARRANGE(before_exhausted_by_another, before_exhausted(s); SET(s->r.deferred.digest.text, OTHER))
ARRANGE(before_would_give_up, before_exhausted(s); s->c.before_then = HOOK_GIVE_UP)
ARRANGE(before_said_yes, before_not_asked(s); s->m.before.asked = true)
ARRANGE(before_a_rollback, before_not_asked(s); s->r.rollback = true; s->r.previous = s->r.target;
	SET(s->r.previous.image, "image-new"); SET(s->r.current.image, "image-old");
	SET(s->w.image, "image-new"); s->r.current.digest.text[0] = '\0')
ARRANGE(before_a_fix, before_not_asked(s); s->w.old.state = STATE_EXITED)
ARRANGE(health_of_a_bad_one, health_not_asked(s); verdict_bad(s))
ARRANGE(health_of_a_pending_one, health_not_asked(s); verdict_pending(s))
ARRANGE(health_said_yes, health_not_asked(s); s->m.health.asked = true)

static void test_situations(void **state)
{
	static const struct {
		enum block block;
		void (*arrange)(struct scene *);
		enum action action;
	} situations[] = {
		{BLOCK_PREPARE, not_synced_in_this_pass, ACT_FETCH},
		{BLOCK_PREPARE, incomplete_of_others, ACT_FETCH},
		{BLOCK_PREPARE, incomplete_in_use, ACT_FETCH},
		{BLOCK_PREPARE, doubted, ACT_FETCH},
		{BLOCK_PREPARE, doubted_here, ACT_DROP_TARGET},
		{BLOCK_PREPARE, doubted_vouched, ACT_DECIDE_SYNCED},
		{BLOCK_PREPARE, doubted_unvouched, ACT_DROP_TARGET},
		{BLOCK_PREPARE, doubted_dropped, ACT_DECIDE_FETCH},
		{BLOCK_PREPARE, unreadable, ACT_DROP_TARGET},
		{BLOCK_PREPARE, unreadable_dropped, ACT_DECIDE_FETCH},
		{BLOCK_PREPARE, told_damaged, ACT_DROP_TARGET},
		{BLOCK_PREPARE, pull_cut_in_other_boot, ACT_FETCH},
		{BLOCK_PREPARE, synced_and_removed, ACT_DECIDE_FETCH},
		{BLOCK_PREPARE, first_ever, ACT_DECIDE_TRIAL},
		{BLOCK_PREPARE, first_ever_tagged, ACT_DECIDE_TRIAL},
		{BLOCK_PREPARE, next_is_of_another, ACT_REMOVE_NEW},
		{BLOCK_PREPARE, next_is_of_none, ACT_REMOVE_NEW},
		{BLOCK_PREPARE, next_is_of_a_stopped_one, ACT_REMOVE_NEW},
		{BLOCK_PREPARE, stopped, ACT_DEFER},
		{BLOCK_PREPARE, paused, ACT_DEFER},
		{BLOCK_PREPARE, refused, ACT_DECIDE_FORGET},
		{BLOCK_PREPARE, blocker, ACT_DECIDE_FORGET},
		{BLOCK_PREPARE, rejected, ACT_DECIDE_FORGET},
		{BLOCK_PREPARE, runs, ACT_DECIDE_FORGET},
		{BLOCK_PREPARE, no_answer, ACT_DECIDE_TRIAL},
		{BLOCK_PREPARE, no_answer_not_synced, ACT_FAIL},
		{BLOCK_PREPARE, no_answer_under_policy, ACT_FAIL},
		{BLOCK_PREPARE, image_of_others, ACT_FAIL},
		{BLOCK_PREPARE, going_back, ACT_DECIDE_TRIAL},
		{BLOCK_PREPARE, going_back_in_vain, ACT_DECIDE_FORGET},
		{BLOCK_PREPARE, only_finish, ACT_NOTHING},
		{BLOCK_ASK, only_finish, ACT_NOTHING},
		{BLOCK_ASK, first_ever_created, ACT_DECIDE_PREPARE},
		{BLOCK_ASK, held_check, ACT_DEFER},
		{BLOCK_ASK, hold_is_over, ACT_DECIDE_PREPARE},
		{BLOCK_ASK, hold_goes_on, ACT_DEFER},
		{BLOCK_ASK, hold_without_clock, ACT_DEFER},
		{BLOCK_ASK, urgent_held, ACT_DEFER},
		{BLOCK_ASK, held_look, ACT_DEFER},
		{BLOCK_TAKE, only_a_look, ACT_DEFER},
		{BLOCK_TAKE, look_without_host, ACT_CHECK_HOST},
		{BLOCK_REPAIR, only_a_look, ACT_REMOVE_OLD}, /* it is no update */
		{BLOCK_TAKE, urgent_too_young, ACT_DECIDE_PREPARE},
		{BLOCK_TAKE, urgent_download, ACT_DECIDE_PREPARE},
		{BLOCK_TAKE, urgent_rejected, ACT_REFUSE},
		{BLOCK_PREPARE, urgent_window, ACT_DECIDE_TRIAL},
		{BLOCK_TAKE, listed, ACT_DECIDE_CURRENT},
		{BLOCK_TAKE, adopted, ACT_DECIDE_CURRENT},
		{BLOCK_TAKE, back_at_current, ACT_DECIDE_CURRENT},
		{BLOCK_TAKE, no_clock_for_age, ACT_DEFER},
		{BLOCK_TAKE, clock_went_back, ACT_DECIDE_SEEN},
		{BLOCK_TAKE, old_enough, ACT_DECIDE_PREPARE},
		{BLOCK_TAKE, policy_required, ACT_DEFER},
		{BLOCK_TAKE, policy_removed, ACT_DEFER},
		{BLOCK_TAKE, policy_removed_of_another, ACT_DEFER},
		{BLOCK_TAKE, policy_removed_and_no, ACT_DECIDE_PREPARE},
		{BLOCK_TAKE, policy_cleared_and_removed, ACT_DECIDE_PREPARE},
		{BLOCK_TAKE, policy_lost, ACT_DECIDE_PREPARE},
		{BLOCK_TAKE, policy_found, ACT_DECIDE_PREPARE},
		{BLOCK_TAKE, policy_lost_and_required, ACT_DEFER},
		{BLOCK_TAKE, policy_of_earlier_pullet, ACT_DECIDE_SEQUENCE},
		{BLOCK_TAKE, policy_rewritten, ACT_DEFER},
		{BLOCK_TAKE, policy_too_high, ACT_DEFER},
		{BLOCK_TAKE, policy_of_another_image, ACT_DEFER},
		{BLOCK_TAKE, first_policy_of_another_image, ACT_DECIDE_SEQUENCE},
		{BLOCK_TAKE, policy_clears, ACT_DECIDE_PREPARE},
		{BLOCK_TAKE, policy_clears_for_the_first_time, ACT_DECIDE_SEQUENCE},
		{BLOCK_TAKE, policy_clears_and_required, ACT_DEFER},
		{BLOCK_TAKE, policy_unreadable, ACT_DEFER},
		{BLOCK_TAKE, policy_not_asked_for, ACT_DECIDE_PREPARE},
		{BLOCK_TAKE, policy_of_a_digest, ACT_DECIDE_PREPARE},
		{BLOCK_TAKE, floor_asked_before, ACT_DECIDE_PREPARE},
		{BLOCK_TAKE, floor_of_an_older_one, ACT_ASK_FLOOR},
		{BLOCK_TAKE, sequences_are_known, ACT_ASK_FLOOR},
		{BLOCK_TAKE, current_is_signed, ACT_DECIDE_PREPARE},
		{BLOCK_TAKE, current_is_of_no_registry, ACT_DECIDE_PREPARE},
		{BLOCK_TAKE, signature_written, ACT_DECIDE_PREPARE},
		{BLOCK_TAKE, signed_elsewhere, ACT_DECIDE_SIGNATURE},
		{BLOCK_TAKE, signed_by_another_key, ACT_DECIDE_SIGNATURE},
		{BLOCK_PREPARE, signature_written, ACT_DECIDE_TRIAL},
		{BLOCK_PREPARE, manifest_is_signed_now, ACT_DECIDE_FORGET},
		{BLOCK_PREPARE, manifest_is_signed, ACT_DECIDE_TRIAL},
		{BLOCK_TAKE, policy_refused, ACT_DECIDE_SEQUENCE},
		{BLOCK_TAKE, policy_refused_before, ACT_DECIDE_PREPARE},
		{BLOCK_TAKE, policy_of_no_text, ACT_DECIDE_PREPARE},
		{BLOCK_TAKE, policy_refused_after_one, ACT_DEFER},
		{BLOCK_TAKE, policy_refused_and_required, ACT_DEFER},
		{BLOCK_TAKE, policy_signed, ACT_DECIDE_SEQUENCE},
		{BLOCK_TAKE, policy_signed_before, ACT_DECIDE_PREPARE},
		{BLOCK_TAKE, policy_signed_by_others_now, ACT_DECIDE_SEQUENCE},
		{BLOCK_TAKE, withheld_of_none, ACT_DECIDE_PREPARE},
		{BLOCK_TAKE, withheld_of_what_is_here, ACT_DECIDE_PREPARE},
		{BLOCK_TAKE, download_of_what_is_here, ACT_DECIDE_PREPARE},
		{BLOCK_TAKE, broken_and_current, ACT_REMOVE_OLD},
		{BLOCK_TAKE, broken_and_rejected, ACT_ASK_DETAILS},
		{BLOCK_TAKE, remade_at_once, ACT_DECIDE_PREPARE},
		{BLOCK_TAKE, remade_by_a_look, ACT_DECIDE_PREPARE},
		{BLOCK_PREPARE, old_was_removed, ACT_DECIDE_FORGET},
		{BLOCK_PREPARE, tag_moved_on, ACT_DECIDE_FORGET},
		{BLOCK_PREPARE, old_was_removed_but_can_be_made, ACT_REMOVE_NEW},
		{BLOCK_PREPARE, tag_of_others, ACT_DECIDE_TRIAL},
		{BLOCK_PREPARE, same_image, ACT_DECIDE_TRIAL},
		{BLOCK_TRIAL, first_ever, ACT_DECIDE_COMMIT},
		{BLOCK_TRIAL, third_start_counted, ACT_START_NEW},
		{BLOCK_TRIAL, third_start_runs, ACT_PROBE},
		{BLOCK_TRIAL, ran_and_fell, ACT_PROBE},
		{BLOCK_TAKE, failed_and_rejected, ACT_FAIL},
		{BLOCK_TAKE, cannot_be_removed, ACT_FAIL},
		{BLOCK_TAKE, is_being_removed, ACT_DEFER},
		{BLOCK_TAKE, failed_with_a_fix, ACT_ASK_DETAILS},
		{BLOCK_TAKE, never_started_with_a_fix, ACT_ASK_POLICY},
		{BLOCK_TRIAL, exit_is_granted, ACT_DECIDE_START},
		{BLOCK_TRIAL, granted_start_counted, ACT_START_NEW},
		{BLOCK_TRIAL, new_paused, ACT_PROBE},
		{BLOCK_PREPARE, before_exhausted, ACT_DECIDE_TRIAL},
		{BLOCK_PREPARE, before_almost_exhausted, ACT_ASK_BEFORE},
		{BLOCK_PREPARE, before_exhausted_by_another, ACT_ASK_BEFORE},
		{BLOCK_PREPARE, before_would_give_up, ACT_ASK_BEFORE},
		{BLOCK_PREPARE, before_said_yes, ACT_DECIDE_TRIAL},
		{BLOCK_PREPARE, before_a_rollback, ACT_DECIDE_TRIAL},
		{BLOCK_PREPARE, before_a_fix, ACT_REMOVE_NEW},
		{BLOCK_TRIAL, health_of_a_bad_one, ACT_DECIDE_REVERT},
		{BLOCK_TRIAL, health_of_a_pending_one, ACT_PROBE},
		{BLOCK_TRIAL, health_said_yes, ACT_DECIDE_COMMIT},
		{BLOCK_TRIAL, new_being_removed, ACT_DECIDE_REVERT},
		{BLOCK_TRIAL, old_being_removed, ACT_DECIDE_COMMIT},
		{BLOCK_TRIAL, one_shot, ACT_DECIDE_COMMIT},
		{BLOCK_TRIAL, ended_but_is_to_stay, ACT_DECIDE_START},
		{BLOCK_TRIAL, new_renamed_by_others, ACT_RENAME_NEW},
		{BLOCK_COMMIT, new_renamed_by_others, ACT_RENAME_NEW},
		{BLOCK_COMMIT, new_being_removed, ACT_DECIDE_REVERT},
		{BLOCK_COMMIT, one_shot, ACT_DECIDE_IDLE},
		{BLOCK_COMMIT, ended_but_is_to_stay, ACT_START_NEW},
		{BLOCK_COMMIT, older_in_use, ACT_DECIDE_IDLE},
		{BLOCK_COMMIT, same_image_in_commit, ACT_REMOVE_OLD},
		{BLOCK_REVERT, first_ever, ACT_DECIDE_IDLE},
		{BLOCK_REVERT, first_ever_failed, ACT_REMOVE_NEW},
		{BLOCK_REVERT, first_ever_tagged, ACT_RESTORE_TAG},
		{BLOCK_REVERT, both_are_gone, ACT_DECIDE_IDLE},
		{BLOCK_REVERT, both_being_removed, ACT_REMOVE_NEW},
		{BLOCK_REVERT, new_being_removed_unparked, ACT_REMOVE_NEW},
		{BLOCK_REVERT, did_not_serve, ACT_DECIDE_IDLE},
		{BLOCK_REVERT, old_fell_again, ACT_DECIDE_IDLE},
		{BLOCK_COMMIT, another, ACT_DECIDE_IDLE},
		{BLOCK_COMMIT, new_beside_another, ACT_POLICY_NEW},
		{BLOCK_REVERT, old_renamed_beside_another, ACT_DECIDE_IDLE},
		{BLOCK_REVERT, old_renamed_and_parked, ACT_POLICY_OLD},
		{BLOCK_REVERT, old_gone_beside_another, ACT_DECIDE_IDLE},
		{BLOCK_REVERT, new_beside_another, ACT_REMOVE_NEW},
		{BLOCK_REVERT, target_in_use, ACT_DECIDE_IDLE},
		{BLOCK_REVERT, target_of_others, ACT_DECIDE_IDLE},
		{BLOCK_REVERT, same_image, ACT_DECIDE_IDLE},
	};

	for (size_t i = 0; i < ARRAY_SIZE(situations); i++) {
		_cleanup_free_ char *number = xasprintf("situation %zu", i);
		struct scene s;

		all_done(&s, situations[i].block);
		situations[i].arrange(&s);
		expect_next(&s, situations[i].action, number, "-");
	}
}

/* What is written down of a policy, and that it is written once. */
static void test_decide_sequence(void **state)
{
	static const struct {
		void (*arrange)(struct scene *);
		uint64_t sequence;
		const char *state;
	} cases[] = {
		{sequence_unwritten, 5, ROLLOUT_SEEN},
		{policy_of_earlier_pullet, 6, ROLLOUT_SEEN},
		{first_policy_of_another_image, 0, ROLLOUT_SEEN},
		{policy_clears_for_the_first_time, 6, ROLLOUT_CLEARED},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct scene s;

		all_done(&s, BLOCK_TAKE);
		cases[i].arrange(&s);
		expect_next(&s, ACT_DECIDE_SEQUENCE, "arranged", "-");
		plan_decide(&s.r, &s.m, ACT_DECIDE_SEQUENCE, &s.w);
		assert_int_equal(s.r.rollout_sequence, cases[i].sequence);
		assert_string_equal(s.r.rollout_state, cases[i].state);
		assert_int_not_equal(plan_next(&s.c, &s.r, &s.w, &s.m).action, ACT_DECIDE_SEQUENCE);
	}
}

/* Whose artifact was verified, and whose was not: neither is asked for or told again. */
static void test_decide_signed_policy(void **state)
{
	struct scene s;

	all_done(&s, BLOCK_TAKE);
	policy_signed(&s);
	s.m.policy.signature.n_keys = 1;
	SET(s.m.policy.signature.keys[0].id.text, TARGET);
	plan_decide(&s.r, &s.m, ACT_DECIDE_SEQUENCE, &s.w);
	assert_string_equal(s.r.rollout_manifest.text, OTHER);
	assert_string_equal(s.r.rollout_refused.text, "");
	expect_next(&s, ACT_DECIDE_PREPARE, "written", "-");
	/* A refused one leaves what is known of the one before. */
	SET(s.r.rollout_manifest.text, TARGET);
	s.m.policy = (struct policy_answer){.known = true, .refused = true, .manifest = {OTHER}};
	plan_decide(&s.r, &s.m, ACT_DECIDE_SEQUENCE, &s.w);
	assert_string_equal(s.r.rollout_refused.text, OTHER);
	assert_string_equal(s.r.rollout_manifest.text, TARGET);
	assert_int_equal(s.r.rollout_sequence, 6);
	assert_string_equal(s.r.rollout_state, ROLLOUT_SEEN);
	expect_next(&s, ACT_DEFER, "removed", "-");
}

static const struct signature by_one_key = {
	.keys = {{.name = "prod.pub", .id = {OTHER}, .seq = 43}}, .n_keys = 1, .expires_s = 7};

static void test_decide_floor(void **state)
{
	struct scene s;

	all_done(&s, BLOCK_TAKE);
	floor_unwritten(&s);
	s.m.floor[0] = (struct key_sequence){{TARGET}, 5, {OTHER}};
	s.m.n_floor = 1;
	plan_decide(&s.r, &s.m, ACT_DECIDE_FLOOR, &s.w);
	assert_int_equal(record_sequence(&s.r, &(struct digest){TARGET}), 5);
	assert_string_equal(s.r.floor.text, OTHER);
	expect_next(&s, ACT_DECIDE_PREPARE, "written", "-");
	/* None was found: that is not asked again either. */
	s.r.n_sequences = 0;
	s.m = (struct pass_state){0};
	assert_int_not_equal(plan_next(&s.c, &s.r, &s.w, &s.m).action, ACT_ASK_FLOOR);
}

/* What runs and has expired is asked for once in a pass, and only with a clock and a key. */
static void test_decide_renewal(void **state)
{
	struct scene s;

	all_done(&s, BLOCK_TAKE);
	expired(&s);
	expect_next(&s, ACT_ASK_RENEWAL, "expired", "-");
	s.m.now_s--;
	expect_next(&s, ACT_UP_TO_DATE, "not yet", "-");
	s.m.now_s = 0;
	expect_next(&s, ACT_UP_TO_DATE, "no clock", "-");
	s.m.now_s = s.r.current.signature.expires_s + 5;
	s.m.renewal_known = true;
	expect_next(&s, ACT_DECIDE_RENEWAL, "asked", "-");
	/* There was none: what is known stays. */
	plan_decide(&s.r, &s.m, ACT_DECIDE_RENEWAL, &s.w);
	assert_int_equal(s.r.renewal_s, s.m.now_s);
	assert_true(record_has_expired(&s.r, s.m.now_s));
	expect_next(&s, ACT_UP_TO_DATE, "asked and written", "-");
	s.m.renewal = by_one_key;
	s.m.renewal.expires_s = s.m.now_s + 1;
	plan_decide(&s.r, &s.m, ACT_DECIDE_RENEWAL, &s.w);
	assert_false(record_has_expired(&s.r, s.m.now_s));
	assert_int_equal(record_sequence(&s.r, &(struct digest){OTHER}), 43);
	assert_string_equal(s.r.sequences[0].digest.text, TARGET);
	s.m = (struct pass_state){.renewal_known = true, .renewal_written = true};
	s.c.keys = NULL;
	assert_int_not_equal(plan_next(&s.c, &s.r, &s.w, &s.m).action, ACT_ASK_RENEWAL);
}

/* By whom the candidate is signed goes with it, and only a version that stays rules out older ones. */
static void test_decide_signature(void **state)
{
	struct scene s;

	all_done(&s, BLOCK_TAKE);
	signature_unwritten(&s);
	SET(s.m.signature.pulled.text, OTHER);
	SET(s.m.answer.reply.manifest.text, OTHER);
	s.m.signature.signature = by_one_key;
	s.m.place = SIGNATURES_FALLBACK;
	plan_decide(&s.r, &s.m, ACT_DECIDE_SIGNATURE, &s.w);
	assert_int_equal(s.r.place, SIGNATURES_FALLBACK);
	assert_string_equal(s.r.signed_candidate.pulled.text, OTHER);
	expect_next(&s, ACT_DECIDE_PREPARE, "written", "-");
	plan_decide(&s.r, &s.m, ACT_DECIDE_PREPARE, &s.w);
	assert_string_equal(s.r.target.digest.text, TARGET);
	assert_string_equal(s.r.target.pulled.text, OTHER);
	assert_true(signature_eq(&s.r.target.signature, &by_one_key));
	assert_int_equal(s.r.n_sequences, 0);
	/* Others signed it meanwhile. */
	s.m.signature.signature.keys[0].seq = 44;
	plan_decide(&s.r, &s.m, ACT_DECIDE_SIGNATURE, &s.w);
	assert_int_equal(s.r.target.signature.keys[0].seq, 44);

	for (enum phase phase = PHASE_COMMIT; phase <= PHASE_REVERT; phase++) {
		for (int rollback = 0; rollback < 2; rollback++) {
			struct record r = s.r;

			r.phase = phase;
			r.rollback = rollback;
			plan_decide(&r, &s.m, ACT_DECIDE_IDLE, &s.w);
			if (phase == PHASE_REVERT || rollback) {
				assert_int_equal(r.n_sequences, 0);
				assert_int_equal(r.statement_s, 0);
				continue;
			}
			assert_int_equal(record_sequence(&r, &(struct digest){OTHER}), 44);
			assert_string_equal(r.sequences[0].digest.text, OTHER);
			assert_int_equal(r.statement_s, s.m.now_s);
			assert_int_equal(r.current.signature.keys[0].seq, 44);
			assert_string_equal(r.signed_candidate.digest.text, "");
		}
	}
}

/* A previous version that was signed at the registry, and an index that changed around the manifest that runs. */
static void test_signature_stays_with_its_release(void **state)
{
	struct scene s;

	all_done(&s, BLOCK_ROLLBACK);
	signature_unwritten(&s);
	s.m.signature.signature = by_one_key;
	plan_decide(&s.r, &s.m, ACT_DECIDE_PREPARE, &s.w);
	assert_true(s.r.rollback && signature_eq(&s.r.target.signature, &by_one_key));
	assert_string_equal(s.r.target.pulled.text, "");

	all_done(&s, BLOCK_ASK);
	s.r.current = (struct release){.digest = {OTHER}, .image = "image-old"};
	s.r.current.signature = by_one_key;
	s.m.answer.listed = true;
	plan_decide(&s.r, &s.m, ACT_DECIDE_CURRENT, &s.w);
	assert_string_equal(s.r.current.digest.text, TARGET);
	assert_string_equal(release_pulled(&s.r.current)->text, OTHER);
	assert_true(signature_eq(&s.r.current.signature, &by_one_key));
	/* What others put in its place is not signed. */
	SET(s.w.old.image, "image-of-others");
	plan_decide(&s.r, &s.m, ACT_DECIDE_CURRENT, &s.w);
	assert_int_equal(s.r.current.signature.n_keys, 0);
}

static void test_decide_on_the_way(void **state)
{
	struct scene s;

	all_done(&s, BLOCK_PREPARE);
	SET(s.r.boot_id, "boot before");
	plan_decide(&s.r, &s.m, ACT_DECIDE_FETCH, &s.w);
	assert_false(s.r.synced);
	assert_string_equal(s.r.boot_id, "boot");
	s.m.fetched = s.m.untrusted = true;
	plan_decide(&s.r, &s.m, ACT_DECIDE_SYNCED, &s.w);
	assert_true(s.r.synced && s.r.phase == PHASE_PREPARE);
	assert_string_equal(s.r.boot_id, "");
	s.m.untrusted = false;
	plan_decide(&s.r, &s.m, ACT_DECIDE_SYNCED, &s.w);
	assert_string_equal(s.r.boot_id, "boot");
	/* Something may lie about, until all of it is dropped. */
	SET(s.r.boot_id, "");
	plan_decide(&s.r, &s.m, ACT_DECIDE_FETCH, &s.w);
	assert_string_equal(s.r.boot_id, "");
	s.m.dropped = true;
	plan_decide(&s.r, &s.m, ACT_DECIDE_FETCH, &s.w);
	assert_string_equal(s.r.boot_id, "boot");

	s.r.starts = 2;
	s.r.old_id[0] = s.r.new_id[0] = s.r.policy[0] = '\0';
	s.r.serving = false;
	s.r.downtime_ms = 5;
	plan_decide(&s.r, &s.m, ACT_DECIDE_TRIAL, &s.w);
	assert_true(s.r.phase == PHASE_TRIAL && s.r.starts == 0 && s.r.downtime_ms == -1);
	assert_string_equal(s.r.old_id, "old");
	assert_string_equal(s.r.new_id, "new");
	assert_string_equal(s.r.policy, "always");
	assert_true(s.r.serving);

	for (unsigned int n = 1; n <= PLAN_STARTS_MAX; n++) {
		s.m.counted = false;
		plan_decide(&s.r, &s.m, ACT_DECIDE_START, &s.w);
		assert_true(s.m.counted && s.r.starts == n && s.r.phase == PHASE_TRIAL);
	}
	s.w.old.finished_ns = 5000000000;
	s.w.new.started_ns = 5123999999;
	plan_decide(&s.r, &s.m, ACT_DECIDE_COMMIT, &s.w);
	assert_true(s.r.phase == PHASE_COMMIT && s.r.downtime_ms == 123);
	assert_string_equal(s.r.target.image, "image-new");

	/* Commit over: what was current can be gone back to, and old complaints are settled. */
	SET(s.r.current.digest.text, OTHER);
	SET(s.r.last_error, "the link was down");
	plan_decide(&s.r, &s.m, ACT_DECIDE_IDLE, &s.w);
	assert_true(s.r.phase == PHASE_IDLE && s.r.n_rejected == 0 && !s.r.last_error[0]);
	assert_string_equal(s.r.current.digest.text, TARGET);
	assert_string_equal(s.r.current.image, "image-new");
	assert_string_equal(s.r.previous.digest.text, OTHER);
	s.r.phase = PHASE_COMMIT; /* the same again: the way back stays what it was */
	plan_decide(&s.r, &s.m, ACT_DECIDE_IDLE, &s.w);
	assert_string_equal(s.r.previous.digest.text, OTHER);
}

/* The tag points to the version that runs again: nothing is waited for, and what is known of it stays. */
static void test_decide_current_again(void **state)
{
	const struct release current = {
		.digest = {TARGET}, .manifest = {OTHER}, .image = "image-old", .brought = true};
	struct scene s;

	all_done(&s, BLOCK_ASK);
	s.r.current = current;
	s.m.answer.reply.manifest = (struct digest){0};
	SET(s.r.seen.text, OTHER);
	s.r.seen_s = 1;
	plan_decide(&s.r, &s.m, ACT_DECIDE_CURRENT, &s.w);
	assert_string_equal(s.r.seen.text, "");
	assert_int_equal(s.r.seen_s, 0);
	assert_memory_equal(&s.r.current, &current, sizeof(current));
}

/* The first update of a container can be rolled back, whether or not its image has a digest. */
static void test_decide_current_of_an_adopted_one(void **state)
{
	for (int listed = 0; listed < 2; listed++) {
		struct scene s;

		all_done(&s, BLOCK_TAKE);
		adopted(&s);
		SET(s.r.seen.text, TARGET);
		SET(s.m.answer.runs.text, listed ? OTHER : "");
		expect_next(&s, ACT_DECIDE_CURRENT, "adopted", "-");
		plan_decide(&s.r, &s.m, ACT_DECIDE_CURRENT, &s.w);
		assert_string_equal(s.r.current.digest.text, listed ? OTHER : "");
		assert_string_equal(s.r.current.image, "image-old");
		assert_string_equal(s.r.seen.text, TARGET);
		assert_false(s.r.current.brought);
		expect_next(&s, ACT_DECIDE_PREPARE, "nothing", "-");
		s.r.phase = PHASE_COMMIT;
		SET(s.r.target.image, "image-new");
		plan_decide(&s.r, &s.m, ACT_DECIDE_IDLE, &s.w);
		assert_string_equal(s.r.previous.image, "image-old");

		SET(s.w.old.image, s.r.current.image);
		s.m.operation = OPERATION_ROLLBACK;
		s.m.image_present = true;
		s.m.verified = s.r.previous.digest;
		expect_next(&s, listed ? ACT_DECIDE_PREPARE : ACT_VERIFY, "verified", "-");
		s.m.no_key_demands = true;
		expect_next(&s, ACT_DECIDE_PREPARE, "verified, or without a digest", "-");
		plan_decide(&s.r, &s.m, ACT_DECIDE_PREPARE, &s.w);
		s.r.phase = PHASE_COMMIT;
		plan_decide(&s.r, &s.m, ACT_DECIDE_IDLE, &s.w);
		assert_int_equal(s.r.n_rejected, 1);
		assert_string_equal(s.r.rejected[0].digest.text, TARGET);
		/* Forward again: what has no digest cannot be rejected. */
		s.r.phase = PHASE_REVERT;
		s.r.reject_target = true;
		plan_decide(&s.r, &s.m, ACT_DECIDE_IDLE, &s.w);
		assert_int_equal(s.r.n_rejected, 1 + listed);
	}
}

/* An operator put another version in place of the one that is written down: that one is gone back to. */
static void test_decide_prepare_after_a_replacement(void **state)
{
	struct scene s;

	all_done(&s, BLOCK_TAKE);
	SET(s.m.answer.runs.text, "sha256:3");
	plan_decide(&s.r, &s.m, ACT_DECIDE_PREPARE, &s.w);
	assert_string_equal(s.r.current.digest.text, "sha256:3");
	assert_string_equal(s.r.current.image, "image-old");
	/* It is the previous one, of which more is known. */
	all_done(&s, BLOCK_TAKE);
	s.r.previous = (struct release){.digest = {OTHER}, .image = "image-old", .brought = true};
	plan_decide(&s.r, &s.m, ACT_DECIDE_PREPARE, &s.w);
	assert_memory_equal(&s.r.current, &s.r.previous, sizeof(s.r.current));
}

static void test_decide_trial_without_service(void **state)
{
	static const enum container_state states[] = {STATE_CREATED, STATE_EXITED};

	for (size_t i = 0; i <= ARRAY_SIZE(states); i++) {
		struct scene s;

		all_done(&s, BLOCK_PREPARE);
		if (i < ARRAY_SIZE(states))
			s.w.old.state = states[i];
		else
			s.w.old = (struct container_view){.state = STATE_RUNNING};
		plan_decide(&s.r, &s.m, ACT_DECIDE_TRIAL, &s.w);
		assert_false(s.r.serving);
		assert_string_equal(s.r.old_id, i < ARRAY_SIZE(states) ? "old" : "");
		plan_decide(&s.r, &s.m, ACT_DECIDE_COMMIT, &s.w);
		assert_int_equal(s.r.downtime_ms, -1);
	}
}

static void test_decide_revert(void **state)
{
	static const struct {
		bool new_is_gone;
		enum verdict verdict;
		const char *said, *reason;
		bool reject_target;
	} reverts[] = {
		{true, VERDICT_PENDING, "", "the new container was removed externally", false},
		{false, VERDICT_BAD, "it exited with status 3", "it exited with status 3", true},
		{false, VERDICT_PENDING, "", "it did not stay up in 3 starts", true},
		{false, VERDICT_PENDING, "no such file",
		 "it did not stay up in 3 starts: no such file", true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(reverts); i++) {
		struct scene s;

		all_done(&s, BLOCK_TRIAL);
		s.w.new.id[0] = reverts[i].new_is_gone ? '\0' : 'n';
		s.m.verdict = reverts[i].verdict;
		SET(s.m.reason, reverts[i].said);
		plan_decide(&s.r, &s.m, ACT_DECIDE_REVERT, &s.w);
		assert_int_equal(s.r.phase, PHASE_REVERT);
		assert_string_equal(s.r.reason, reverts[i].reason);
		assert_int_equal(s.r.reject_target, reverts[i].reject_target);
		s.w.old.finished_ns = 1000000;
		s.w.old.started_ns = 8000000;
		SET(s.r.current.digest.text, OTHER);
		plan_decide(&s.r, &s.m, ACT_DECIDE_IDLE, &s.w);
		assert_int_equal(s.r.phase, PHASE_IDLE);
		assert_string_equal(s.r.current.digest.text, OTHER);
		assert_false(digest_is_set(&s.r.previous.digest));
		assert_string_equal(s.r.last_error, reverts[i].reason);
		assert_int_equal(s.r.n_rejected, reverts[i].reject_target);
		assert_int_equal(record_rejected(&s.r, &s.r.target.digest, "") != NULL,
				 reverts[i].reject_target);
		assert_int_equal(s.r.downtime_ms, 7);
	}
}

/* Others remove the container on trial, and the engine is not through with it. */
static void test_decide_revert_of_what_others_remove(void **state)
{
	static const struct {
		enum container_state state;
		bool in_conflict;
		enum verdict verdict;
		const char *reason;
	} reverts[] = {
		{STATE_REMOVING, false, VERDICT_PENDING,
		 "the new container was removed externally"},
		{STATE_REMOVING, false, VERDICT_BAD, "the new container was removed externally"},
		{STATE_REMOVING, true, VERDICT_PENDING, "the new container was removed externally"},
		{STATE_CREATED, true, VERDICT_PENDING,
		 "it did not stay up in 3 starts: marked for removal"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(reverts); i++) {
		struct scene s;

		all_done(&s, BLOCK_TRIAL);
		s.w.new.state = reverts[i].state;
		s.m.in_conflict = reverts[i].in_conflict;
		s.m.verdict = reverts[i].verdict;
		SET(s.m.reason, "marked for removal");
		plan_decide(&s.r, &s.m, ACT_DECIDE_REVERT, &s.w);
		assert_true(s.r.phase == PHASE_REVERT && !s.r.reject_target);
		assert_int_equal(s.r.disturbed.times, 1);
		assert_string_equal(s.r.reason, reverts[i].reason);
	}
}

/* What the engine says of the host blames no image, and what old meets neither. */
static void test_decide_revert_for_the_host(void **state)
{
	static const char device[] =
		"error gathering device information while adding custom device "
		"\"/dev/ttyACM0\": no such file or directory";
	static const struct {
		bool host_said;
		const char *reason, *error;
		const char *boot_id;
		bool serving, host;
		unsigned int times;
	} reverts[] = {
		{true, device, "", "boot", true, true, 1},
		{true, device, "", "boot", false, true, 0},
		{true, device, "", "boot before", true, true, 1}, /* nor is the store */
		{false, "", device, "boot", true, true, 1},	  /* after a crash */
		{false, "", "unable to find user x: no matching entries in passwd file", "boot",
		 true, false, 0},
		{false, "exec: no such file", "", "boot", true, false, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(reverts); i++) {
		struct scene s;

		all_done(&s, BLOCK_TRIAL);
		s.r.starts = PLAN_STARTS_MAX;
		s.r.serving = reverts[i].serving;
		s.w.new.state = STATE_CREATED;
		s.m.host_said = reverts[i].host_said;
		SET(s.m.reason, reverts[i].reason);
		SET(s.w.new.error, reverts[i].error);
		SET(s.r.boot_id, reverts[i].boot_id);
		plan_decide(&s.r, &s.m, ACT_DECIDE_REVERT, &s.w);
		assert_int_equal(s.r.host.refused, reverts[i].host);
		assert_int_equal(s.r.host.times, reverts[i].times);
		assert_int_equal(s.r.reject_target, !reverts[i].host);
		if (!reverts[i].host)
			continue;
		assert_string_equal(s.r.damage.digest.text, "");
		plan_decide(&s.r, &s.m, ACT_DECIDE_AGAIN, &s.w);
		assert_int_equal(s.r.phase, PHASE_PREPARE);
		assert_true(s.r.synced && s.r.target.brought && !s.r.host.refused);
		assert_int_equal(s.r.n_rejected, 0);
		assert_non_null(strstr(s.r.last_error, "the host could not start it: "));
	}
}

/* The third time that old was stopped in vain is the last, in this boot. */
static void test_a_host_that_refuses_each_time(void **state)
{
	struct scene s;

	all_done(&s, BLOCK_PREPARE);
	s.w.new = (struct container_view){0};
	s.r.serving = true;
	for (int i = 0; i < RECORD_HOST_MAX; i++) {
		expect_next(&s, ACT_CREATE, "it may be tried", "-");
		record_host_refused(&s.r, s.w.boot_id, s.m.engine);
	}
	expect_next(&s, ACT_DEFER, "it was tried", "-");
	s.w.old.state = STATE_EXITED;
	SET(s.w.old.error, "network x not found");
	expect_next(&s, ACT_CREATE, "there is nothing to lose", "-");
	s.w.old = old_one(SLOT_MAIN, STATE_RUNNING, "always");
	SET(s.w.boot_id, "next boot");
	expect_next(&s, ACT_CREATE, "another boot", "-");
}

/* What a torn store may have done is not put down to the release. */
static void test_decide_revert_for_the_store(void **state)
{
	static const struct {
		const char *pulled_in, *said;
		int exit_code;
		bool reject_target;
	} reverts[] = {
		{"boot", "layer does not exist", 0, false},
		{"boot before", "layer does not exist", 0, false},
		{"boot", "it exited with status 255; last log line: exec format error", 255, true},
		{"boot before", "it exited with status 255; last log line: exec format error", 255,
		 false},
		{"", "exec: no such file or directory", 127, false},
		{"boot before", "it exited with status 127", 127, false},
		{"boot before", "it exited with status 3; last log line: giving up", 3, true},
		/* A container may write any words. */
		{"boot", "it exited with status 1; last log line: layer does not exist", 1, true},
		{"boot before", "it exited with status 1; last log line: unexpected EOF", 1, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(reverts); i++) {
		struct scene s;

		all_done(&s, BLOCK_TRIAL);
		s.w.new.state = STATE_EXITED;
		s.w.new.exit_code = reverts[i].exit_code;
		s.m.verdict = VERDICT_BAD;
		s.r.target.brought = false;
		SET(s.m.reason, reverts[i].said);
		s.m.store_said = streq(reverts[i].said, "layer does not exist");
		SET(s.r.boot_id, reverts[i].pulled_in);
		plan_decide(&s.r, &s.m, ACT_DECIDE_REVERT, &s.w);
		assert_int_equal(s.r.reject_target, reverts[i].reject_target);
		/* It goes, whoever brought it, so that the next try pulls it. */
		assert_int_equal(s.r.target.brought, !reverts[i].reject_target);
		assert_int_equal(s.r.damage.tries, !reverts[i].reject_target);
		plan_decide(&s.r, &s.m, ACT_DECIDE_IDLE, &s.w);
		assert_int_equal(s.r.n_rejected, reverts[i].reject_target);
		assert_int_equal(strncmp(s.r.last_error, "engine-store-damaged: ", 22) == 0,
				 !reverts[i].reject_target);
	}
}

/* What served before does not start any more either. */
static void test_decide_idle_for_the_store(void **state)
{
	static const struct {
		const char *error;
		int exit_code;
		bool serving, rejected;
	} olds[] = {
		{"", 0, true, true},
		{"", 137, true, true},
		{"", 127, true, false},
		{"", 127, false, true},
		{"error creating overlay mount to /x", 128, false, false},
		{"driver failed: port is already allocated", 128, true, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(olds); i++) {
		struct scene s;

		all_done(&s, BLOCK_REVERT);
		s.r.reject_target = true;
		s.r.serving = olds[i].serving;
		s.w.old.state = STATE_EXITED;
		s.w.old.exit_code = olds[i].exit_code;
		SET(s.w.old.error, olds[i].error);
		plan_decide(&s.r, &s.m, ACT_DECIDE_IDLE, &s.w);
		assert_int_equal(s.r.n_rejected, olds[i].rejected);
		assert_int_equal(s.r.damage.tries, !olds[i].rejected);
		assert_int_equal(strncmp(s.r.last_error, "engine-store-damaged: ", 22) == 0,
				 !olds[i].rejected);
	}
}

/* It cannot be looked at, so it was removed. */
static void test_decide_revert_of_what_cannot_be_seen(void **state)
{
	struct scene s;

	all_done(&s, BLOCK_TRIAL);
	s.w.new = (struct container_view){0};
	s.m.damaged = true;
	SET(s.m.reason, "layer does not exist");
	plan_decide(&s.r, &s.m, ACT_DECIDE_REVERT, &s.w);
	assert_true(s.r.phase == PHASE_REVERT && !s.r.reject_target && s.r.damage.tries == 1);
	assert_string_equal(s.r.reason, "engine-store-damaged: layer does not exist");
}

/* The version that was here before, and no other to go back to. */
static void test_made_anew_it_stays(void **state)
{
	struct scene s;

	all_done(&s, BLOCK_TRIAL);
	s.w.old = (struct container_view){0};
	s.r.old_id[0] = '\0';
	s.r.current = s.r.target;
	s.r.target.brought = false;
	s.r.previous = (struct release){.digest = {"sha256:previous"}, .brought = true};
	s.m.verdict = VERDICT_BAD;
	SET(s.m.reason, "it exited with status 1");
	plan_decide(&s.r, &s.m, ACT_DECIDE_REVERT, &s.w);
	assert_true(s.r.phase == PHASE_COMMIT && !s.r.reject_target);
	plan_decide(&s.r, &s.m, ACT_DECIDE_IDLE, &s.w);
	assert_true(s.r.current.brought && s.r.n_rejected == 0);
	assert_string_equal(s.r.previous.digest.text, "sha256:previous");

	/* Unless it is the store again: then it is brought again. */
	all_done(&s, BLOCK_TRIAL);
	s.w.old = (struct container_view){0};
	s.r.old_id[0] = '\0';
	s.r.current = s.r.target;
	s.m.verdict = VERDICT_BAD;
	SET(s.m.reason, "layer does not exist");
	s.m.store_said = true;
	plan_decide(&s.r, &s.m, ACT_DECIDE_REVERT, &s.w);
	assert_true(s.r.phase == PHASE_REVERT && !s.r.reject_target);
}

/* What the engine can never use is remembered for that version of it, whether it was on its way or not. */
static void test_decide_refused_for_good(void **state)
{
	for (int prepared = 0; prepared < 2; prepared++) {
		struct scene s;

		all_done(&s, prepared ? BLOCK_PREPARE : BLOCK_ASK);
		s.m.unusable = (struct release){.digest = {TARGET}, .manifest = {OTHER}};
		SET(s.m.engine, "20.10");
		SET(s.r.seen.text, TARGET);
		s.r.seen_s = 1;
		(void)error_set(&s.m.refusal, -EKEYREJECTED, "it is for s390x");
		plan_decide(&s.r, &s.m, ACT_DECIDE_REJECTED, &s.w);
		assert_string_equal(record_rejected(&s.r, &(struct digest){OTHER}, "20.10"),
				    "it is for s390x");
		assert_null(record_rejected(&s.r, &(struct digest){TARGET}, "23.0"));
		assert_false(digest_is_set(&s.r.seen));
		assert_int_equal(plan_next(&s.c, &s.r, &s.w, &s.m).action,
				 prepared ? ACT_DECIDE_FORGET : ACT_REFUSE);
	}
}

/* Who fights us is left alone after the third time. */
static void test_decide_disturbed(void **state)
{
	static const struct {
		void (*arrange)(struct scene *);
		bool counts;
	} reverts[] = {
		{blocker, true}, {no_new, true}, {verdict_bad, false}, {starts_used_up, false}};
	struct container_config c;
	struct result result;
	struct scene s;

	for (size_t i = 0; i < ARRAY_SIZE(reverts); i++) {
		all_done(&s, BLOCK_TRIAL);
		reverts[i].arrange(&s);
		plan_decide(&s.r, &s.m, ACT_DECIDE_REVERT, &s.w);
		assert_int_equal(s.r.disturbed.times, reverts[i].counts);
	}
	/* Stopped by hand; and removed, before anybody could look. */
	for (int removed = 0; removed < 2; removed++) {
		all_done(&s, BLOCK_TRIAL);
		s.m.verdict = VERDICT_BAD;
		s.m.not_at_fault = true;
		s.m.removed = removed;
		plan_decide(&s.r, &s.m, ACT_DECIDE_REVERT, &s.w);
		assert_int_equal(s.r.disturbed.times, 1);
		assert_string_equal(s.r.reason,
				    removed ? "the new container was removed externally"
					    : "the new container was stopped externally");
	}
	/* The image was removed after it was downloaded; what Pullet removed itself does not count. */
	for (int dropped = 0; dropped < 2; dropped++) {
		all_done(&s, BLOCK_PREPARE);
		s.r.synced = true;
		s.w.image[0] = '\0';
		s.m.drop_tried = dropped;
		plan_decide(&s.r, &s.m, ACT_DECIDE_FETCH, &s.w);
		assert_int_equal(s.r.disturbed.times, !dropped);
	}
	/* Replaced after each update by what ran before it. */
	all_done(&s, BLOCK_TAKE);
	SET(s.r.current.digest.text, TARGET);
	for (unsigned int i = 0; i < RECORD_DISTURBED_MAX; i++) {
		assert_int_equal(plan_next(&s.c, &s.r, &s.w, &s.m).action, ACT_DECIDE_PREPARE);
		plan_decide(&s.r, &s.m, ACT_DECIDE_PREPARE, &s.w);
		s.r.phase = PHASE_IDLE;
	}
	assert_int_equal(plan_next(&s.c, &s.r, &s.w, &s.m).action, ACT_DEFER);
	c = s.c;
	assert_true(plan_note(OPERATION_RETRY, &c, &(struct hold){0}, &s.r, &result));
	assert_int_equal(plan_next(&s.c, &s.r, &s.w, &s.m).action, ACT_DECIDE_PREPARE);
}

/* Each deferral is counted, of one digest only; the last one may give it up, until a retry. */
static void test_decide_deferral(void **state)
{
	struct container_config c;
	struct result result;
	struct scene s;

	all_done(&s, BLOCK_PREPARE);
	s.r.deferred = (struct disturbed){{OTHER}, "", 7};
	before_says_no(&s);
	for (unsigned int i = 1; i <= 2; i++) {
		s.m.before.written = false;
		s.m.before.final = i == 2;
		assert_int_equal(plan_next(&s.c, &s.r, &s.w, &s.m).action, ACT_DECIDE_DEFERRAL);
		plan_decide(&s.r, &s.m, ACT_DECIDE_DEFERRAL, &s.w);
		assert_string_equal(s.r.deferred.digest.text, TARGET);
		assert_int_equal(s.r.deferred.times, i);
		assert_int_equal(s.r.n_rejected, i == 2);
		assert_int_equal(plan_next(&s.c, &s.r, &s.w, &s.m).action,
				 i == 2 ? ACT_DECIDE_FORGET : ACT_DEFER);
	}
	plan_decide(&s.r, &s.m, ACT_DECIDE_FORGET, &s.w);
	assert_int_equal(plan_next(&s.c, &s.r, &s.w, &s.m).action, ACT_REMOVE_NEW);
	s.w.new.id[0] = '\0';
	assert_int_equal(plan_next(&s.c, &s.r, &s.w, &s.m).action, ACT_REFUSE);
	assert_string_equal(s.r.last_error, "given up: no");
	assert_false(result_is_rollback(&s.r, s.r.last_error));
	c = s.c;
	assert_true(plan_note(OPERATION_RETRY, &c, &(struct hold){0}, &s.r, &result));
	assert_int_equal(s.r.n_rejected + s.r.deferred.times, 0);
}

/* A health-unit that could not run is no fault of the release, and it is not said that it did not start. */
static void test_decide_revert_for_the_health_unit(void **state)
{
	struct scene s;

	for (int host = 0; host < 2; host++) {
		all_done(&s, BLOCK_TRIAL);
		verdict_bad(&s);
		s.m.health = (struct hook_answer){.asked = true, .host = host};
		s.m.host_said = host;
		SET(s.m.reason, "why");
		plan_decide(&s.r, &s.m, ACT_DECIDE_REVERT, &s.w);
		assert_int_equal(s.r.reject_target, !host);
		assert_int_equal(s.r.host.refused, host);
		assert_string_equal(s.r.reason, "why");
	}
}

/* Clocks jump; and what never ran was never down. */
static void test_downtime(void **state)
{
	static const struct {
		int64_t down_ns, up_ns, ms;
	} times[] = {
		{5000000000, 5123999999, 123},
		{5000000000, 5000000000, 0},
		{5000000000, 4000000000, 0},
		{0, 1714557600000000000, 0},
		{1000000, 0, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
		struct scene s;

		all_done(&s, BLOCK_TRIAL);
		s.w.old.finished_ns = times[i].down_ns;
		s.w.new.started_ns = times[i].up_ns;
		plan_decide(&s.r, &s.m, ACT_DECIDE_COMMIT, &s.w);
		assert_int_equal(s.r.downtime_ms, times[i].ms);
	}
}

static void test_begin(void **state)
{
	const struct release target = {.digest = {OTHER}, .brought = true};
	struct scene s;

	all_done(&s, BLOCK_REVERT);
	SET(s.r.reason, "why");
	s.r.reject_target = true;
	record_reject(&s.r, &s.r.target, "", "bad");
	s.m.answer.reply = (struct fetch_reply){.digest = {OTHER}};
	SET(s.w.boot_id, "this boot");
	plan_decide(&s.r, &s.m, ACT_DECIDE_PREPARE, &s.w);
	assert_int_equal(s.r.phase, PHASE_PREPARE);
	assert_memory_equal(&s.r.target, &target, sizeof(target));
	assert_string_equal(s.r.boot_id, "this boot");
	assert_false(s.r.synced || s.r.serving || s.r.reject_target || s.r.starts);
	assert_false(s.r.old_id[0] || s.r.new_id[0] || s.r.policy[0] || s.r.reason[0]);
	assert_int_equal(s.r.n_rejected, 1); /* what failed stays known */
}

/* A container in a word: whose (- none, o old, n ours), up, down or never started, and its restart policy. */
static struct container_view view_of(const char *text, enum slot slot)
{
	enum container_state up = text[0] != '-' && text[1] == '+'   ? STATE_RUNNING
				  : text[0] != '-' && text[1] == '.' ? STATE_CREATED
								     : STATE_EXITED;

	if (text[0] == '-')
		return (struct container_view){0};
	return text[0] == 'n' ? new_one(slot, up, text + 2) : old_one(slot, up, text + 2);
}

static void test_recover(void **state)
{
	static const struct {
		const char *main, *next, *prev;
		enum phase phase;
		const char *old_id, *new_id, *policy;
		bool serving;
		enum action next_action;
	} worlds[] = {
		{"-", "-", "-", PHASE_IDLE, "", "", "", false, ACT_NOTHING},
		{"o+no", "-", "-", PHASE_IDLE, "", "", "", false, ACT_NOTHING},
		{"o+always", "o-no", "-", PHASE_IDLE, "", "", "", false, ACT_NOTHING},
		{"-", "n-no", "-", PHASE_IDLE, "", "", "", false, ACT_NOTHING},
		/* made, not swapped */
		{"o+always", "n.no", "-", PHASE_REVERT, "old", "new", "always", true,
		 ACT_REMOVE_NEW},
		{"o+no", "n.no", "-", PHASE_REVERT, "old", "new", "always", true, ACT_POLICY_OLD},
		{"o-no", "n.no", "-", PHASE_REVERT, "old", "new", "always", true, ACT_POLICY_OLD},
		{"o-always", "n.no", "-", PHASE_REVERT, "old", "new", "always", false,
		 ACT_REMOVE_NEW},
		/* on the way back, with its name again */
		{"o-no", "n-no", "-", PHASE_REVERT, "old", "new", "always", true, ACT_POLICY_OLD},
		{"o-always", "n-no", "-", PHASE_REVERT, "old", "new", "always", true,
		 ACT_START_OLD},
		{"o-always", "n+no", "-", PHASE_REVERT, "old", "new", "always", true, ACT_STOP_NEW},
		/* amid the swap */
		{"-", "n-no", "o+no", PHASE_REVERT, "old", "new", "always", true, ACT_POLICY_OLD},
		{"n-no", "-", "o-no", PHASE_REVERT, "old", "new", "always", true,
		 ACT_RENAME_NEW_NEXT},
		{"n+no", "-", "o-no", PHASE_REVERT, "old", "new", "always", true,
		 ACT_RENAME_NEW_NEXT},
		{"n+always", "-", "o-no", PHASE_REVERT, "old", "new", "always", true, ACT_PARK_NEW},
		{"-", "-", "o-no", PHASE_REVERT, "old", "", "no", true, ACT_START_OLD},
		/* somebody else's are in our names */
		{"o+no", "-", "o-always", PHASE_IDLE, "", "", "", false, ACT_NOTHING},
		/* swapped */
		{"n+no", "-", "-", PHASE_COMMIT, "", "new", "always", false, ACT_POLICY_NEW},
		{"n+always", "-", "-", PHASE_COMMIT, "", "new", "always", false, ACT_MOVE_TAG},
	};

	for (size_t i = 0; i < ARRAY_SIZE(worlds); i++) {
		const struct container_view slots[SLOT_MAX] = {view_of(worlds[i].main, SLOT_MAIN),
							       view_of(worlds[i].next, SLOT_NEXT),
							       view_of(worlds[i].prev, SLOT_PREV)};
		struct scene s = {.m = {.operation = OPERATION_FINISH}};

		record_init(&s.r);
		plan_recover(&s.r, slots);
		assert_int_equal(s.r.phase, worlds[i].phase);
		assert_string_equal(s.r.old_id, worlds[i].old_id);
		assert_string_equal(s.r.new_id, worlds[i].new_id);
		assert_string_equal(s.r.policy, worlds[i].policy);
		assert_int_equal(s.r.serving, worlds[i].serving);
		assert_false(s.r.reject_target || s.r.target.brought);
		assert_string_equal(s.r.target.digest.text, worlds[i].new_id[0] ? TARGET : "");
		for (enum slot slot = SLOT_MAIN; slot < SLOT_MAX; slot++) {
			if (s.r.old_id[0] && streq(slots[slot].id, s.r.old_id))
				s.w.old = slots[slot];
			if (s.r.new_id[0] && streq(slots[slot].id, s.r.new_id))
				s.w.new = slots[slot];
		}
		SET(s.w.tag, "image-old");
		expect_next(&s, worlds[i].next_action, "recovered", worlds[i].main);
	}
}

static void test_names(void **state)
{
	for (enum action a = ACT_NOTHING; a <= ACT_DECIDE_IDLE; a++) {
		bool writes = strstr(action_name(a), "write ") != NULL;

		assert_int_equal(action_is_decision(a), writes);
		assert_true(!writes || a == ACT_DECIDE_FORGET || action_touches(a) == 0);
		assert_int_equal((action_touches(a) & WORLD_IMAGES) != 0,
				 strstr(action_name(a), "image") || strstr(action_name(a), "tag") ||
					 strstr(action_name(a), "-unit") || a == ACT_FETCH ||
					 a == ACT_CREATE || a == ACT_DECIDE_FORGET);
		for (enum action b = ACT_NOTHING; b < a; b++)
			assert_string_not_equal(action_name(a), action_name(b));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_row),
		cmocka_unit_test(test_followers),
		cmocka_unit_test(test_order_of_rows),
		cmocka_unit_test(test_situations),
		cmocka_unit_test(test_decide_sequence),
		cmocka_unit_test(test_decide_signed_policy),
		cmocka_unit_test(test_decide_floor),
		cmocka_unit_test(test_decide_renewal),
		cmocka_unit_test(test_decide_signature),
		cmocka_unit_test(test_signature_stays_with_its_release),
		cmocka_unit_test(test_decide_on_the_way),
		cmocka_unit_test(test_decide_current_again),
		cmocka_unit_test(test_decide_current_of_an_adopted_one),
		cmocka_unit_test(test_decide_prepare_after_a_replacement),
		cmocka_unit_test(test_decide_trial_without_service),
		cmocka_unit_test(test_decide_revert),
		cmocka_unit_test(test_decide_revert_of_what_others_remove),
		cmocka_unit_test(test_decide_revert_for_the_host),
		cmocka_unit_test(test_a_host_that_refuses_each_time),
		cmocka_unit_test(test_decide_revert_for_the_store),
		cmocka_unit_test(test_decide_idle_for_the_store),
		cmocka_unit_test(test_decide_revert_of_what_cannot_be_seen),
		cmocka_unit_test(test_made_anew_it_stays),
		cmocka_unit_test(test_decide_refused_for_good),
		cmocka_unit_test(test_decide_disturbed),
		cmocka_unit_test(test_decide_deferral),
		cmocka_unit_test(test_decide_revert_for_the_health_unit),
		cmocka_unit_test(test_downtime),
		cmocka_unit_test(test_begin),
		cmocka_unit_test(test_recover),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
