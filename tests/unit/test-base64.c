/* SPDX-License-Identifier: MIT */
#include "base64.h"
#include "test.h"

/* RFC 4648, section 10, and bytes that make + and /. */
static void test_base64(void **state)
{
	static const struct {
		const char *plain, *coded;
	} cases[] = {
		{"f", "Zg=="},
		{"fo", "Zm8="},
		{"foo", "Zm9v"},
		{"foob", "Zm9vYg=="},
		{"fooba", "Zm9vYmE="},
		{"foobar", "Zm9vYmFy"},
		{"\xfb\xef\xff", "++//"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t n = 99;
		_cleanup_free_ char *coded = base64_encode(cases[i].plain, strlen(cases[i].plain));
		_cleanup_free_ char *plain = base64_decode(cases[i].coded, &n);

		assert_string_equal(coded, cases[i].coded);
		assert_non_null(plain);
		assert_int_equal(n, strlen(cases[i].plain));
		assert_string_equal(plain, cases[i].plain);
	}
}

static void test_base64_refused(void **state)
{
	static const char *const wrong[] = {
		"",	 "Zg",	 "Zg=",	 "Zg===",  "=Zg=", "Zm8=Zm8=", "Z m8",
		"Zm8\n", "Zm-_", "====", "Zg==\n", "Zh==", "Zm9=",     "Zm8=Zm9v"};
	_cleanup_free_ char *large = NULL, *plain = NULL;
	size_t n;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		if (base64_decode(wrong[i], &n))
			fail_msg("%s", wrong[i]);
	large = xmalloc(BASE64_MAX + 5);
	memset(large, 'A', BASE64_MAX + 4);
	large[BASE64_MAX + 4] = '\0';
	assert_null(base64_decode(large, &n));
	large[BASE64_MAX] = '\0';
	plain = base64_decode(large, &n);
	assert_non_null(plain);
	assert_int_equal(n, BASE64_MAX / 4 * 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_base64),
		cmocka_unit_test(test_base64_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
