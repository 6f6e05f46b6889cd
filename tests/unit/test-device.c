/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "device.h"
#include "test.h"

static const char *machine_id; /* content of the file; NULL: there is none */

int openat(int at, const char *path, int flags, ...)
{
	int fd;

	if (!streq(path, "/etc/machine-id"))
		return (int)syscall(SYS_openat, at, path, flags, 0);
	if (!machine_id) {
		errno = ENOENT;
		return -1;
	}
	fd = memfd_create("machine-id", MFD_CLOEXEC);
	if (write_all(fd, machine_id, strlen(machine_id)) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		abort();
	return fd;
}

#define ID "3d1219c7c4c5404aaa1f6d2a48adfda4"

static void test_id(void **state)
{
	static const struct {
		const char *file, *configured, *id;
	} rows[] = {
		{ID "\n", NULL, ID},
		{ID, NULL, ID},
		{ID "\n", "kiosk-7", "kiosk-7"},
		{NULL, "kiosk-7", "kiosk-7"},
		{NULL, NULL, ""},
		{"", NULL, ""},
		{"uninitialized\n", NULL, ""},
		{"00000000000000000000000000000000\n", NULL, ""},
		{ID "0\n", NULL, ""},
		{"3d1219c7\n", NULL, ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char id[DEVICE_ID_SIZE];

		machine_id = rows[i].file;
		device_id(rows[i].configured, id);
		assert_string_equal(id, rows[i].id);
	}
}

/* The reference values of FNV-1a. */
static void test_number(void **state)
{
	assert_true(device_number("") == 0xcbf29ce484222325);
	assert_true(device_number("a") == 0xaf63dc4c8601ec8c);
	assert_true(device_number("foobar") == 0x85944171f73967e8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_id),
		cmocka_unit_test(test_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
