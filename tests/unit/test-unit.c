/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "record.h"
#include "test.h"
#include "unit.h"

#define INTERVAL 100000
#define DEVICE	 7

/* Two containers of one registry, one of another. */
static void load(struct unit_table *t)
{
	static const char *const images[] = {"one.example/app", "one.example/db:2",
					     "two.example/app"};
	static const char *const names[] = {"app", "db", "web"};
	struct config *config = xcalloc(1, sizeof(*config));

	config->interval_ms = INTERVAL;
	config->n_containers = 3;
	config->containers = xcalloc(3, sizeof(*config->containers));
	for (size_t i = 0; i < 3; i++) {
		config->containers[i].name = xstrdup(names[i]);
		config->containers[i].image = xstrdup(images[i]);
	}
	*t = (struct unit_table){0};
	unit_table_load(t, config);
	t->device = DEVICE;
}

static void assert_polled(struct unit_table *t, uint64_t now, const char *expected)
{
	struct job_queue q = {0};
	char text[64] = "";

	round_queue_poll(t, now, &q);
	for (size_t i = 0; q.first && i < q.first->n; i++) {
		strcat(text, i ? " " : "");
		strcat(text, q.first->members[i].name);
	}
	assert_true(!q.first || !q.first->next);
	assert_string_equal(text, expected);
	if (q.first)
		job_drop_first(&q);
}

static void test_containers_of_a_registry_share_its_state(void **state)
{
	struct unit_table t;

	load(&t);
	assert_int_equal(t.n_registries, 2);
	assert_ptr_equal(t.units[0].registry, t.units[1].registry);
	assert_ptr_equal(unit_find_registry(&t, "two.example"), t.units[2].registry);
	unit_table_clear(&t);
}

static void test_retry_after_holds_the_registry_and_no_other(void **state)
{
	struct unit_table t;

	load(&t);
	assert_polled(&t, 1000, "app db web");
	t.units[0].registry->retry_after_ms = 5000;
	assert_polled(&t, 4999, "web");
	assert_polled(&t, 5000, "app db web");
	t.units[2].registry->retry_after_ms = 9000;
	t.units[0].registry->retry_after_ms = 9000;
	assert_polled(&t, 8000, "");
	unit_table_clear(&t);
}

static void test_back_off_leaves_out_the_registry_that_fails(void **state)
{
	struct unit_table t;
	struct job_queue q = {0};
	uint64_t now;
	int asked[2] = {0};

	load(&t);
	now = round_next(&t, 1);
	for (int i = 0; i < 14; i++) {
		round_queue_poll(&t, now, &q);
		job_drop_first(&q);
		asked[0] += t.registries[0].polled;
		asked[1] += t.registries[1].polled;
		t.registries[0].failed = t.registries[0].polled;
		round_end(&t, now + 10);
		/* The other one keeps its pace. */
		assert_int_equal(round_next(&t, now + 10), now + INTERVAL);
		now += INTERVAL;
	}
	assert_int_equal(asked[1], 14);
	/* In rounds 0, 1, 3, 6 and 10: at most three are left out. */
	assert_int_equal(asked[0], 5);
	round_queue_poll(&t, now, &q);
	job_drop_first(&q);
	assert_true(t.registries[0].polled);
	round_end(&t, now);
	assert_int_equal(t.registries[0].failures, 0);
	assert_int_equal(t.registries[0].back_off_ms, 0);
	unit_table_clear(&t);
}

static void test_with_all_registries_held_nothing_wakes_before(void **state)
{
	struct unit_table t;

	load(&t);
	t.registries[0].retry_after_ms = 10 * INTERVAL;
	t.registries[1].retry_after_ms = 20 * INTERVAL;
	assert_true(round_next(&t, 1) >= 10 * INTERVAL);
	assert_true(round_next(&t, 1) < 11 * INTERVAL);
	unit_table_clear(&t);
}

static void write_record(int dir, const char *name, enum phase phase)
{
	struct record r;
	struct error e;

	record_init(&r);
	r.phase = phase;
	(void)snprintf(r.target.digest.text, sizeof(r.target.digest.text), "sha256:%064d", 1);
	assert_int_equal(record_save(dir, name, &r, &e), 0);
}

static void test_only_records_that_are_not_at_rest_are_finished(void **state)
{
	char path[] = "/tmp/test-unit-XXXXXX";
	struct job_queue q = {0};
	struct unit_table t;
	int dir;

	assert_non_null(mkdtemp(path));
	dir = open(path, O_RDONLY | O_DIRECTORY);
	load(&t);
	write_record(dir, "app", PHASE_IDLE);
	write_record(dir, "db", PHASE_PREPARE);
	round_queue_unfinished(&t, path, &q); /* web has none: it may have been lost */
	assert_int_equal(q.first->operation, OPERATION_FINISH);
	assert_string_equal(q.first->members[0].name, "db");
	assert_string_equal(q.first->next->members[0].name, "web");
	assert_null(q.first->next->next);
	while (q.first)
		job_drop_first(&q);
	unlinkat(dir, "app.json", 0);
	unlinkat(dir, "db.json", 0);
	close(dir);
	rmdir(path);
	unit_table_clear(&t);
}

#define TO "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static json_t *deferred(uint64_t bytes, const char *waits, const char *reason)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:{s:I, s:i, s:i, s:s?, s:b}}", "container",
			 "app", "image", "one.example/app", "result", "deferred", "to", TO,
			 "reason", reason, "download", "bytes", (json_int_t)bytes, "of", 1000,
			 "bytes_s", 7, "waits", waits, "again", !waits);
}

static bool take(struct unit *u, json_t *result, uint64_t now_ms)
{
	_cleanup_json_ json_t *mine = result;

	return unit_take_result(u, mine, OPERATION_UPDATE, now_ms, 1);
}

static void test_a_download_is_told_from_its_begin_to_its_end(void **state)
{
	_cleanup_json_ json_t *slice = deferred(400, NULL, "downloading 40 %"), *check = NULL;
	struct unit_table t;
	struct unit *u;

	load(&t);
	u = &t.units[0];
	u->operation = "update";
	u->under_way = true;
	unit_set_step(u, STEP_DOWNLOAD, 0, 0);
	unit_set_progress(u, 100, 1000, 5000); /* of a pass before */
	unit_set_progress(u, 300, 1000, 7000);
	assert_true(unit_download(u, 7000).bytes == 300 && unit_download(u, 7000).of == 1000);
	assert_int_equal(unit_download(u, 7000).bytes_s, 100);
	assert_int_equal(u->tally.pulled, 200);
	/* The first slice alone is news. */
	assert_true(unit_goes_on(u, slice, 0));
	assert_true(unit_take_slice(u, slice, 8000));
	u->operation = "";
	unit_set_step(u, NULL, 0, 0);
	assert_true(unit_download(u, 8000).bytes == 400 && unit_download(u, 8000).bytes_s == 7);
	assert_string_equal(u->available, TO);
	assert_false(unit_goes_on(u, slice, 9999)); /* nothing came */
	assert_true(unit_goes_on(u, slice, 10000));
	assert_false(unit_take_slice(u, slice, 9000));
	assert_int_equal(u->tally.passes[OUTCOME_DEFERRED], 0);
	assert_int_equal(u->tally.contact_ms, 9000);
	/* While the next one asks the registry, it stands. */
	u->operation = "update";
	unit_set_step(u, STEP_ASK, 0, 0);
	assert_int_equal(unit_download(u, 9000).bytes, 400);
	/* What the engine is given does not come over the link. */
	unit_set_step(u, STEP_DOWNLOAD, 0, 0);
	unit_set_progress(u, 400, 1000, 10000);
	unit_set_progress(u, 1000, 1000, 10100);
	assert_int_equal(unit_download(u, 10100).bytes_s, 7);
	unit_set_step(u, STEP_LOAD, 0, 0);
	assert_true(u->total == 0 && unit_download(u, 10100).of == 0);
	unit_set_progress(u, 5000, 9000, 11000);
	assert_int_equal(unit_download(u, 11000).of, 0);
	assert_int_equal(u->tally.pulled, 800);
	/* Nor do layers that are made of a delta, whose own bytes do. */
	unit_set_step(u, STEP_DOWNLOAD, 0, 0);
	u->plain = 70000;
	unit_set_progress(u, 0, 100, 11100);
	unit_set_progress(u, 100, 100, 11200);
	assert_true(unit_download(u, 11200).of == 100 && unit_download(u, 11200).plain == 70000);
	unit_set_step(u, STEP_REBUILD, 0, 0);
	assert_true(u->total == 0 && u->plain == 0 && unit_download(u, 11200).of == 0);
	unit_set_progress(u, 90000, 90000, 11300);
	assert_int_equal(u->tally.pulled, 900);
	/* It waits for one thing, and that is told once. */
	assert_true(take(u, deferred(500, WAITS_WINDOW, "at 02:00"), 12000));
	assert_false(take(u, deferred(510, WAITS_WINDOW, "at 02:00, or so"), 13000));
	assert_true(take(u, deferred(510, WAITS_BUDGET, "20 MB"), 14000));
	/* A check meanwhile ends it not. */
	check = result_make("app", "one.example/app", OUTCOME_DEFERRED, TO, "only a check");
	(void)unit_take_result(u, check, OPERATION_CHECK, 14500, 1);
	assert_int_equal(u->download.bytes, 510);
	assert_true(unit_take_slice(u, slice, 15000));
	assert_true(take(u, result_make("app", "one.example/app", OUTCOME_UPDATED, TO, ""), 16000));
	u->operation = "";
	assert_int_equal(unit_download(u, 16000).of, 0);
	unit_table_clear(&t);
}

/* A link that is lost is tried again before the next round; a window and a budget are waited for. */
static void test_a_lost_link_is_tried_again(void **state)
{
	static const struct {
		const char *waits;
		bool half_way;
	} rows[] = {{WAITS_LINK, true}, {WAITS_WINDOW, false}, {WAITS_BUDGET, false}};
	struct unit_table t;

	load(&t);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_json_ json_t *j = deferred(1, rows[i].waits, "x");

		t.units[i].under_way = true;
		unit_note_half_way(&t.units[i], j);
		assert_int_equal(t.units[i].half_way, rows[i].half_way);
	}
	unit_table_clear(&t);
}

static json_t *refusal(const char *to)
{
	return result_make("app", "one.example/app", OUTCOME_REFUSED, to,
			   RESULT_SIGNATURE ": there is no signature");
}

/* Polls until the end; how often the signature was asked for. */
static int count_asked(struct unit *u, struct job *job, uint64_t *now, uint64_t end)
{
	_cleanup_json_ json_t *result = refusal(TO);
	int n = 0;

	for (; *now < end; *now += 15 * 60000) {
		_cleanup_json_ json_t *again = unit_repeat_refusal(u, job, *now);

		if (again)
			assert_true(json_equal(again, result));
		else
			unit_note_refusal(u, result, *now);
		n += !again;
	}
	return n;
}

/* Less and less often, and once an hour; a client, another version and any other result end the wait. */
static void test_a_signature_that_is_missing_is_asked_for_less_and_less_often(void **state)
{
	json_t *event = json_pack("{s:s}", "to", TO);
	struct job job = {.operation = OPERATION_UPDATE, .candidate = event};
	_cleanup_json_ json_t *other = json_pack("{s:s}", "to", "sha256:cc"), *result = refusal(TO);
	_cleanup_json_ json_t *waits =
		result_make("app", "one.example/app", OUTCOME_DEFERRED, TO, "outside its window");
	uint64_t now = 1000;
	struct unit_table t;
	struct unit *u;

	load(&t);
	u = &t.units[0];
	assert_null(unit_repeat_refusal(NULL, &job, now));
	assert_true(count_asked(u, &job, &now, 1000 + 3 * 3600000) <= 7);
	assert_int_equal(count_asked(u, &job, &now, now + 24 * 3600000), 24);
	unit_note_refusal(u, result, now);
	now += 15 * 60000;
	job.requested = true;
	assert_null(unit_repeat_refusal(u, &job, now));
	job.requested = false;
	job.candidate = other;
	assert_null(unit_repeat_refusal(u, &job, now));
	job.candidate = NULL;
	assert_null(unit_repeat_refusal(u, &job, now));
	job.candidate = event;
	unit_note_refusal(u, waits, now);
	assert_null(unit_repeat_refusal(u, &job, now));
	/* The next one begins with no wait. */
	unit_note_refusal(u, result, now);
	assert_null(unit_repeat_refusal(u, &job, now + 1));
	json_decref(event);
	unit_table_clear(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_containers_of_a_registry_share_its_state),
		cmocka_unit_test(test_retry_after_holds_the_registry_and_no_other),
		cmocka_unit_test(test_back_off_leaves_out_the_registry_that_fails),
		cmocka_unit_test(test_with_all_registries_held_nothing_wakes_before),
		cmocka_unit_test(test_only_records_that_are_not_at_rest_are_finished),
		cmocka_unit_test(test_a_download_is_told_from_its_begin_to_its_end),
		cmocka_unit_test(test_a_lost_link_is_tried_again),
		cmocka_unit_test(test_a_signature_that_is_missing_is_asked_for_less_and_less_often),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
