/* SPDX-License-Identifier: MIT */
#include "crypto.h"
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
	static const char *const wrong[] = {"",	    "Zg",    "Zg=",  "Zg===", "=Zg=",  "Zm8=Zm8=",
					    "Z m8", "Zm8\n", "Zm-_", "====",  "Zg==\n"};
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

/* FIPS 180-4 examples; the last from sha256sum(1). */
static void test_hash(void **state)
{
	_cleanup_free_ char *million = xmalloc(1000000);
	struct digest d;

	d = hash_bytes("", 0);
	assert_string_equal(
		d.text, "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	d = hash_bytes("abc", 3);
	assert_string_equal(
		d.text, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	memset(million, 'a', 1000000);
	d = hash_bytes(million, 1000000);
	assert_string_equal(
		d.text, "sha256:cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
	d = hash_bytes("a\0b", 3);
	assert_string_equal(
		d.text, "sha256:59b271ae1bbcb1d31d41929817f4b16fb439eb4f31520b5ad1d5ce98920a7138");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_base64),
		cmocka_unit_test(test_base64_refused),
		cmocka_unit_test(test_hash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
