/* SPDX-License-Identifier: MIT */
#include "crypto.h"
#include "test.h"

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
		cmocka_unit_test(test_hash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
