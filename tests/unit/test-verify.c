/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "test.h"
#include "verify.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void test_without_keys(void **state)
{
	struct container_config c = {.name = (char *)"app"};
	_cleanup_free_ struct verified *v = NULL;
	struct digest d;
	struct error e = {0};

	assert_int_equal(digest_parse("sha256:" HEX64, &d), 0);
	assert_int_equal(verify_image(&c, &d, &v, &e), 0);
	assert_non_null(v);
	assert_string_equal(verified_digest(v)->text, d.text);
	memset(&d, 0, sizeof(d)); /* a copy, not a view */
	assert_string_equal(verified_digest(v)->text, "sha256:" HEX64);
}

static void test_with_keys(void **state)
{
	char *one[] = {(char *)"/keys/prod.pub", NULL}, *none[] = {NULL};
	char **lists[] = {one, none};
	struct digest d;

	assert_int_equal(digest_parse("sha256:" HEX64, &d), 0);
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		struct container_config c = {.name = (char *)"app", .keys = lists[i]};
		struct verified *v = NULL;
		struct error e = {0};

		assert_int_equal(verify_image(&c, &d, &v, &e), -EKEYREJECTED);
		assert_null(v);
		assert_string_equal(e.text,
				    "app: key= is set, but this version cannot check signatures: "
				    "no image is accepted");
	}
}

static void test_nothing_to_verify(void **state)
{
	struct container_config c = {.name = (char *)"app"};
	struct verified *v = NULL;
	struct digest d = {0};
	struct error e = {0};

	assert_int_equal(verify_image(&c, &d, &v, &e), -EINVAL);
	assert_null(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_without_keys),
		cmocka_unit_test(test_with_keys),
		cmocka_unit_test(test_nothing_to_verify),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
