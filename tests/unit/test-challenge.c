/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "challenge.h"

static void test_parse(void **state)
{
	static const struct {
		const char *value, *realm, *service, *scope;
		bool basic;
	} cases[] = {
		{"", NULL, NULL, NULL, false},
		{"Bearer realm=\"https://a/t\",service=\"s\",scope=\"repository:x:pull\"",
		 "https://a/t", "s", "repository:x:pull", false},
		{"bearer REALM = \"https://a/t\" , Service=s", "https://a/t", "s", NULL, false},
		{"Bearer realm=https://a/t", "https://a/t", NULL, NULL, false},
		{"Bearer realm=\"a\\\"b\\\\c\"", "a\"b\\c", NULL, NULL, false},
		{"Bearer realm=\"a,Basic realm=b\"", "a,Basic realm=b", NULL, NULL, false},
		{"Basic realm=\"x\"", NULL, NULL, NULL, true},
		{"Basic", NULL, NULL, NULL, true},
		{"basic, bearer realm=\"r\"", "r", NULL, NULL, true},
		{"Bearer realm=\"r\", Basic realm=\"x\", charset=\"UTF-8\"", "r", NULL, NULL, true},
		{"Basic realm=\"x\", Bearer service=\"s\",realm=\"r\"", "r", "s", NULL, true},
		{"Negotiate abc/+==, Bearer realm=\"r\"", "r", NULL, NULL, false},
		{"Negotiate, Digest a=b,c=\"d\", Bearer realm=\"r\"", "r", NULL, NULL, false},
		{"Bearer realm=\"1\",realm=\"2\"", "1", NULL, NULL, false},
		{"Bearer realm=\"1\", Bearer realm=\"2\",service=\"s\"", "1", NULL, NULL, false},
		{"Bearer service=\"s\", Bearer realm=\"2\"", "2", NULL, NULL, false},
		{"Bearer realm=\"unclosed", NULL, NULL, NULL, false},
		{"Bearer realm=\"unclosed\\", NULL, NULL, NULL, false},
		{"Bearer realm=", NULL, NULL, NULL, false},
		{"Bearer realm=\"\"", "", NULL, NULL, false},
		{"Bearer =x, realm=\"r\"", NULL, NULL, NULL, false},
		{"Bearer", NULL, NULL, NULL, false},
		{"BearerX realm=\"r\"", NULL, NULL, NULL, false},
		{"\"Bearer\" realm=\"r\"", NULL, NULL, NULL, false},
		{",,, \t,Bearer\trealm=\"r\",,,", "r", NULL, NULL, false},
		{"\001\002@@@ Bearer realm=\"r\"", "r", NULL, NULL, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct challenge c;

		challenge_parse(cases[i].value, &c);
		if (!streq_null(c.realm, cases[i].realm) ||
		    !streq_null(c.service, cases[i].service) ||
		    !streq_null(c.scope, cases[i].scope) || c.basic != cases[i].basic)
			fail_msg("%s: realm %s, service %s, scope %s, basic %d", cases[i].value,
				 c.realm, c.service, c.scope, c.basic);
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
