/* SPDX-License-Identifier: MIT */
#include "event-env.h"
#include "test.h"

static void test_an_event_is_an_environment(void **state)
{
	_cleanup_json_ json_t *event =
		json_pack("{s:s, s:n, s:[s,s], s:[], s:i, s:s, s:s, s:{s:s}}", "message",
			  "say \"a\\b\" $HOME `id`\nLD_PRELOAD=x \x1b[2J\xc3\xa9", "from", "log",
			  "one", "two;\n", "empty", "number", 3, "LD_PRELOAD", "x", "x=y\nz", "x",
			  "object", "key", "value");
	_cleanup_free_ char *text = event_environment(event);

	assert_string_equal(text,
			    "PULLET_MESSAGE=\"say \\\"a\\\\b\\\" \\$HOME \\`id\\`?LD_PRELOAD=x "
			    "?[2J\xc3\xa9\"\nPULLET_FROM=\"\"\nPULLET_LOG=\"one\ntwo;?\"\n"
			    "PULLET_EMPTY=\"\"\nPULLET_NUMBER=\"\"\nPULLET_OBJECT=\"\"\n");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_event_is_an_environment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
