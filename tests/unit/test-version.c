/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "test.h"
#include "engine.h"

#define HOST		    "\"Os\":\"linux\",\"Arch\":\"amd64\""
#define API(newest, oldest) "\"ApiVersion\":\"" newest "\",\"MinAPIVersion\":\"" oldest "\","
#define PODMAN(release)                                                                \
	"\"Components\":[{\"Name\":\"Conmon\",\"Version\":\"conmon version 2.1.12\"}," \
	"{\"Name\":\"Podman Engine\"," release "\"Details\":{}}],"

static int read_text(const char *text, struct version *ret, struct error *ret_error)
{
	_cleanup_json_ json_t *j = json_loads(text, 0, NULL);

	assert_non_null(j);
	return version_read(j, ret, ret_error);
}

static void test_spoken(void **state)
{
	static const struct {
		const char *answer;
		int minor; /* 0: refused, with these words */
		const char *words[3];
	} rows[] = {
		{"{" API("1.41", "1.12") HOST "}", 41, {NULL}},
		{"{" API("1.45", "1.24") HOST "}", 45, {NULL}},
		{"{" API("1.51", "1.24") HOST "}", 51, {NULL}},
		{"{" API("1.54", "1.44") HOST "}", 51, {NULL}},
		{"{" API("1.54", "1.51") HOST "}", 51, {NULL}},
		{"{" API("1.41", "1.41") HOST "}", 41, {NULL}},
		{"{\"ApiVersion\":\"1.41\"," HOST "}", 41, {NULL}},
		{"{" API("1.54", "1.52") HOST "}", 0, {"requires API 1.52", "above 1.51"}},
		{"{" API("1.40", "1.12") HOST "}", 0, {"1.40 at most", "1.41", "20.10"}},
		{"{" API("2.0", "2.0") HOST "}", 0, {"lacks ApiVersion"}},
		{"{" API("1.", "1.") HOST "}", 0, {"lacks ApiVersion"}},
		{"{" HOST "}", 0, {"lacks ApiVersion"}},
		{"{" API("1.41", "1.12") "\"Os\":\"linux\"}", 0, {"lacks ApiVersion"}},
		{"[]", 0, {"lacks ApiVersion"}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct version v = {0};
		struct error e = {0};
		int r = read_text(rows[i].answer, &v, &e);

		assert_int_equal(r, rows[i].minor ? 0 : -EPROTO);
		assert_int_equal(v.api_minor, rows[i].minor);
		assert_false(v.podman);
		for (size_t k = 0; k < 3 && rows[i].words[k]; k++)
			assert_non_null(strstr(e.text, rows[i].words[k]));
	}
}

static void test_platform(void **state)
{
	struct version v;
	struct error e;

	assert_int_equal(read_text("{" API("1.45", "1.24") HOST "}", &v, &e), 0);
	assert_string_equal(v.platform.os, "linux");
	assert_string_equal(v.platform.architecture, "amd64");
	assert_string_equal(v.platform.variant, "");
	assert_int_equal(
		read_text("{" API("1.45", "1.24") "\"Os\":\"linux\",\"Arch\":\"arm\"}", &v, &e), 0);
	assert_string_equal(v.platform.architecture, "arm");
	assert_int_equal(v.platform.variant[0], 'v');
}

static void test_podman(void **state)
{
	struct version v;
	struct error e;

	assert_int_equal(read_text("{" PODMAN("\"Version\":\"5.4.2\",") API("1.41", "1.24") HOST
				   "}",
				   &v, &e),
			 0);
	assert_true(v.podman);
	assert_int_equal(v.api_minor, 41);
	assert_int_equal(read_text("{" PODMAN("\"Version\":\"4.3.1\",") API("1.41", "1.24") HOST
				   "}",
				   &v, &e),
			 -EPROTO);
	assert_non_null(strstr(e.text, "podman 4.3.1 is too old: upgrade it to 5"));
	assert_int_equal(read_text("{" PODMAN("") API("1.41", "1.24") HOST "}", &v, &e), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spoken),
		cmocka_unit_test(test_platform),
		cmocka_unit_test(test_podman),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
