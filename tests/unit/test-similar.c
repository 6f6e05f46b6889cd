/* SPDX-License-Identifier: MIT */
#include "similar.h"
#include "test.h"

static void expect(const char *given, const char *hint)
{
	static const char *const words[] = {"hold", "health", "health-period",
					    "no",   "status", "ca"};
	struct similar s = {.given = given};
	_cleanup_free_ char *got = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		similar_try(&s, words[i], strlen(words[i]));
	got = similar_hint(&s);
	assert_string_equal(got, hint);
}

static void test_close_words(void **state)
{
	expect("helth", "; did you mean 'health'?");
	expect("stauts", "; did you mean 'status'?");
	expect("STATUS", "; did you mean 'status'?");
	expect("health_period", "; did you mean 'health-period'?");
	expect("heatlh-periode", "; did you mean 'health-period'?");
	expect("on", "; did you mean 'no'?");
	expect("holds", "; did you mean 'hold'?");
}

static void test_other_words(void **state)
{
	expect("", "");
	expect("frobnicate", "");
	expect("url", "");
	/* Two edits of four characters. */
	expect("hoax", "");
	/* The word itself is not similar to itself. */
	expect("status", "");
	expect("a-word-that-is-longer-than-thirty-two-characters", "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_close_words),
		cmocka_unit_test(test_other_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
