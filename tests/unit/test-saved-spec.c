/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>

#include "json.h"
#include "saved-spec.h"
#include "test.h"

#define DIGEST "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void test_comes_back(void **state)
{
	_cleanup_(saved_spec_free) struct saved_spec k = {.digest = {DIGEST}}, back = {0};
	struct error e;

	k.plan.body = json_pack("{s:s, s:[s]}", "Image", "reg/app:stable", "Env", "KEY=value");
	k.plan.connect = json_pack("[{s:s}]", "Network", "back");
	k.plan.policy = xstrdup("on-failure:3");
	assert_int_equal(saved_spec_save(scratch, "app", &k, &e), 0);
	assert_int_equal(saved_spec_load(scratch, "app", &back, &e), 0);
	assert_string_equal(back.digest.text, DIGEST);
	assert_string_equal(back.plan.policy, "on-failure:3");
	assert_true(json_equal(back.plan.body, k.plan.body));
	assert_true(json_equal(back.plan.connect, k.plan.connect));
	saved_spec_forget(scratch, "app");
	assert_int_equal(saved_spec_load(scratch, "app", &back, &e), -ENOENT);
	saved_spec_forget(scratch, "app");
}

static void test_what_is_not_whole_is_not_taken(void **state)
{
	static const char *const texts[] = {
		"",
		"[]",
		"{}",
		"{\"digest\":\"sha256:0\",\"policy\":\"no\",\"body\":{},\"connect\":[]}",
		"{\"digest\":\"" DIGEST "\",\"policy\":\"no\",\"body\":[],\"connect\":[]}",
		"{\"digest\":\"" DIGEST "\",\"policy\":\"no\",\"body\":{}}",
		"{\"digest\":\"" DIGEST "\",\"body\":{},\"connect\":[]}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct saved_spec k = {0};
		struct error e;

		assert_int_equal(write_file_atomic_at(scratch, "app.json.kept", 0600, texts[i],
						      strlen(texts[i])),
				 0);
		assert_true(saved_spec_load(scratch, "app", &k, &e) < 0);
		assert_null(k.plan.body);
	}
	saved_spec_forget(scratch, "app");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_comes_back),
		cmocka_unit_test(test_what_is_not_whole_is_not_taken),
	};

	return cmocka_run_group_tests(tests, open_scratch, close_scratch);
}
