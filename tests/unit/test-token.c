/* SPDX-License-Identifier: MIT */
#include "test.h"
#include "registry.h"

static bool trusted(const char *host, const char *registry, const char *realm)
{
	struct url a, b;
	bool r;

	assert_int_equal(url_parse(registry, &a), 0);
	assert_int_equal(url_parse(realm, &b), 0);
	r = token_host_is_trusted(host, &a, &b);
	url_free(&a);
	url_free(&b);
	return r;
}

static void test_who_may_see_credentials(void **state)
{
	static const struct {
		const char *registry, *realm;
		bool trusted;
	} cases[] = {
		{"https://r.io", "https://r.io/token", true},
		{"https://r.io:5000", "https://r.io:5001/token", true},
		{"https://r.io", "http://r.io/token", false},
		{"http://r.io:5000", "http://r.io:5001/token", true},
		{"http://r.io:5000", "https://r.io/token", true},
		{"https://registry.gitlab.com", "https://gitlab.com/jwt/auth", true},
		{"https://a.b.gitlab.com", "https://gitlab.com/jwt/auth", true},
		{"https://gitlab.com", "https://registry.gitlab.com/", false},
		{"https://registry.gitlab.com", "https://auth.gitlab.com/", false},
		{"https://registry.gitlab.com", "https://com/", false},
		{"https://registry.gitlab.com", "https://lab.com/", false},
		{"https://registry.gitlab.com", "https://gitlab.com.evil/", false},
		{"https://r.io", "https://evil/", false},
		{"https://r.io", "https://auth.docker.io/token", false},
		{"https://10.0.0.1", "https://10.0.0.1/", true},
		{"https://[::1]", "https://[::1]:80/", true},
		{"https://[::1]", "https://[::2]/", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (trusted("r.io", cases[i].registry, cases[i].realm) != cases[i].trusted)
			fail_msg("%s -> %s", cases[i].registry, cases[i].realm);
	}
	assert_true(trusted("docker.io", "https://registry-1.docker.io",
			    "https://auth.docker.io/token"));
	assert_false(trusted("docker.io", "https://registry-1.docker.io",
			     "http://auth.docker.io/token"));
	assert_false(trusted("docker.io", "https://registry-1.docker.io", "https://docker.io/"));
	assert_false(
		trusted("docker.io", "https://registry-1.docker.io", "https://evil.docker.io/"));
}

static void test_message(void **state)
{
	static const struct {
		const char *body, *message;
	} cases[] = {
		{"{\"errors\":[{\"code\":\"X\",\"message\":\"no\"},{\"message\":\"b\"}]}", "no"},
		{"{\"message\":\"no\"}", "no"},
		{"{\"details\":\"no\"}", "no"},
		{"{\"errors\":[]}", NULL},
		{"{\"errors\":[7],\"message\":7}", NULL},
		{"{\"errors\":[{\"message\":\"\"}]}", NULL},
		{"<html>", NULL},
		{"", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct http_response r = {.body = (char *)cases[i].body,
					  .body_len = strlen(cases[i].body)};
		_cleanup_free_ char *message = token_error_message(&r);

		if (!streq_null(message, cases[i].message))
			fail_msg("%s: %s", cases[i].body, message);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_who_may_see_credentials),
		cmocka_unit_test(test_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
