/* SPDX-License-Identifier: MIT */
#include "blob.h"
#include "test.h"

static void test_ranges(void **state)
{
	static const struct {
		const char *value;
		uint64_t first, last, size; /* size 0: it is not valid */
	} rows[] = {
		{"bytes 0-0/1", 0, 0, 1},
		{"bytes 7-9/10", 7, 9, 10},
		{"bytes 7-8/10", 7, 8, 10},
		{"bytes 999999999999999997-999999999999999998/999999999999999999",
		 999999999999999997, 999999999999999998, 999999999999999999},
		{"bytes 0000000000000000007-9/10", 0, 0, 0},
		{"bytes 7-10/10", 0, 0, 0},
		{"bytes 9-7/10", 0, 0, 0},
		{"bytes 0-0/0", 0, 0, 0},
		{"bytes 7-9/*", 0, 0, 0},
		{"bytes */10", 0, 0, 0},
		{"bytes -9/10", 0, 0, 0},
		{"bytes 7-/10", 0, 0, 0},
		{"bytes 7-9/", 0, 0, 0},
		{"bytes 7-9", 0, 0, 0},
		{"bytes 7-9/10 ", 0, 0, 0},
		{"bytes 7-9/10,", 0, 0, 0},
		{"bytes  7-9/10", 0, 0, 0},
		{"bytes +7-9/10", 0, 0, 0},
		{"bytes 0x7-9/10", 0, 0, 0},
		{"bytes=7-9/10", 0, 0, 0},
		{"byte 7-9/10", 0, 0, 0},
		{"bytes", 0, 0, 0},
		{"", 0, 0, 0},
		{"bytes 18446744073709551623-9/10", 0, 0, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t first, last, size;
		bool valid = blob_parse_range(rows[i].value, &first, &last, &size);

		if (valid != (rows[i].size > 0))
			fail_msg("%s: %d", rows[i].value, valid);
		if (!valid)
			continue;
		assert_true(first == rows[i].first && last == rows[i].last && size == rows[i].size);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ranges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
