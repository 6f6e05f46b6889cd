/* SPDX-License-Identifier: MIT */
#include "job.h"
#include "test.h"

/* "check a b, poll c": operations and names of all jobs, in their order. */
static void assert_queue(const struct job_queue *q, const char *expected)
{
	char text[512] = "";

	for (const struct job *job = q->first; job; job = job->next) {
		strcat(text, text[0] ? ", " : "");
		strcat(text, operations[job->operation].name);
		for (size_t i = 0; i < job->n; i++) {
			strcat(text, " ");
			strcat(text, job->members[i].name);
		}
	}
	assert_string_equal(text, expected);
}

static void poll_round(struct job_queue *q)
{
	job_add(job_append(q, OPERATION_POLL, false, "a"), "b");
}

static void drain(struct job_queue *q)
{
	while (q->first)
		job_drop_first(q);
}

static void test_checks_that_wait_make_one_job(void **state)
{
	struct job_queue q = {0};

	job_request(&q, OPERATION_CHECK, "a", NULL);
	job_request(&q, OPERATION_HOLD, "a", NULL);
	job_request(&q, OPERATION_CHECK, "b", NULL);
	job_request(&q, OPERATION_CHECK, "a", NULL);
	job_request(&q, OPERATION_UPDATE, "a", NULL);
	job_request(&q, OPERATION_UPDATE, "b", NULL);
	assert_queue(&q, "check a b, hold a, update a b");
	drain(&q);
}

/* Each says by whom, until when and why. */
static void test_another_hold_is_a_job_of_its_own(void **state)
{
	struct job_queue q = {0};

	job_request(&q, OPERATION_HOLD, "a", json_pack("{s:s}", "reason", "first"));
	job_request(&q, OPERATION_HOLD, "a", json_pack("{s:s}", "reason", "second"));
	job_request(&q, OPERATION_HOLD, "a", json_pack("{s:s}", "reason", "second"));
	assert_queue(&q, "hold a, hold a");
	assert_string_equal(json_get_string(q.first->next->hold, "reason"), "second");
	drain(&q);
}

/* What must come before a candidate is in its event. */
static void test_what_comes_after_a_failed_update_is_blocked(void **state)
{
	_cleanup_json_ json_t *none = json_pack("{s:[]}", "after");
	_cleanup_json_ json_t *api = json_pack("{s:[s, s]}", "after", "cache", "db");
	_cleanup_json_ json_t *web = json_pack("{s:[s, s]}", "after", "api", "db");
	struct job_queue q = {0};

	poll_round(&q);
	job_start(&q);
	job_append_candidate(&q, OPERATION_UPDATE, false, "db", none);
	job_append_candidate(&q, OPERATION_UPDATE, false, "api", api);
	job_append_candidate(&q, OPERATION_UPDATE, false, "web", web);
	job_append_candidate(&q, OPERATION_UPDATE, false, "other", none);
	job_append_candidate(&q, OPERATION_UPDATE, true, "mine", none); /* an operator waits */
	assert_queue(&q, "poll a b, update mine, update db, update api, update web, update other");
	job_block_after(&q, "db", "was rolled back");
	job_block_after(&q, "api", "failed");
	for (const struct job *job = q.first; job; job = job->next) {
		const char *name = job->members[0].name;

		if (streq(name, "api") || streq(name, "web"))
			assert_string_equal(job->blocked,
					    "db, which it comes after, was rolled back");
		else
			assert_null(job->blocked);
	}
	drain(&q);
}

/* An update that the schedule began may end before a window. */
static void test_an_urgent_update_is_not_answered_by_another(void **state)
{
	struct job_queue q = {0};

	(void)job_append(&q, OPERATION_UPDATE, false, "a");
	job_start(&q);
	job_request(&q, OPERATION_UPDATE, "a", NULL);
	job_request(&q, OPERATION_UPDATE_NOW, "a", NULL);
	assert_queue(&q, "update a, update-now a");
	drain(&q);
}

static void test_a_check_joins_no_job_that_runs(void **state)
{
	struct job_queue q = {0};

	job_request(&q, OPERATION_CHECK, "a", NULL);
	job_start(&q);
	job_request(&q, OPERATION_CHECK, "b", NULL);
	job_request(&q, OPERATION_CHECK, "a", NULL); /* its result is still to come */
	assert_queue(&q, "check a, check b");
	job_find(q.first, "a")->done = true; /* it has come: this is another check */
	job_request(&q, OPERATION_CHECK, "a", NULL);
	assert_queue(&q, "check a, check b a");
	drain(&q);
}

static void test_a_candidates_check_is_joined_by_none(void **state)
{
	struct job_queue q = {0};

	job_append(&q, OPERATION_CHECK, true, "a")->alone = true;
	job_request(&q, OPERATION_CHECK, "b", NULL);
	job_request(&q, OPERATION_CHECK, "a", NULL);
	assert_queue(&q, "check a, check b");
	drain(&q);
}

static void test_requests_go_ahead_of_the_round(void **state)
{
	struct job_queue q = {0};

	poll_round(&q);
	job_start(&q);
	poll_round(&q);
	job_request(&q, OPERATION_HOLD, "a", NULL);
	job_request(&q, OPERATION_RETRY, "b", NULL);
	assert_queue(&q, "poll a b, hold a, retry b, poll a b");
	drain(&q);
}

/* Checks, one after the other, for as long as a client likes, keep the round waiting for no more than those that
 * came before the first of them started. */
static void test_a_round_is_overtaken_once(void **state)
{
	struct job_queue q = {0};

	poll_round(&q);
	job_request(&q, OPERATION_CHECK, "a", NULL);
	job_request(&q, OPERATION_HOLD, "b", NULL);
	job_start(&q);
	job_request(&q, OPERATION_CHECK, "c", NULL);
	assert_queue(&q, "check a, hold b, poll a b, check c");
	job_drop_first(&q);
	job_start(&q);
	job_request(&q, OPERATION_UPDATE, "a", NULL);
	assert_queue(&q, "hold b, poll a b, check c, update a");
	drain(&q);
}

/* The first job ended a slice of what it downloads for a. */
static void end_slice(struct job_queue *q)
{
	job_continue(q, "a");
	job_drop_first(q);
}

static void test_a_download_goes_on_behind_all_others(void **state)
{
	struct job_queue q = {0};

	poll_round(&q);
	job_start(&q);
	job_append_candidate(&q, OPERATION_UPDATE, false, "a", NULL);
	job_append_candidate(&q, OPERATION_UPDATE, false, "b", NULL);
	job_drop_first(&q);
	job_start(&q);
	assert_false(job_is_continued(&q, "a"));
	end_slice(&q);
	assert_true(job_is_continued(&q, "a") && !job_is_continued(&q, "b"));
	assert_queue(&q, "update b, update a");
	job_drop_first(&q);
	/* It is of no round. */
	assert_false(job_is_scheduled(&q));
	job_start(&q);
	assert_true(job_is_scheduled(&q) && !job_is_continued(&q, "a"));
	/* The next round, what it finds, and requests come first. */
	poll_round(&q);
	end_slice(&q);
	assert_queue(&q, "poll a b, update a");
	job_start(&q);
	job_append_candidate(&q, OPERATION_UPDATE, false, "b", NULL);
	job_request(&q, OPERATION_CHECK, "b", NULL);
	assert_queue(&q, "poll a b, check b, update b, update a");
	job_drop_first(&q);
	job_start(&q);
	/* Endless requests go ahead of it once only. */
	job_request(&q, OPERATION_CHECK, "c", NULL);
	assert_queue(&q, "check b, update b, update a, check c");
	drain(&q);
}

static void test_two_downloads_take_turns(void **state)
{
	struct job_queue q = {0};

	(void)job_append(&q, OPERATION_UPDATE, false, "a");
	(void)job_append(&q, OPERATION_UPDATE, false, "b");
	for (int i = 0; i < 3; i++) {
		job_start(&q);
		end_slice(&q);
		assert_queue(&q, "update b, update a");
		job_start(&q);
		job_continue(&q, "b");
		job_drop_first(&q);
		assert_queue(&q, "update a, update b");
	}
	drain(&q);
}

static void test_a_download_is_never_twice_in_the_queue(void **state)
{
	struct job_queue q = {0};

	(void)job_append(&q, OPERATION_FINISH, false, "a");
	job_start(&q);
	end_slice(&q);
	/* An operator cannot wait: it goes on with that one. */
	job_request(&q, OPERATION_UPDATE_NOW, "a", NULL);
	assert_queue(&q, "update-now a, finish a");
	job_start(&q);
	end_slice(&q);
	assert_queue(&q, "update-now a");
	job_request(&q, OPERATION_UPDATE_NOW, "a", NULL); /* of another client */
	assert_queue(&q, "update-now a");
	/* That of the schedule is needless then. */
	(void)job_append(&q, OPERATION_FINISH, false, "a");
	assert_queue(&q, "finish a, update-now a");
	job_start(&q);
	end_slice(&q);
	assert_queue(&q, "update-now a");
	assert_true(q.first->requested);
	drain(&q);
}

/* Whoever waits for an update of the schedule gets its end. */
static void test_a_client_joins_a_download(void **state)
{
	struct job_queue q = {0};

	(void)job_append(&q, OPERATION_UPDATE, false, "a");
	job_start(&q);
	job_request(&q, OPERATION_UPDATE, "a", NULL);
	end_slice(&q);
	assert_queue(&q, "update a");
	assert_true(q.first->requested);
	/* Nobody else's request joins the slice. */
	job_request(&q, OPERATION_UPDATE, "b", NULL);
	assert_queue(&q, "update b, update a");
	drain(&q);
}

static void test_what_comes_after_a_download_waits(void **state)
{
	_cleanup_json_ json_t *after = json_pack("{s:[s]}", "after", "a");
	struct job_queue q = {0};

	(void)job_append(&q, OPERATION_UPDATE, false, "a");
	job_append_candidate(&q, OPERATION_UPDATE, false, "web", after);
	job_append_candidate(&q, OPERATION_UPDATE, false, "other", NULL);
	job_start(&q);
	job_block_continued(&q);
	assert_null(q.first->next->blocked);
	end_slice(&q);
	job_block_continued(&q);
	assert_string_equal(q.first->blocked, "a, which it comes after, is still downloading");
	assert_null(q.first->next->blocked);
	drain(&q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_checks_that_wait_make_one_job),
		cmocka_unit_test(test_another_hold_is_a_job_of_its_own),
		cmocka_unit_test(test_what_comes_after_a_failed_update_is_blocked),
		cmocka_unit_test(test_an_urgent_update_is_not_answered_by_another),
		cmocka_unit_test(test_a_check_joins_no_job_that_runs),
		cmocka_unit_test(test_a_candidates_check_is_joined_by_none),
		cmocka_unit_test(test_requests_go_ahead_of_the_round),
		cmocka_unit_test(test_a_round_is_overtaken_once),
		cmocka_unit_test(test_a_download_goes_on_behind_all_others),
		cmocka_unit_test(test_two_downloads_take_turns),
		cmocka_unit_test(test_a_download_is_never_twice_in_the_queue),
		cmocka_unit_test(test_a_client_joins_a_download),
		cmocka_unit_test(test_what_comes_after_a_download_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
