/* SPDX-License-Identifier: MIT */
#include "terminal.h"
#include "test.h"

static void test_bytes(void **state)
{
	static const struct {
		uint64_t n;
		const char *text;
	} rows[] = {
		{0, "0 B"},
		{999, "999 B"},
		{1000, "1.0 kB"},
		{1234567, "1.2 MB"},
		{999949, "999.9 kB"},
		{999950, "1.0 MB"},
		{45600000000, "45.6 GB"},
		{UINT64_MAX, "18446.7 PB"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *s = text_bytes(rows[i].n);

		assert_string_equal(s, rows[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
