/* SPDX-License-Identifier: MIT */
#include "challenge.h"
#include "test.h"

static void test_parse(void **state)
{
	static const struct {
		const char *value, *realm, *service;
		bool basic;
	} cases[] = {
		{"", NULL, NULL, false},
		{"Bearer realm=\"https://a/t\",service=\"s\",scope=\"repository:x:pull\"",
		 "https://a/t", "s", false},
		{"bearer REALM = \"https://a/t\" , Service=s", "https://a/t", "s", false},
		{"Bearer realm=https://a/t", "https://a/t", NULL, false},
		{"Bearer realm=\"a\\\"b\\\\c\"", "a\"b\\c", NULL, false},
		{"Bearer realm=\"a,Basic realm=b\"", "a,Basic realm=b", NULL, false},
		{"Basic realm=\"x\"", NULL, NULL, true},
		{"Basic", NULL, NULL, true},
		{"basic, bearer realm=\"r\"", "r", NULL, true},
		{"Bearer realm=\"r\", Basic realm=\"x\", charset=\"UTF-8\"", "r", NULL, true},
		{"Basic realm=\"x\", Bearer service=\"s\",realm=\"r\"", "r", "s", true},
		{"Negotiate abc/+==, Bearer realm=\"r\"", "r", NULL, false},
		{"Negotiate, Digest a=b,c=\"d\", Bearer realm=\"r\"", "r", NULL, false},
		{"Bearer realm=\"1\",realm=\"2\"", "1", NULL, false},
		{"Bearer realm=\"1\", Bearer realm=\"2\",service=\"s\"", "1", NULL, false},
		{"Bearer service=\"s\", Bearer realm=\"2\"", "2", NULL, false},
		{"Bearer realm=\"unclosed", NULL, NULL, false},
		{"Bearer realm=\"unclosed\\", NULL, NULL, false},
		{"Bearer realm=", NULL, NULL, false},
		{"Bearer realm=\"\"", "", NULL, false},
		{"Bearer =x, realm=\"r\"", NULL, NULL, false},
		{"Bearer", NULL, NULL, false},
		{"BearerX realm=\"r\"", NULL, NULL, false},
		{"\"Bearer\" realm=\"r\"", NULL, NULL, false},
		{",,, \t,Bearer\trealm=\"r\",,,", "r", NULL, false},
		{"\001\002@@@ Bearer realm=\"r\"", "r", NULL, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct challenge c;

		challenge_parse(cases[i].value, &c);
		if (!streq_null(c.realm, cases[i].realm) ||
		    !streq_null(c.service, cases[i].service) || c.basic != cases[i].basic)
			fail_msg("%s: realm %s, service %s, basic %d", cases[i].value, c.realm,
				 c.service, c.basic);
		challenge_free(&c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
