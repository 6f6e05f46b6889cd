/* SPDX-License-Identifier: MIT */
#include "host-path.h"

#include <errno.h>
#include <sys/stat.h>

#include "test.h"
#include "util.h"

static char directory[] = "/tmp/test-host-path-XXXXXX";

static char *path_of(const char *name)
{
	return xasprintf("%s/%s", directory, name);
}

static int set_up(void **state)
{
	_cleanup_free_ char *empty = NULL, *file = NULL, *link = NULL, *devices = NULL, *one = NULL,
			    *dangling = NULL;

	assert_non_null(mkdtemp(directory));
	empty = path_of("empty");
	file = path_of("file");
	link = path_of("link");
	devices = path_of("devices");
	one = path_of("devices/below");
	dangling = path_of("dangling");
	assert_int_equal(mkdir(empty, 0755) | mkdir(devices, 0755) | mkdir(one, 0755), 0);
	assert_int_equal(close(creat(file, 0644)), 0);
	assert_int_equal(symlink("/dev/null", link) | symlink("nothing", dangling), 0);
	return 0;
}

static int tear_down(void **state)
{
	_cleanup_free_ char *command = xasprintf("rm -r %s", directory);

	return system(command);
}

static void check_device(const char *path, const char *said)
{
	struct error e = {0};
	int r = host_path_check_device(path, &e);

	assert_int_equal(r, said ? -ENOENT : 0);
	assert_true(!said || strstr(e.text, said));
}

static void test_devices(void **state)
{
	_cleanup_free_ char *empty = path_of("empty"), *file = path_of("file"),
			    *link = path_of("link"), *dangling = path_of("dangling"),
			    *devices = path_of("devices"), *below = path_of("file/x");

	check_device("/dev/null", NULL);
	check_device("/dev", NULL);
	check_device(link, NULL);
	check_device("/dev/ttyACM99", "/dev/ttyACM99 is not there");
	check_device(dangling, "is not there");
	check_device(empty, "is a directory without a device");
	check_device(devices, "is a directory without a device");
	check_device(file, "is not a device");
	check_device(below, NULL); /* ENOTDIR says nothing */
}

static void test_sources(void **state)
{
	_cleanup_free_ char *empty = path_of("empty"), *missing = path_of("missing");
	struct error e = {0};

	assert_int_equal(host_path_check_source(empty, 0, "/data", &e), 0);
	assert_int_equal(host_path_check_source("/dev", getpid(), "/dev", &e), 0);
	/* A process that has nothing at the place, or is gone, says nothing. */
	assert_int_equal(host_path_check_source(empty, getpid(), "/none", &e), 0);
	assert_int_equal(host_path_check_source(empty, 1 << 22, "/", &e), 0);
	assert_int_equal(host_path_check_source(missing, 0, "/data", &e), -ENOENT);
	assert_non_null(strstr(e.text, "missing is not there"));
}

static void test_addresses(void **state)
{
	static const char others[][16] = {"", "0.0.0.0", "127.0.0.9", "::", "fd00::9", "x"};

	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		assert_false(host_path_lacks_address(others[i]));
	assert_true(host_path_lacks_address("203.0.113.77"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_devices),
		cmocka_unit_test(test_sources),
		cmocka_unit_test(test_addresses),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
