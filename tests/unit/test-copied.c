/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "copied.h"
#include "engine.h"
#include "test.h"

#define CREATED "2024-05-01T10:00:00.4Z"
#define WHOLE	"2024-05-01T12:00:00+02:00"
#define BROKEN	"2024-05-01T10:00:00.000000001Z"
#define BEFORE	"2024-05-01T09:59:59Z"
#define LATER	"2024-05-01T10:00:20Z"
#define STARTED "2024-05-01T10:00:20.2Z"
#define RUNNING "2024-05-01T10:00:21Z"

/* An engine of one container with one changed file. */
static struct {
	struct version version;
	const char *changes;
	int changes_error;
	const char *stat; /* NULL: no such file */
	int stat_error;
	int looks;
} house;

const struct version *engine_version(const struct engine *e)
{
	return &house.version;
}

int engine_changes(struct engine *e, const char *id, json_t **ret, struct error *ret_error)
{
	if (house.changes_error)
		return error_set(ret_error, house.changes_error, "changes");
	*ret = json_loads(house.changes, JSON_DECODE_ANY, NULL);
	assert_non_null(*ret);
	return 0;
}

int engine_stat(struct engine *e, const char *id, const char *path, json_t **ret,
		struct error *ret_error)
{
	house.looks++;
	if (house.stat_error)
		return error_set(ret_error, house.stat_error, "%s", path);
	*ret = json_loads(house.stat, 0, NULL);
	assert_non_null(*ret);
	return 0;
}

static int ask(const char *labels, const char *mounts, struct error *ret_error)
{
	_cleanup_json_ json_t *container = NULL;
	_cleanup_free_ char *text = xasprintf(
		"{\"Id\":\"x\",\"Created\":\"" CREATED "\",\"State\":{\"StartedAt\":\"" STARTED
		"\"},\"Config\":{\"Labels\":{%s}},"
		"\"HostConfig\":{\"Tmpfs\":{\"/scratch\":\"\"}},\"Mounts\":[%s]}",
		labels, mounts);

	container = json_loads(text, 0, NULL);
	assert_non_null(container);
	house.looks = 0;
	return copied_refuse(NULL, container, NULL, ret_error);
}

#define V2     "\"com.docker.compose.project\":\"p\",\"com.docker.compose.version\":\"2.26.1\""
#define CHANGE "[{\"Path\":\"/etc\",\"Kind\":2},{\"Path\":\"/etc/app.conf\",\"Kind\":0}]"

static void test_who(void **state)
{
	struct error e;

	house = (typeof(house)){.version.api_minor = 41,
				.changes = CHANGE,
				.stat = "{\"mode\":292,\"mtime\":\"" WHOLE "\"}"};
	assert_int_equal(ask(V2, "", &e), -EKEYREJECTED);
	assert_non_null(strstr(e.text, "/etc/app.conf"));
	assert_int_equal(house.looks, 1);
	/* Not of compose, and of its first version. */
	assert_int_equal(ask("", "", &e), 0);
	assert_int_equal(ask("\"com.docker.compose.project\":\"p\","
			     "\"com.docker.compose.version\":\"1.29.2\"",
			     "", &e),
			 0);
	assert_int_equal(house.looks, 0);
}

static void test_what(void **state)
{
	static const struct {
		const char *stat;
		int error, want;
	} cases[] = {
		{"{\"mode\":384,\"mtime\":\"" WHOLE "\"}", 0, -EKEYREJECTED},
		{"{\"mode\":292,\"mtime\":\"" BROKEN "\"}", 0, 0},
		/* an archive that the application unpacked, and what compose wrote before a start */
		{"{\"mode\":420,\"mtime\":\"" LATER "\"}", 0, 0},
		{"{\"mode\":292,\"mtime\":\"" LATER "\"}", 0, -EKEYREJECTED},
		{"{\"mode\":292,\"mtime\":\"" RUNNING "\"}", 0, 0},
		{"{\"mode\":420,\"mtime\":\"2025-01-01T00:00:00Z\"}", 0, 0},
		/* chown of what came with the image */
		{"{\"mode\":292,\"mtime\":\"" BEFORE "\"}", 0, 0},
		/* a directory, a link, a socket */
		{"{\"mode\":2147484141,\"mtime\":\"" WHOLE "\"}", 0, 0},
		{"{\"mode\":134218239,\"mtime\":\"" WHOLE "\"}", 0, 0},
		{"{\"mode\":16777648,\"mtime\":\"" WHOLE "\"}", 0, 0},
		{"{}", 0, 0},
		/* gone in between */
		{"{}", -ENOENT, 0},
		{"{}", -EIO, -EIO},
	};
	struct error e;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		house = (typeof(house)){.version.api_minor = 44,
					.changes = CHANGE,
					.stat = cases[i].stat,
					.stat_error = cases[i].error};
		if (ask(V2, "", &e) != cases[i].want)
			fail_msg("%zu: %s", i, cases[i].stat);
	}
}

static void test_mounts(void **state)
{
	static const char mounts[] =
		"{\"Destination\":\"/run/secrets/key\"},{\"Destination\":\"/data/deep\"}";
	struct error e;

	house = (typeof(house)){
		.version.api_minor = 44,
		.changes =
			"[{\"Path\":\"/run\",\"Kind\":1},{\"Path\":\"/run/secrets\",\"Kind\":1},"
			"{\"Path\":\"/run/secrets/key\",\"Kind\":1},{\"Path\":\"/"
			"data\",\"Kind\":1},"
			"{\"Path\":\"/data/deep/x\",\"Kind\":1},{\"Path\":\"/scratch\",\"Kind\":1},"
			"{\"Kind\":1},{\"Path\":7,\"Kind\":1},8]",
		.stat = "{\"mode\":292,\"mtime\":\"" WHOLE "\"}",
	};
	assert_int_equal(ask(V2, mounts, &e), 0);
	assert_int_equal(house.looks, 0);
	house.changes = "[{\"Path\":\"/run/secrets/key2\",\"Kind\":1}]";
	assert_int_equal(ask(V2, mounts, &e), -EKEYREJECTED);
}

/* Looking would do harm to it: what can be told without. */
static void test_shared_mounts(void **state)
{
	static const char *const apart[] = {"", "private", "rprivate"};
	static const char *const shared[] = {"slave", "rslave", "shared", "rshared"};
	struct error e;

	house = (typeof(house)){.version.api_minor = 43,
				.changes = CHANGE,
				.stat = "{\"mode\":292,\"mtime\":\"" WHOLE "\"}"};
	for (size_t i = 0; i < ARRAY_SIZE(apart); i++) {
		_cleanup_free_ char *mount =
			xasprintf("{\"Destination\":\"/host\",\"Propagation\":\"%s\"}", apart[i]);

		assert_int_equal(ask(V2, mount, &e), -EKEYREJECTED);
	}
	for (size_t i = 0; i < ARRAY_SIZE(shared); i++) {
		_cleanup_free_ char *mount =
			xasprintf("{\"Destination\":\"/host\",\"Propagation\":\"%s\"}", shared[i]);

		house.version.api_minor = 43;
		house.changes = CHANGE;
		assert_int_equal(ask(V2, mount, &e), 0);
		house.changes = "[{\"Path\":\"/run/secrets/key\",\"Kind\":1}]";
		assert_int_equal(ask(V2, mount, &e), -EKEYREJECTED);
		assert_int_equal(house.looks, 0);
		/* Newer engines look in a namespace of their own. */
		house.version.api_minor = 44;
		house.changes = CHANGE;
		assert_int_equal(ask(V2, mount, &e), -EKEYREJECTED);
		assert_int_equal(house.looks, 1);
	}
}

static void test_many(void **state)
{
	_cleanup_json_ json_t *many = json_array();
	_cleanup_free_ char *text = NULL;
	struct error e;

	for (int i = 0; i < 1000; i++)
		json_array_append_new(many, json_pack("{s:o,s:i}", "Path",
						      json_sprintf("/cache/%d", i), "Kind", 1));
	text = json_text(many, 0);
	house = (typeof(house)){.version.api_minor = 44,
				.changes = text,
				.stat = "{\"mode\":292,\"mtime\":\"" BROKEN "\"}"};
	assert_int_equal(ask(V2, "", &e), 0);
	assert_int_equal(house.looks, 1000);

	free(text);
	json_array_append_new(many, json_pack("{s:s,s:i}", "Path", "/one more", "Kind", 1));
	house.changes = text = json_text(many, 0);
	assert_int_equal(ask(V2, "", &e), -EKEYREJECTED);
	assert_non_null(strstr(e.text, "--force-recreate"));

	house.changes_error = -EFBIG;
	assert_int_equal(ask(V2, "", &e), -EKEYREJECTED);
	assert_non_null(strstr(e.text, "--force-recreate"));
	house.changes_error = -ECONNREFUSED;
	assert_int_equal(ask(V2, "", &e), -ECONNREFUSED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_who),    cmocka_unit_test(test_what),
		cmocka_unit_test(test_mounts), cmocka_unit_test(test_shared_mounts),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
