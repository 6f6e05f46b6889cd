/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "digest.h"
#include "test.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void test_parse(void **state)
{
	static const char *const bad[] = {
		"",
		"sha256:",
		"sha256:abc",
		"sha256:" HEX64 "0",
		"sha256:" HEX64 "\n",
		" sha256:" HEX64,
		"SHA256:" HEX64,
		"sha512:" HEX64,
		HEX64,
		"sha256:0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef",
		"sha256:../../../../etc/passwd/../../../../../../../../../../../../../",
	};
	struct digest d = {.text = "before"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(digest_parse(bad[i], &d), -EINVAL);
		assert_string_equal(d.text, "before");
	}
	assert_int_equal(digest_parse("sha256:" HEX64, &d), 0);
	assert_string_equal(d.text, "sha256:" HEX64);
	assert_int_equal(strlen(d.text), DIGEST_TEXT_LEN);
}

static void test_none_equals_nothing(void **state)
{
	struct digest none = {0}, also = {0}, one;

	assert_int_equal(digest_parse("sha256:" HEX64, &one), 0);
	assert_false(digest_eq(&none, &also));
	assert_false(digest_eq(&none, &one));
	assert_false(digest_eq(&one, &none));
	assert_true(digest_eq(&one, &one));
	assert_true(digest_is_set(&one));
	assert_false(digest_is_set(&none));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_none_equals_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
