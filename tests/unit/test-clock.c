/* SPDX-License-Identifier: MIT */
#include <time.h>

#include "clock.h"
#include "test.h"

#define PAST   86400 /* where a Pi without a battery starts */
#define FUTURE (INT64_C(1) << 33)

static void test_facts(void **state)
{
	static const struct {
		struct clock_facts facts;
		bool set;
	} rows[] = {
		{{.now_s = PAST}, false},
		{{.now_s = PAST, .rtc = true}, false}, /* its battery is empty */
		{{.now_s = PAST, .waiting = true}, false},
		{{.now_s = PAST, .synchronised = true}, true},
		{{.now_s = FUTURE}, true}, /* nobody here who knows better */
		{{.now_s = FUTURE, .rtc = true}, true},
		/* Where it was switched off, perhaps weeks ago. */
		{{.now_s = FUTURE, .waiting = true}, false},
		{{.now_s = FUTURE, .waiting = true, .rtc = true}, true},
		{{.now_s = FUTURE, .synchronised = true}, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(clock_is_set(&rows[i].facts), rows[i].set);
}

/* Built before it runs: on the machine that built it, the clock is later. */
static void test_build_date_is_in_the_past(void **state)
{
	struct clock_facts now = {.now_s = (int64_t)time(NULL)}, old = {.now_s = 1600000000};

	assert_true(clock_is_set(&now));
	assert_false(clock_is_set(&old));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_facts),
		cmocka_unit_test(test_build_date_is_in_the_past),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
