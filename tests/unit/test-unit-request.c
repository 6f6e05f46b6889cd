/* SPDX-License-Identifier: MIT */
#include "unit-request.h"

#include <errno.h>

#include "test.h"
#include "unit-start.h"

static const char text[] = "[agent]\n"
			   "notify = tell@.service\n"
			   "[container web]\n"
			   "image = registry.example/web:1\n"
			   "before-unit = lock.service\n"
			   "health-unit = probe@.service\n"
			   "health-period = 7s\n"
			   "[container db-1]\n"
			   "image = registry.example/db:1\n"
			   "after-unit = tell.service\n"
			   "after-unit-timeout = 90s\n";

static struct config *config;

static int load(void **state)
{
	char path[] = "/tmp/pullet-unit-request.XXXXXX";
	int fd = mkstemp(path);
	struct error e;

	assert_true(fd >= 0 && write_all(fd, text, strlen(text)) == 0);
	/* Others may write to /tmp, and it is sticky. */
	assert_int_equal(config_load(path, &config, &e), 0);
	(void)close(fd);
	(void)unlink(path);
	return 0;
}

static int unload(void **state)
{
	config_free(config);
	return 0;
}

/* The unit that the request gets, or NULL with the code. */
static char *check(const char *request, int *ret, uint64_t *ret_timeout_ms)
{
	json_t *j = json_loads(request, 0, NULL);
	struct unit_request q;
	struct error e;

	assert_non_null(j);
	*ret = unit_request_check(j, config, "pullet.conf", &q, &e);
	*ret_timeout_ms = q.timeout_ms;
	json_decref(j);
	return q.unit;
}

static void test_names_of_the_configuration(void **state)
{
	static const struct {
		const char *container, *key, *unit;
		uint64_t timeout_ms;
	} rows[] = {
		{"web", "before-unit", "lock.service", 300000},
		{"web", "health-unit", "probe@web.service", 30000},
		{"db-1", "after-unit", "tell.service", 90000},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *request = xasprintf("{\"container\": \"%s\", \"key\": \"%s\"}",
							 rows[i].container, rows[i].key);
		uint64_t timeout_ms;
		int r;
		_cleanup_free_ char *unit = check(request, &r, &timeout_ms);

		assert_int_equal(r, 0);
		assert_string_equal(unit, rows[i].unit);
		assert_int_equal(timeout_ms, rows[i].timeout_ms);
	}
}

static void test_anything_else_is_refused(void **state)
{
	static const struct {
		const char *request;
		int code;
	} rows[] = {
		{"{\"container\": \"web\", \"key\": \"after-unit\"}", -ENOENT},
		{"{\"container\": \"db-1\", \"key\": \"before-unit\"}", -ENOENT},
		{"{\"container\": \"other\", \"key\": \"before-unit\"}", -ENOENT},
		{"{\"container\": \"web\", \"key\": \"before-unit-timeout\"}", -EBADMSG},
		{"{\"container\": \"web\", \"key\": \"unit\", \"unit\": \"lock.service\"}",
		 -EBADMSG},
		{"{\"container\": [\"web\"], \"key\": \"before-unit\"}", -EBADMSG},
		{"{\"key\": \"before-unit\"}", -EBADMSG},
		{"{\"key\": \"notify\"}", -EBADMSG},
		{"{\"key\": \"notify\", \"event\": \"text\"}", -EBADMSG},
		{"{\"key\": \"notify\", \"event\": {}}", 0},
		{"{}", -EBADMSG},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t timeout_ms;
		int r;

		assert_null(check(rows[i].request, &r, &timeout_ms));
		assert_int_equal(r, rows[i].code);
	}
}

static void test_instance(void **state)
{
	static const char rows[][2][24] = {{"a.service", "a.service"},
					   {"a@.service", "a@web-1.service"},
					   {"a@b.service", "a@b.service"}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *unit = unit_instance(rows[i][0], "web-1");

		assert_string_equal(unit, rows[i][1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_of_the_configuration),
		cmocka_unit_test(test_anything_else_is_refused),
		cmocka_unit_test(test_instance),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
