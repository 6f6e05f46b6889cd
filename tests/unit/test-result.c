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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_no_results),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
