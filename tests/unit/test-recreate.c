/* SPDX-License-Identifier: MIT */
/* One case a file in tests/data/recreate: {"about","api_minor","image","names","host_name",
 * "container","old_image","new_image"} or {"first":BODY}, with "refuse": part of the reason, or
 * "expect": the body, "connect" ([] when absent), "policy" ("no" when absent). Those that name an
 * engine in "about" are its own answers, trimmed of what is empty. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>

#include "json.h"
#include "recreate.h"
#include "test.h"

#define TARGET "sha256:7777777777777777777777777777777777777777777777777777777777777777"

static int run(const json_t *c, struct recreate_plan *ret, struct error *ret_error)
{
	struct recreate_input in = {
		.first = json_object_get(c, "first"),
		.container = json_object_get(c, "container"),
		.old_image = json_object_get(c, "old_image"),
		.new_image = json_object_get(c, "new_image"),
		.image = json_get_string(c, "image"),
		.target = TARGET,
		.host_name = json_get_string(c, "host_name"),
		.api_minor = (int)json_integer_value(json_object_get(c, "api_minor")),
		.names = json_object_get(c, "names"),
	};

	return recreate_spec(&in, ret, ret_error);
}

static bool same(const char *name, const char *what, const json_t *got, const json_t *want)
{
	if (json_equal(got, want))
		return true;
	_cleanup_free_ char *g = json_text(got, JSON_SORT_KEYS | JSON_INDENT(1) | JSON_ENCODE_ANY);
	_cleanup_free_ char *w = json_text(want, JSON_SORT_KEYS | JSON_INDENT(1) | JSON_ENCODE_ANY);

	print_error("%s: %s is\n%s\nand should be\n%s\n", name, what, g, w);
	return false;
}

static bool check_case(const char *name, const json_t *c)
{
	const char *refuse = json_get_string(c, "refuse");
	const char *policy = json_get_string(c, "policy");
	_cleanup_json_ json_t *before = json_deep_copy(c), *none = json_array();
	const json_t *connect = json_object_get(c, "connect");
	struct recreate_plan plan = {0};
	struct error e = {0};
	bool good;
	int r = run(c, &plan, &e);

	if (refuse) {
		good = r == -EKEYREJECTED && e.code == r && strstr(e.text, refuse) && !plan.body &&
		       !plan.connect && !plan.policy;
		if (!good)
			print_error("%s: %d, %s\n", name, r, e.text);
	} else if (r < 0) {
		print_error("%s: refused: %s\n", name, e.text);
		good = false;
	} else {
		good = same(name, "body", plan.body, json_object_get(c, "expect"));
		good &= same(name, "connect", plan.connect, connect ? connect : none);
		if (!streq(plan.policy, policy ? policy : "no")) {
			print_error("%s: policy %s\n", name, plan.policy);
			good = false;
		}
	}
	good &= same(name, "what went in", c, before);
	recreate_plan_free(&plan);
	return good;
}

/* Calls each for every case; returns how many there are. */
static size_t for_each_case(bool (*each)(const char *name, const json_t *c), size_t *ret_bad)
{
	size_t n = 0;
	struct dirent *entry;
	DIR *dir = opendir(TEST_DATA "/recreate");

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		_cleanup_free_ char *path = xasprintf(TEST_DATA "/recreate/%s", entry->d_name);
		_cleanup_json_ json_t *c = NULL;
		json_error_t where;

		if (!has_suffix(entry->d_name, ".json"))
			continue;
		c = json_load_file(path, JSON_REJECT_DUPLICATES, &where);
		if (!c)
			fail_msg("%s:%d: %s", path, where.line, where.text);
		assert_true(!json_object_get(c, "refuse") != !json_object_get(c, "expect"));
		*ret_bad += !each(entry->d_name, c);
		n++;
	}
	closedir(dir);
	return n;
}

static void test_cases(void **state)
{
	size_t bad = 0, n = for_each_case(check_case, &bad);

	assert_true(n >= 100);
	assert_int_equal(bad, 0);
}

/* Any answer with any one value of another type: a plan or a reason, never a crash. */
static size_t odd_runs;

static void run_odd(const json_t *c)
{
	struct recreate_plan plan = {0};
	_cleanup_json_ json_t *references = recreate_references(json_object_get(c, "container"));
	struct error e = {0};
	int r = run(c, &plan, &e);

	assert_non_null(references);
	assert_true(r == 0 ? !!plan.body : r == -EKEYREJECTED && e.code == r);
	recreate_plan_free(&plan);
	odd_runs++;
}

static void bend(const json_t *c, json_t *node, int depth)
{
	static const char *const odd[] = {"null",  "true", "-7",     "1.5",	 "\"\"",
					  "\"x\"", "[]",   "[null]", "{\"\":1}", "{\"a\":[3]}"};
	const char *key;
	json_t *value;
	void *next;

	if (depth > 7)
		return;
	if (json_is_array(node)) {
		for (size_t i = 0; i < json_array_size(node); i++)
			bend(c, json_array_get(node, i), depth + 1);
		if (json_array_size(node) == 0)
			return;
	}
	json_object_foreach_safe (node, next, key, value) {
		_cleanup_json_ json_t *kept = json_incref(value);
		_cleanup_free_ char *name = xstrdup(key);

		bend(c, value, depth + 1);
		for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
			json_object_set_new(node, name, json_loads(odd[i], JSON_DECODE_ANY, NULL));
			run_odd(c);
		}
		json_object_set(node, name, kept);
	}
	for (size_t i = 0; i < json_array_size(node); i++) {
		_cleanup_json_ json_t *kept = json_incref(json_array_get(node, i));

		for (size_t k = 0; k < ARRAY_SIZE(odd); k++) {
			json_array_set_new(node, i, json_loads(odd[k], JSON_DECODE_ANY, NULL));
			run_odd(c);
		}
		json_array_set(node, i, kept);
	}
}

static bool bend_case(const char *name, const json_t *c)
{
	static const char *const parts[] = {"container", "old_image", "new_image", "first",
					    "names"};

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		bend(c, json_object_get(c, parts[i]), 0);
	return true;
}

static void test_odd_answers(void **state)
{
	size_t bad = 0;

	for_each_case(bend_case, &bad);
	assert_true(odd_runs > 10000);
}

static void test_policy(void **state)
{
	static const struct {
		const char *json, *text;
	} cases[] = {
		{"null", "no"},
		{"{}", "no"},
		{"{\"Name\":\"\",\"MaximumRetryCount\":0}", "no"},
		{"{\"Name\":\"no\",\"MaximumRetryCount\":0}", "no"},
		{"{\"Name\":\"always\"}", "always"},
		{"{\"Name\":\"unless-stopped\",\"MaximumRetryCount\":0}", "unless-stopped"},
		{"{\"Name\":\"on-failure\",\"MaximumRetryCount\":0}", "on-failure"},
		{"{\"Name\":\"on-failure\"}", "on-failure"},
		{"{\"Name\":\"on-failure\",\"MaximumRetryCount\":2147483647}",
		 "on-failure:2147483647"},
		{"{\"Name\":\"on-failure\",\"MaximumRetryCount\":-1}", NULL},
		{"{\"Name\":\"on-failure\",\"MaximumRetryCount\":2147483648}", NULL},
		{"{\"Name\":\"Always\"}", NULL},
		{"{\"Name\":7}", NULL},
		{"\"always\"", NULL},
	};
	static const char *const wrong[] = {"",
					    "never",
					    "on-failure:",
					    "on-failure:0",
					    "on-failure:-1",
					    "on-failure:+1",
					    "on-failure: 1",
					    "on-failure:1x",
					    "always:1",
					    "on-failure:2147483648",
					    "on-failure:99999999999999999999999"};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ json_t *policy = json_loads(cases[i].json, JSON_DECODE_ANY, NULL);
		_cleanup_free_ char *text = recreate_policy_text(policy), *again = NULL;
		_cleanup_json_ json_t *back = NULL;

		if (!streq_null(text, cases[i].text))
			fail_msg("%s: %s", cases[i].json, text ? text : "(none)");
		if (!text)
			continue;
		back = recreate_policy_json(text);
		again = recreate_policy_text(back);
		assert_non_null(back);
		assert_string_equal(text, again);
	}
	_cleanup_free_ char *absent = recreate_policy_text(NULL);
	assert_string_equal(absent, "no");
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_null(recreate_policy_json(wrong[i]));
}

static json_t *parse(const char *text)
{
	json_t *j = json_loads(text, JSON_DECODE_ANY, NULL);

	assert_non_null(j);
	return j;
}

static void test_references(void **state)
{
	_cleanup_json_ json_t *container = parse(
		"{\"HostConfig\":{\"NetworkMode\":\"container:net\",\"PidMode\":\"host\","
		"\"IpcMode\":\"container:ipc\",\"VolumesFrom\":[\"vol:ro,z\",\"net\",\":ro\",7]}}");
	_cleanup_json_ json_t *want = parse("[\"net\",\"ipc\",\"vol\"]");
	_cleanup_json_ json_t *got = recreate_references(container), *none = NULL;

	assert_true(json_equal(got, want));
	none = recreate_references(NULL);
	assert_int_equal(json_array_size(none), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_odd_answers),
		cmocka_unit_test(test_policy),
		cmocka_unit_test(test_references),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
