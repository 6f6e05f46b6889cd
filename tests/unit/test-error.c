/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "error.h"
#include "test.h"

static void test_set(void **state)
{
	struct error e = {0};

	assert_int_equal(error_set(&e, -ENOENT, "no %s", "file"), -ENOENT);
	assert_int_equal(e.code, -ENOENT);
	assert_string_equal(e.text, "no file");
}

static void test_foreign_text(void **state)
{
	struct error e;

	(void)error_set(&e, -EIO, "%s", "a\nb\033[31m\x7f\tc");
	assert_string_equal(e.text, "a?b?[31m??c");
	(void)error_set(&e, -EIO, "%s", "gr\303\274n");
	assert_string_equal(e.text, "gr\303\274n");
}

static void test_bounds(void **state)
{
	_cleanup_free_ char *big = xcalloc(5000, 1);
	struct error e;

	memset(big, 'x', 4999);
	assert_int_equal(error_set(&e, -EIO, "%s", big), -EIO);
	assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
	assert_int_equal(error_prefix(&e, "in %d", 7), -EIO);
	assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
	assert_memory_equal(e.text, "in 7: xxx", 9);
	assert_int_equal(error_prefix(&e, "%s", big), -EIO);
	assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
}

static void test_prefix(void **state)
{
	struct error e;

	(void)error_set(&e, -EPERM, "no");
	assert_int_equal(error_prefix(&e, "%s\n", "x"), -EPERM);
	assert_string_equal(e.text, "x?: no");
	assert_int_equal(e.code, -EPERM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set),
		cmocka_unit_test(test_foreign_text),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_prefix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
