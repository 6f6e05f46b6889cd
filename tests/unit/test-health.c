/* SPDX-License-Identifier: MIT */
#include "health.h"
#include "test.h"

#define PERIOD 1000

/* What a container can look like, health aside. */
static const struct look {
	const char *name;
	enum container_state state;
	int exit_code;
	const char *error;
} looks[] = {
	{"running", STATE_RUNNING, 0, ""}, {"restarting", STATE_RESTARTING, 1, ""},
	{"paused", STATE_PAUSED, 0, ""},   {"exited 0", STATE_EXITED, 0, ""},
	{"exited 3", STATE_EXITED, 3, ""}, {"not started", STATE_CREATED, 127, "no such file"},
};
#define LOOKS 6

static const char *const policies[] = {"no", "on-failure", "on-failure:3", "always",
				       "unless-stopped"};

/* g good, b bad, p pending; for each look in that order. First within the period, then at its end.
 * A capital letter: good or bad only where success may rest, else the other. */
static const struct {
	enum health_kind kind;
	enum container_health health;
	const char *within, *over;
} table[] = {
	{HEALTH_AUTO, CONTAINER_HEALTH_NONE, "pppGbb", "ggbGbb"},
	{HEALTH_AUTO, CONTAINER_HEALTH_STARTING, "pppGbb", "bbbGbb"},
	{HEALTH_AUTO, CONTAINER_HEALTH_HEALTHY, "ggpGbb", "ggbGbb"},
	{HEALTH_AUTO, CONTAINER_HEALTH_UNHEALTHY, "bbpGbb", "bbbGbb"},
	{HEALTH_HEALTHCHECK, CONTAINER_HEALTH_NONE, "bbpbbb", "bbbbbb"},
	{HEALTH_HEALTHCHECK, CONTAINER_HEALTH_STARTING, "pppbbb", "bbbbbb"},
	{HEALTH_HEALTHCHECK, CONTAINER_HEALTH_HEALTHY, "ggpbbb", "ggbbbb"},
	{HEALTH_HEALTHCHECK, CONTAINER_HEALTH_UNHEALTHY, "bbpbbb", "bbbbbb"},
	{HEALTH_RUNNING, CONTAINER_HEALTH_NONE, "pppbbb", "ggbbbb"},
	{HEALTH_RUNNING, CONTAINER_HEALTH_STARTING, "pppbbb", "ggbbbb"},
	{HEALTH_RUNNING, CONTAINER_HEALTH_HEALTHY, "pppbbb", "ggbbbb"},
	{HEALTH_RUNNING, CONTAINER_HEALTH_UNHEALTHY, "pppbbb", "ggbbbb"},
	{HEALTH_EXIT, CONTAINER_HEALTH_NONE, "pppgbb", "bbbgbb"},
	{HEALTH_EXIT, CONTAINER_HEALTH_STARTING, "pppgbb", "bbbgbb"},
	{HEALTH_EXIT, CONTAINER_HEALTH_HEALTHY, "pppgbb", "bbbgbb"},
	{HEALTH_EXIT, CONTAINER_HEALTH_UNHEALTHY, "pppgbb", "bbbgbb"},
};

static struct container_view view_of(const struct look *look, enum container_health health)
{
	struct container_view v = {
		.id = "id", .state = look->state, .exit_code = look->exit_code, .health = health};

	(void)strcpy(v.error, look->error);
	return v;
}

static void expect(size_t row, size_t look, const char *policy, uint64_t up_ms)
{
	static const char letters[] = {
		[VERDICT_PENDING] = 'p', [VERDICT_GOOD] = 'g', [VERDICT_BAD] = 'b'};
	const struct container_view v = view_of(&looks[look], table[row].health);
	struct container_config c = {.health = table[row].kind, .health_period_ms = PERIOD};
	char expected = (up_ms < PERIOD ? table[row].within : table[row].over)[look];
	bool rests = after_prefix(policy, "on-failure") || streq(policy, "no");
	char reason[RECORD_TEXT_MAX] = "untouched";
	enum verdict got = health_judge(&c, &v, policy, up_ms, reason);

	if (expected == 'G')
		expected = rests ? 'g' : 'b';
	if (letters[got] != expected || (got != VERDICT_BAD) != streq(reason, "untouched"))
		fail_msg("row %zu, %s, %s, up %d ms: %c instead of %c, %s", row, looks[look].name,
			 policy, (int)up_ms, letters[got], expected, reason);
	/* Finished is what is good after it ended. */
	assert_int_equal(health_is_finished(c.health, &v, policy),
			 expected == 'g' && v.state == STATE_EXITED);
}

static void test_table(void **state)
{
	static const uint64_t times[] = {0, 1, PERIOD - 1, PERIOD, PERIOD + 1, UINT64_MAX};

	assert_int_equal(ARRAY_SIZE(looks), LOOKS);
	assert_int_equal(ARRAY_SIZE(table), 4 * 4);
	for (size_t r = 0; r < ARRAY_SIZE(table); r++) {
		assert_true(strlen(table[r].within) == LOOKS && strlen(table[r].over) == LOOKS);
		for (size_t l = 0; l < LOOKS; l++) {
			for (size_t p = 0; p < ARRAY_SIZE(policies); p++) {
				for (size_t t = 0; t < ARRAY_SIZE(times); t++)
					expect(r, l, policies[p], times[t]);
			}
		}
	}
}

static void test_reasons(void **state)
{
	static const struct {
		enum health_kind kind;
		struct look look;
		enum container_health health;
		const char *reason;
	} bad[] = {
		{HEALTH_AUTO,
		 {"", STATE_EXITED, 137, ""},
		 CONTAINER_HEALTH_NONE,
		 "it exited with status 137"},
		{HEALTH_AUTO,
		 {"", STATE_EXITED, 0, ""},
		 CONTAINER_HEALTH_NONE,
		 "it exited with status 0"},
		{HEALTH_EXIT,
		 {"", STATE_CREATED, 127, "exec: \"x\": no such file"},
		 CONTAINER_HEALTH_NONE,
		 "it did not start: exec: \"x\": no such file"},
		{HEALTH_AUTO, {"", STATE_PAUSED, 0, ""}, CONTAINER_HEALTH_HEALTHY, "it was paused"},
		{HEALTH_AUTO,
		 {"", STATE_RUNNING, 0, ""},
		 CONTAINER_HEALTH_UNHEALTHY,
		 "its health check failed"},
		{HEALTH_AUTO,
		 {"", STATE_RUNNING, 0, ""},
		 CONTAINER_HEALTH_STARTING,
		 "no health check ended within 1 s: its HEALTHCHECK has start-period 0 s, interval "
		 "0 s, "
		 "timeout 0 s, retries 0; its first check comes 0 s after the start"},
		{HEALTH_HEALTHCHECK,
		 {"", STATE_RUNNING, 0, ""},
		 CONTAINER_HEALTH_NONE,
		 "health = healthcheck, but it has no HEALTHCHECK"},
		{HEALTH_EXIT,
		 {"", STATE_RUNNING, 0, ""},
		 CONTAINER_HEALTH_NONE,
		 "it did not exit within health-period"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		const struct container_view v = view_of(&bad[i].look, bad[i].health);
		struct container_config c = {.health = bad[i].kind, .health_period_ms = PERIOD};
		char reason[RECORD_TEXT_MAX] = "";

		assert_int_equal(health_judge(&c, &v, "always", PERIOD, reason), VERDICT_BAD);
		assert_string_equal(reason, bad[i].reason);
	}
}

static void test_want_of_memory_is_told(void **state)
{
	const struct container_view v = {
		.state = STATE_EXITED, .exit_code = 137, .oom_killed = true};
	const struct container_config c = {.health_period_ms = PERIOD};
	char reason[RECORD_TEXT_MAX];

	assert_int_equal(health_judge(&c, &v, "always", PERIOD, reason), VERDICT_BAD);
	assert_string_equal(reason,
			    "it exited with status 137: the kernel killed it for want of memory");
}

#define S    ((uint64_t)1000)
#define H    (3600 * S)
#define YEAR (365 * 24 * H)
#define LONG (UINT64_MAX / 4) /* more than a duration of Go can say */

/* By the times of the container's own HEALTHCHECK. Field report 1. */
static void test_limit(void **state)
{
	static const struct {
		struct health_check check;
		uint64_t period_ms, limit_ms;
	} rows[] = {
		/* HEALTHCHECK CMD true, and health-period at its default */
		{{0, 5 * S, 30 * S, 30 * S, 3, true}, 30 * S, 183 * S},
		{{0, 5 * S, 30 * S, 30 * S, 3, false}, 30 * S, 366 * S},
		/* ESPHome */
		{{60 * S, 5 * S, 300 * S, 10 * S, 3, true}, 30 * S, 1008 * S},
		{{30 * S, 1, 100, 200, 1, true}, 30 * S, 30 * S + 1 + 200 + 1300},
		/* the operator waits longer */
		{{0, 5 * S, 30 * S, 30 * S, 3, false}, H, H},
		{{0, 5 * S, 30 * S, 30 * S, 3, true}, 5 * H, 5 * H},
		/* an image that never wants to be judged */
		{{0, 0, YEAR, 0, 1, true}, 30 * S, 2 * H},
		{{YEAR, 0, 1, 1, 1, false}, 30 * S, 2 * H},
		{{LONG, LONG, LONG, LONG, UINT64_MAX, false}, 30 * S, 2 * H},
		{{0, 0, 1, 1, UINT64_MAX, true}, 30 * S, 2 * H},
		{{LONG, LONG, 1, LONG, 1, true}, 30 * S, 2 * H},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct container_view v = {.id = "id",
					   .state = STATE_RUNNING,
					   .health = CONTAINER_HEALTH_STARTING,
					   .check = rows[i].check};
		struct container_config c = {.health_period_ms = rows[i].period_ms};
		char reason[RECORD_TEXT_MAX] = "";
		uint64_t limit = health_limit_ms(&c, &v);

		if (limit != rows[i].limit_ms)
			fail_msg("row %zu: %llu", i, (unsigned long long)limit);
		assert_int_equal(health_judge(&c, &v, "always", limit - 1, reason),
				 VERDICT_PENDING);
		assert_int_equal(health_judge(&c, &v, "always", limit, reason), VERDICT_BAD);
		assert_true(!strstr(reason, "longest") == (limit != 2 * H));
		/* The operator's word is enough for what is not judged by its check. */
		c.health = HEALTH_RUNNING;
		assert_true(health_limit_ms(&c, &v) == rows[i].period_ms);
		v.health = CONTAINER_HEALTH_NONE;
		c.health = HEALTH_AUTO;
		assert_true(health_limit_ms(&c, &v) == rows[i].period_ms);
	}
}

static void test_limit_reasons(void **state)
{
	struct container_view v = {.id = "id",
				   .state = STATE_RUNNING,
				   .health = CONTAINER_HEALTH_STARTING,
				   .check = {0, 5 * S, 30 * S, 1500, 3, true}};
	struct container_config c = {.health_period_ms = 30 * S};
	char reason[RECORD_TEXT_MAX];

	(void)health_judge(&c, &v, "no", UINT64_MAX, reason);
	assert_string_equal(
		reason, "it was not healthy within 97.5 s: its HEALTHCHECK has start-period 0 s, "
			"interval 30 s, timeout 1.5 s, retries 3; its first check comes "
			"30 s after the start");
	v.check.interval_ms = YEAR;
	(void)health_judge(&c, &v, "no", UINT64_MAX, reason);
	assert_non_null(strstr(reason, "within 7200 s, the longest time that is waited: "));
	assert_non_null(strstr(reason, "interval 31536000 s"));
}

/* The restart policy is there for what it restarts. Field report 10. */
static void test_restarts(void **state)
{
	static const struct {
		const char *policy;
		int exit_code;
		unsigned int most; /* starts */
	} rows[] = {
		{"always", 0, 3},
		{"always", 1, 3},
		{"unless-stopped", 0, 3},
		{"unless-stopped", 2, 3},
		{"no", 0, 1},
		{"no", 1, 1},
		{"on-failure", 0, 1},
		{"on-failure", 1, 3},
		{"on-failure:1", 1, 2},
		{"on-failure:2", 1, 3},
		{"on-failure:9", 137, 3},
		{"on-failure:9", 0, 1},
	};
	static const enum health_kind kinds[] = {HEALTH_AUTO, HEALTH_RUNNING, HEALTH_HEALTHCHECK,
						 HEALTH_EXIT};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct container_view v = {
			.id = "id", .state = STATE_EXITED, .exit_code = rows[i].exit_code};

		for (unsigned int starts = 1; starts < 5; starts++) {
			for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
				/* A one-shot that succeeded has done what it was asked for. */
				bool want = starts < rows[i].most &&
					    !(kinds[k] == HEALTH_EXIT && rows[i].exit_code == 0);

				if (health_grants_restart(kinds[k], &v, rows[i].policy, starts) !=
				    want)
					fail_msg("%s, status %d, kind %zu, after %u",
						 rows[i].policy, rows[i].exit_code, k, starts);
			}
			v.state = STATE_CREATED;
			assert_false(health_grants_restart(HEALTH_AUTO, &v, "always", starts));
			v.state = STATE_EXITED;
		}
	}
}

/* The engine's words may fill all of their place. */
static void test_long_error(void **state)
{
	struct container_view v = {.id = "id", .state = STATE_CREATED};
	struct container_config c = {.health = HEALTH_AUTO, .health_period_ms = PERIOD};
	char reason[RECORD_TEXT_MAX];

	memset(v.error, 'x', sizeof(v.error) - 1);
	assert_int_equal(health_judge(&c, &v, "no", 0, reason), VERDICT_BAD);
	assert_in_range(strlen(reason), 200, RECORD_TEXT_MAX - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_reasons),
		cmocka_unit_test(test_want_of_memory_is_told),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_limit_reasons),
		cmocka_unit_test(test_restarts),
		cmocka_unit_test(test_long_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
