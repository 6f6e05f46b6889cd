/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "engine.h"
#include "followers.h"
#include "test.h"

#define APP "aaaaaaaaaaaaaaaa"
#define CAR "bbbbbbbbbbbbbbbb"
#define FAR "cccccccccccccccc"
#define NEW "dddddddddddddddd"

/* An engine of a few containers; error: what inspecting one is answered with. */
struct entry {
	const char *id, *name, *host;
	int error;
};
static const struct entry *house;
static size_t n_house;
static int list_error;

int engine_list(struct engine *e, const char *service, json_t **ret, struct error *ret_error)
{
	if (list_error)
		return error_set(ret_error, list_error, "list containers");
	*ret = json_array();
	for (size_t i = 0; i < n_house; i++)
		(void)json_array_append_new(*ret, json_pack("{s:s}", "Id", house[i].id));
	return 0;
}

int engine_inspect_neighbour(struct engine *e, const char *id, json_t **ret,
			     struct error *ret_error)
{
	for (size_t i = 0; i < n_house; i++) {
		if (!streq(house[i].id, id))
			continue;
		if (house[i].error)
			return error_set(ret_error, house[i].error, "inspect container %s", id);
		*ret = json_pack("{s:s, s:s, s:o}", "Id", id, "Name", house[i].name, "HostConfig",
				 json_loads(house[i].host, 0, NULL));
		return 0;
	}
	return error_set(ret_error, -ENOENT, "no such container");
}

enum ending engine_find_ending(struct engine *e, const char *id, int64_t since_ns)
{
	return ENDING_UNKNOWN;
}

int engine_inspect_container(struct engine *e, const char *id, json_t **ret,
			     struct error *ret_error)
{
	return engine_inspect_neighbour(e, id, ret, ret_error);
}

int engine_identify_image(struct engine *e, const char *reference, json_t **ret,
			  struct error *ret_error)
{
	return error_set(ret_error, -ENOENT, "no such image: %s", reference);
}

int engine_inspect_image(struct engine *e, const char *reference, json_t **ret,
			 struct error *ret_error)
{
	return error_set(ret_error, -ENOENT, "no such image: %s", reference);
}

int engine_inspect_platform(struct engine *e, const char *reference,
			    const struct oci_platform *platform, json_t **ret,
			    struct error *ret_error)
{
	(void)platform;
	return engine_inspect_image(e, reference, ret, ret_error);
}

static int find(const struct entry *entries, size_t n, const char *new_id, struct record *r,
		struct error *ret_error)
{
	struct context s = {.name = "app"};

	house = entries;
	n_house = n;
	record_init(r);
	return followers_find(&s, APP, new_id, r, ret_error);
}

#define NONE	  "{\"NetworkMode\":\"bridge\"}"
#define BY_ID(id) "{\"NetworkMode\":\"container:" id "\"}"

static void test_followers_are_found(void **state)
{
	static const struct entry entries[] = {
		/* Shares with what shares, and stands in the list before it. */
		{FAR, "/far", "{\"PidMode\":\"container:car\"}", 0},
		{CAR, "/car", BY_ID(APP), 0},
		{APP, "/app", NONE, 0},
		{NEW, "/other", NONE, 0},
	};
	struct record r;
	struct error e;

	assert_int_equal(find(entries, ARRAY_SIZE(entries), "", &r, &e), 0);
	assert_int_equal(r.n_followers, 2);
	assert_string_equal(r.followers[0].name, "car");
	assert_string_equal(r.followers[0].old_id, CAR);
	assert_string_equal(r.followers[1].name, "far");
}

/* By links on the default bridge, and by an id in VolumesFrom; in the order in which they can start. */
static void test_followers_by_links(void **state)
{
	static const struct entry entries[] = {
		{FAR, "/far", "{\"Links\":[\"/app:/far/d\",\"/car:/far/c\"]}", 0},
		{CAR, "/car", "{\"Links\":[\"/app:/car/d\"]}", 0},
		{NEW, "/data", "{\"VolumesFrom\":[\"aaaaaaaaaaaa:ro\"]}", 0},
		{"eeeeeeeeeeeeeeee", "/app2", "{\"Links\":[\"/app3:/app2/app\"]}", 0},
		{"ffffffffffffffff", "/named", "{\"VolumesFrom\":[\"app\"]}", 0},
		{APP, "/app", NONE, 0},
	};
	struct record r;
	struct error e;

	assert_int_equal(find(entries, ARRAY_SIZE(entries), "", &r, &e), 0);
	assert_int_equal(r.n_followers, 3);
	assert_string_equal(r.followers[0].name, "car");
	assert_string_equal(r.followers[1].name, "data");
	assert_string_equal(r.followers[2].name, "far");
}

static void test_followers_of_both_sides(void **state)
{
	static const struct entry entries[] = {
		{APP, "/app.prev", NONE, 0},
		{NEW, "/app", NONE, 0},
		{CAR, "/car.prev", BY_ID(APP), 0},
		{FAR, "/car", BY_ID(NEW), 0},
	};
	struct record r;
	struct error e;

	assert_int_equal(find(entries, ARRAY_SIZE(entries), NEW, &r, &e), 0);
	assert_int_equal(r.n_followers, 1);
	assert_string_equal(r.followers[0].name, "car");
	assert_string_equal(r.followers[0].old_id, CAR);
	assert_string_equal(r.followers[0].new_id, FAR);
}

/* One bad answer must not make a container that shares our namespaces a container that does not. */
static void test_followers_only_absence_is_absence(void **state)
{
	static const struct {
		int error, want;
	} cases[] = {
		{-ENOENT, 0},	      {-EIO, -EIO},	{-ETIMEDOUT, -ETIMEDOUT},
		{-EPROTO, -EPROTO},   {-EFBIG, -EFBIG}, {-ECONNREFUSED, -ECONNREFUSED},
		{-EBADMSG, -EBADMSG},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct entry entries[] = {
			{APP, "/app", NONE, 0},
			{CAR, "/car", BY_ID(APP), cases[i].error},
		};
		struct error e = {0};
		struct record r;
		int q = find(entries, ARRAY_SIZE(entries), "", &r, &e);

		if (q != cases[i].want)
			fail_msg("%s: %d", strerror(-cases[i].error), q);
		assert_true(q == 0 || strstr(e.text, CAR));
	}
}

static void test_followers_need_the_list(void **state)
{
	struct record r;
	struct error e;

	list_error = -EIO;
	assert_int_equal(find(NULL, 0, "", &r, &e), -EIO);
	list_error = 0;
	assert_int_equal(find(NULL, 0, "", &r, &e), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_followers_are_found),
		cmocka_unit_test(test_followers_by_links),
		cmocka_unit_test(test_followers_of_both_sides),
		cmocka_unit_test(test_followers_only_absence_is_absence),
		cmocka_unit_test(test_followers_need_the_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
