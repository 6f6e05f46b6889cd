/* SPDX-License-Identifier: MIT */
#include "disk-space.h"
#include "engine.h"
#include "test.h"

#define MB ((uint64_t)1000 * 1000)

static void test_need(void **state)
{
	/* Even an empty image makes a container. */
	assert_true(disk_space_need(0) == 16 * MB);
	assert_true(disk_space_need(100 * MB) == 366 * MB);
	/* A size that nobody has is never taken for a small one. */
	for (uint64_t bytes = 1; bytes < (uint64_t)1 << 63; bytes *= 2)
		assert_true(disk_space_need(bytes) > bytes);
	assert_true(disk_space_need(INT64_MAX) > INT64_MAX);
	assert_true(disk_space_need(UINT64_MAX) == UINT64_MAX);
}

/* Answers of Docker 20.10 to 29 and podman, shortened. */
static void test_directory(void **state)
{
#define STORE "\"DriverStatus\":[[\"driver-type\",\"io.containerd.snapshotter.v1\"]],"
	static const struct {
		const char *info, *directory;
	} cases[] = {
		{"{\"DockerRootDir\":\"/var/lib/docker\",\"Driver\":\"overlay2\",\"DriverStatus\":"
		 "[[\"Backing Filesystem\",\"extfs\"],[\"Supports d_type\",\"true\"]]}",
		 "/var/lib/docker"},
		{"{\"DockerRootDir\":\"/data\",\"DriverStatus\":null}", "/data"},
		{"{\"DockerRootDir\":\"/data\",\"DriverStatus\":[7,[],[\"a\"],[null,null]]}",
		 "/data"},
		{"{}", NULL},
		{"{\"DockerRootDir\":7}", NULL},
		{"{" STORE "\"DockerRootDir\":\"/data\","
		 "\"Containerd\":{\"Address\":\"/run/containerd/containerd.sock\"}}",
		 "/var/lib/containerd"},
		{"{" STORE "\"DockerRootDir\":\"/data\","
		 "\"Containerd\":{\"Address\":\"/var/run/docker/containerd/containerd.sock\"}}",
		 "/data"},
		/* Nobody knows where that one keeps it. */
		{"{" STORE "\"DockerRootDir\":\"/data\",\"Containerd\":{\"Address\":\"/x\"}}",
		 NULL},
		{"{" STORE "\"DockerRootDir\":\"/data\"}", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ json_t *info = json_loads(cases[i].info, 0, NULL);

		assert_non_null(info);
		if (!streq_null(store_directory(info), cases[i].directory))
			fail_msg("%s: %s", cases[i].info, store_directory(info));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_need),
		cmocka_unit_test(test_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
