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

	job_request(&q, OPERATION_CHECK, "a");
	job_request(&q, OPERATION_HOLD, "a");
	job_request(&q, OPERATION_CHECK, "b");
	job_request(&q, OPERATION_CHECK, "a");
	job_request(&q, OPERATION_UPDATE, "a");
	job_request(&q, OPERATION_UPDATE, "b");
	assert_queue(&q, "check a b, hold a, update a, update b");
	drain(&q);
}

static void test_a_check_joins_no_job_that_runs(void **state)
{
	struct job_queue q = {0};

	job_request(&q, OPERATION_CHECK, "a");
	job_start(&q);
	job_request(&q, OPERATION_CHECK, "b");
	job_request(&q, OPERATION_CHECK, "a"); /* its result is still to come */
	assert_queue(&q, "check a, check b");
	job_find(q.first, "a")->done = true; /* it has come: this is another check */
	job_request(&q, OPERATION_CHECK, "a");
	assert_queue(&q, "check a, check b a");
	drain(&q);
}

static void test_a_candidates_check_is_joined_by_none(void **state)
{
	struct job_queue q = {0};

	job_append(&q, OPERATION_CHECK, true, "a")->alone = true;
	job_request(&q, OPERATION_CHECK, "b");
	job_request(&q, OPERATION_CHECK, "a");
	assert_queue(&q, "check a, check b");
	drain(&q);
}

static void test_requests_go_ahead_of_the_round(void **state)
{
	struct job_queue q = {0};

	poll_round(&q);
	job_start(&q);
	poll_round(&q);
	job_request(&q, OPERATION_HOLD, "a");
	job_request(&q, OPERATION_RETRY, "b");
	assert_queue(&q, "poll a b, hold a, retry b, poll a b");
	drain(&q);
}

/* Checks, one after the other, for as long as a client likes, keep the round waiting for no more than those that
 * came before the first of them started. */
static void test_a_round_is_overtaken_once(void **state)
{
	struct job_queue q = {0};

	poll_round(&q);
	job_request(&q, OPERATION_CHECK, "a");
	job_request(&q, OPERATION_HOLD, "b");
	job_start(&q);
	job_request(&q, OPERATION_CHECK, "c");
	assert_queue(&q, "check a, hold b, poll a b, check c");
	job_drop_first(&q);
	job_start(&q);
	job_request(&q, OPERATION_UPDATE, "a");
	assert_queue(&q, "hold b, poll a b, check c, update a");
	drain(&q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_checks_that_wait_make_one_job),
		cmocka_unit_test(test_a_check_joins_no_job_that_runs),
		cmocka_unit_test(test_a_candidates_check_is_joined_by_none),
		cmocka_unit_test(test_requests_go_ahead_of_the_round),
		cmocka_unit_test(test_a_round_is_overtaken_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
