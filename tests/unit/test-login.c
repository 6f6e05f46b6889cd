/* SPDX-License-Identifier: MIT */
#include "login.h"
#include "test.h"

static void expect(char *got, const char *want)
{
	if (!streq_null(got, want))
		fail_msg("%s, not %s", got ? got : "NULL", want ? want : "NULL");
	free(got);
}

static void test_names(void **state)
{
	assert_string_equal(login_key("docker.io"), "https://index.docker.io/v1/");
	assert_string_equal(login_key("r.io:5000"), "r.io:5000");
	expect(login_file("r.io:5000"), "r.io_5000.json");
	expect(login_file("[::1]:5000"), "[__1]_5000.json");
	expect(login_directory("/etc/pullet/pullet.conf"), "/etc/pullet/auth.d");
	expect(login_directory("pullet.conf"), "auth.d");
}

/* Nothing of another host, however similar its name is. */
static void test_scopes(void **state)
{
	expect(login_scope("r.io:5000", "r.io:5000"), "");
	expect(login_scope("R.io:5000/", "r.io:5000"), "");
	expect(login_scope("https://r.io/v2/", "r.io"), "");
	expect(login_scope("https://r.io/team", "r.io"), "");
	expect(login_scope("r.io/team/app/", "r.io"), "team/app");
	expect(login_scope("https://index.docker.io/v1/", "docker.io"), "");
	expect(login_scope("docker.io/jo", "docker.io"), "jo");
	expect(login_scope("r.io", "r.io:5000"), NULL);
	expect(login_scope("r.io:5000", "r.io"), NULL);
	expect(login_scope("r.io.evil", "r.io"), NULL);
	expect(login_scope("evil/r.io", "r.io"), NULL);
	expect(login_scope("https://index.docker.io/v1/", "ghcr.io"), NULL);
	expect(login_scope("", "r.io"), NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_scopes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
