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
} rows[] = {
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
	const struct container_view v = view_of(&looks[look], rows[row].health);
	struct container_config c = {.health = rows[row].kind, .health_period_ms = PERIOD};
	char expected = (up_ms < PERIOD ? rows[row].within : rows[row].over)[look];
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
	assert_int_equal(ARRAY_SIZE(rows), 4 * 4);
	for (size_t r = 0; r < ARRAY_SIZE(rows); r++) {
		assert_true(strlen(rows[r].within) == LOOKS && strlen(rows[r].over) == LOOKS);
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
		 "it was not healthy within health-period"},
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
		cmocka_unit_test(test_long_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
