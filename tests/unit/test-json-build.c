/* SPDX-License-Identifier: MIT */
#include "json-build.h"
#include "test.h"

static void expect_text(json_t *j, const char *expected)
{
	assert_string_equal(json_string_value(j), expected);
	json_decref(j);
}

static void test_string_lossy(void **state)
{
	(void)state;
	expect_text(json_string_lossy(""), "");
	expect_text(json_string_lossy("caf\xc3\xa9"), "caf\xc3\xa9");
	expect_text(json_string_lossy("caf\xc3"), "caf?");
	expect_text(json_string_lossy("caf\xc3\xa9\xff"), "caf???");
}

static void test_string_or_null(void **state)
{
	json_t *null = json_string_or_null("");

	(void)state;
	assert_true(json_is_null(null));
	expect_text(json_string_or_null("a"), "a");
	assert_null(json_string_or_null("caf\xc3"));
}

static void test_put_and_append(void **state)
{
	_cleanup_json_ json_t *object = json_need(json_object());
	json_t *list = json_need(json_array());

	(void)state;
	json_put(object, "list", list);
	json_append(list, json_integer(1));
	json_append(list, json_integer(2));
	assert_int_equal(json_array_size(json_object_get(object, "list")), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_string_lossy),
		cmocka_unit_test(test_string_or_null),
		cmocka_unit_test(test_put_and_append),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
