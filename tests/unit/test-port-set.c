/* SPDX-License-Identifier: MIT */
#include "port-set.h"
#include "test.h"

static int append(void *userdata, const char *key)
{
	char *text = userdata;

	return (int)strlen(strcat(strcat(text, key), " ")) * 0;
}

static void test_ranges(void **state)
{
	static const char *const good[] = {"80/tcp",	"1025-1027/tcp", "1027-1029/tcp", "0/udp",
					   "65535/udp", "65534/udp",	 "9/sctp"};
	static const char *const bad[] = {"",
					  "80",
					  "/tcp",
					  "80/",
					  "80/icmp",
					  "080/tcp",
					  "65536/tcp",
					  "9-8/tcp",
					  "-8/tcp",
					  "8-/tcp",
					  "8-9-10/tcp",
					  "+8/tcp",
					  "99999999999999999999/tcp",
					  "80/TCP",
					  " 80/tcp"};
	struct port_set *s = xcalloc(1, sizeof(*s)), *other = xcalloc(1, sizeof(*other));
	char text[200] = "";

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(port_set_add(s, good[i]) && port_set_has(s, good[i]));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(port_set_add(s, bad[i]) || port_set_has(s, bad[i]));
	assert_false(port_set_has(s, "80-81/tcp"));
	assert_int_equal(port_set_count(s), 10);
	assert_int_equal(port_set_walk(s, true, append, text), 0);
	assert_string_equal(text, "80/tcp 1025-1029/tcp 0/udp 65534-65535/udp 9/sctp ");
	assert_true(port_set_add(other, "1026-1028/tcp") && port_set_add(other, "7/tcp"));
	port_set_subtract(s, other);
	text[0] = '\0';
	assert_int_equal(port_set_walk(s, false, append, text), 0);
	assert_string_equal(text, "80/tcp 1025/tcp 1029/tcp 0/udp 65534/udp 65535/udp 9/sctp ");
	free(s);
	free(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_ranges)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
