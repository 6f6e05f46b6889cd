/* SPDX-License-Identifier: MIT */
#include "result.h"
#include "test.h"

#define FROM	  "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define TO	  "sha256:2222222222222222222222222222222222222222222222222222222222222222"
#define FROM_TEXT "sha256:111111111111"
#define TO_TEXT	  "sha256:222222222222"

static const struct {
	struct result result;
	const char *json; /* what stands behind container and image */
	const char *text;
	bool bad;
} rows[] = {
	{{.outcome = OUTCOME_UPDATED, .from = {FROM}, .to = {TO}, .downtime_ms = 123},
	 "\"result\":\"updated\",\"from\":\"" FROM "\",\"to\":\"" TO
	 "\",\"reason\":null,\"downtime_ms\":123",
	 "hello: updated " FROM_TEXT " -> " TO_TEXT " (down 123 ms)",
	 false},
	{{.outcome = OUTCOME_UPDATED, .to = {TO}, .downtime_ms = 0},
	 "\"result\":\"updated\",\"from\":null,\"to\":\"" TO "\",\"reason\":null,\"downtime_ms\":0",
	 "hello: updated " TO_TEXT " (down 0 ms)",
	 false},
	{{.outcome = OUTCOME_UP_TO_DATE, .from = {TO}, .to = {TO}, .downtime_ms = -1},
	 "\"result\":\"up-to-date\",\"from\":\"" TO "\",\"to\":\"" TO
	 "\",\"reason\":null,\"downtime_ms\":null",
	 "hello: up-to-date " TO_TEXT,
	 false},
	{{.outcome = OUTCOME_ROLLED_BACK,
	  .from = {FROM},
	  .to = {TO},
	  .reason = "it exited with status 3",
	  .downtime_ms = 4000000000},
	 "\"result\":\"rolled-back\",\"from\":\"" FROM "\",\"to\":\"" TO
	 "\",\"reason\":\"it exited with status 3\",\"downtime_ms\":4000000000",
	 "hello: rolled-back " FROM_TEXT " -> " TO_TEXT
	 " (down 4000000000 ms): it exited with status 3",
	 true},
	{{.outcome = OUTCOME_DEFERRED, .from = {FROM}, .reason = "hold = yes", .downtime_ms = -1},
	 "\"result\":\"deferred\",\"from\":\"" FROM
	 "\",\"to\":null,\"reason\":\"hold = yes\",\"downtime_ms\":null",
	 "hello: deferred " FROM_TEXT ": hold = yes",
	 false},
	{{.outcome = OUTCOME_REFUSED, .reason = "a \"quoted\" %s", .downtime_ms = -1},
	 "\"result\":\"refused\",\"from\":null,\"to\":null,"
	 "\"reason\":\"a \\\"quoted\\\" %s\",\"downtime_ms\":null",
	 "hello: refused: a \"quoted\" %s",
	 true},
	{{.outcome = OUTCOME_FAILED, .downtime_ms = -1},
	 "\"result\":\"failed\",\"from\":null,\"to\":null,\"reason\":null,\"downtime_ms\":null",
	 "hello: failed",
	 true},
	{{.outcome = OUTCOME_NONE, .downtime_ms = -1},
	 "\"result\":\"none\",\"from\":null,\"to\":null,\"reason\":null,\"downtime_ms\":null",
	 "hello: none",
	 false},
};

static void test_rows(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct result r = rows[i].result;
		_cleanup_json_ json_t *j = NULL;
		_cleanup_free_ char *expected = NULL, *line = NULL, *text = NULL;

		r.container = "hello";
		r.image = "reg/hello:stable";
		j = result_to_json(&r);
		assert_non_null(j);
		/* In the order of the contract: people read it. */
		line = json_text(j, JSON_COMPACT);
		expected = xasprintf("{\"container\":\"hello\",\"image\":\"reg/hello:stable\",%s}",
				     rows[i].json);
		assert_string_equal(line, expected);
		text = result_text(j);
		assert_string_equal(text, rows[i].text);
		assert_int_equal(result_is_bad(j), rows[i].bad);
	}
}

static void test_versions(void **state)
{
	static const struct {
		const char *from_version, *to_version, *text;
	} cases[] = {
		{"1.4.1", "1.4.2", "a: updated 1.4.1 -> 1.4.2 (" TO_TEXT ", down 3 ms)"},
		{"", "1.4.2", "a: updated " FROM_TEXT " -> 1.4.2 (" TO_TEXT ", down 3 ms)"},
		{"1.4.1", "", "a: updated 1.4.1 -> " TO_TEXT " (down 3 ms)"},
		{"1.4.1", "1.4.1", "a: updated " FROM_TEXT " -> " TO_TEXT " (1.4.1, down 3 ms)"},
	};
	static const char keys[] =
		"\"downtime_ms\":3,\"version_from\":\"1.4.1\",\"version_to\":\"1.4.2\"}";

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct result r = {.container = "a",
				   .image = "b",
				   .outcome = OUTCOME_UPDATED,
				   .from = {FROM},
				   .to = {TO},
				   .downtime_ms = 3};
		_cleanup_json_ json_t *j = NULL;
		_cleanup_free_ char *text = NULL, *line = NULL;

		copy_text(r.from_version, sizeof(r.from_version), cases[i].from_version);
		copy_text(r.to_version, sizeof(r.to_version), cases[i].to_version);
		j = result_to_json(&r);
		text = result_text(j);
		assert_string_equal(text, cases[i].text);
		line = json_text(j, JSON_COMPACT);
		assert_true(i > 0 || has_suffix(line, keys));
	}
}

/* What a helper wrote is not taken on trust. */
static void test_no_results(void **state)
{
	static const struct {
		const char *json, *text;
		bool bad;
	} odd[] = {
		{"{}", "?: no result", true},
		{"[]", "?: no result", true},
		{"{\"container\":\"hello\"}", "?: no result", true},
		{"{\"container\":\"hello\",\"result\":1}", "?: no result", true},
		{"{\"result\":\"updated\"}", "?: no result", false},
		{"{\"container\":[],\"result\":\"failed\"}", "?: no result", true},
		{"{\"container\":\"a\",\"result\":\"updated\",\"from\":1,\"to\":\"x\","
		 "\"reason\":{},\"downtime_ms\":1.5}",
		 "a: updated x", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
		_cleanup_json_ json_t *j = json_loads(odd[i].json, 0, NULL);
		_cleanup_free_ char *text = result_text(j);

		assert_non_null(j);
		assert_string_equal(text, odd[i].text);
		assert_int_equal(result_is_bad(j), odd[i].bad);
	}
	assert_true(result_is_bad(NULL));
}

static const struct {
	struct download_state d;
	const char *detail, *text;
	int eta_s;
} downloads[] = {
	{{12400000, 30100000, 7900, NULL, true, 0},
	 NULL,
	 "downloading 41 %, 12.4 of 30.1 MB, 7.9 kB/s, 37 min to go",
	 2240},
	{{12400000, 30100000, 7900, WAITS_WINDOW, false, 0},
	 "02:00",
	 "downloading 41 %, 12.4 of 30.1 MB, 7.9 kB/s, 37 min to go, waits for its window at 02:00",
	 2240},
	{{300000, 30100000, 0, WAITS_BUDGET, false, 0},
	 "the budget of the day is used up (20 MB)",
	 "downloading 0 %, 300.0 kB of 30.1 MB, the budget of the day is used up (20 MB)",
	 -1},
	{{0, 100, 0, WAITS_BUDGET, false, 0},
	 NULL,
	 "downloading 0 %, 0 of 100 B, waits for its budget",
	 -1},
	{{99, 100, 1, WAITS_WINDOW, false, 0},
	 NULL,
	 "downloading 99 %, 99 of 100 B, 1 B/s, 1 s to go, waits for its window",
	 1},
	{{0, 43200000, 1000, WAITS_LINK, false, 0},
	 "no route to host",
	 "downloading 0 %, 0 B of 43.2 MB, 1.0 kB/s, 12 h 0 min to go, waits for the link: no "
	 "route to "
	 "host",
	 43200},
	{{0, 200000000, 1000, NULL, true, 0},
	 NULL,
	 "downloading 0 %, 0 B of 200.0 MB, 1.0 kB/s, 2 d 7 h to go",
	 200000},
	{{51660, 126000, 7900, NULL, true, 16300000},
	 NULL,
	 "downloading 41 %, 51.7 of 126.0 kB (a delta instead of 16.3 MB), 7.9 kB/s, 9 s to go",
	 9},
	{{500, 100, 1, NULL, true, 0},
	 NULL,
	 "downloading 100 %, 100 of 100 B, 1 B/s, 0 s to go",
	 0},
	{{0, INT64_MAX, 1, NULL, true, 0}, NULL, "downloading 0 %, 0 B of 9223.4 PB, 1 B/s", -1},
};

static void test_downloads(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(downloads); i++) {
		const struct download_state *d = &downloads[i].d;
		struct result r = {.container = "a",
				   .image = "b",
				   .outcome = OUTCOME_DEFERRED,
				   .download = *d,
				   .downtime_ms = -1};
		_cleanup_json_ json_t *j = NULL;
		_cleanup_free_ char *expected = xasprintf("a: deferred: %s", downloads[i].text);
		_cleanup_free_ char *reason = download_text(d, downloads[i].detail);
		_cleanup_free_ char *text = NULL;
		struct download_state read;

		copy_text(r.reason, sizeof(r.reason), reason);
		j = result_to_json(&r);
		text = result_text(j);
		assert_string_equal(text, expected);
		assert_int_equal(download_eta_s(d), downloads[i].eta_s);
		read = result_download(j);
		assert_true(read.bytes == d->bytes && read.of == d->of &&
			    read.bytes_s == d->bytes_s && streq_null(read.waits, d->waits) &&
			    read.again == d->again && read.plain == d->plain);
		assert_int_equal(
			json_is_true(json_object_get(json_object_get(j, "download"), "delta")),
			d->plain > 0);
	}
}

/* What a helper wrote is not taken on trust. */
static void test_no_download(void **state)
{
	static const char *const odd[] = {
		"{}",
		"[]",
		"{\"download\":null}",
		"{\"download\":{\"bytes\":1,\"again\":true}}",
		"{\"download\":{\"bytes\":1,\"of\":-1,\"again\":true}}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
		_cleanup_json_ json_t *j = json_loads(odd[i], 0, NULL);
		struct download_state d = result_download(j);

		assert_true(d.of == 0 && d.bytes == 0 && !d.again);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),	    cmocka_unit_test(test_downloads),
		cmocka_unit_test(test_no_download), cmocka_unit_test(test_versions),
		cmocka_unit_test(test_no_results),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
