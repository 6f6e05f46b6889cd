/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "test.h"
#include "trusted-file.h"

static void test_read_trusted_file(void **state)
{
	static const struct {
		mode_t mode;
		uid_t owner;
		int want;
	} rows[] = {{0600, 0, 0},      {0644, 0, 0},	  {0620, 0, -EPERM},
		    {0602, 0, -EPERM}, {0600, 1, -EPERM}, {0444, 1, -EPERM}};
	_cleanup_free_ char *path = xasprintf("%s/file", scratch_path);
	struct error e = {0};
	char *text = NULL;

	assert_int_equal(read_trusted_file(path, 10, &text, NULL, &e), -ENOENT);
	assert_int_equal(write_file_atomic_at(scratch, "file", 0600, "0123456789", 10), 0);
	assert_int_equal(read_trusted_file(path, 9, &text, NULL, &e), -EFBIG);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(chmod(path, rows[i].mode), 0);
		if (rows[i].owner && chown(path, rows[i].owner, 0) < 0)
			continue; /* not root */
		assert_int_equal(read_trusted_file(path, 10, &text, NULL, &e), rows[i].want);
		assert_true(rows[i].want == 0 || strstr(e.text, "run ch"));
		free(steal(text));
	}
	/* Whatever its mode: a directory from which others take it away. */
	assert_int_equal(chmod(path, 0600) | (geteuid() ? 0 : chown(path, 0, 0)), 0);
	assert_int_equal(fchmod(scratch, 0707), 0);
	assert_int_equal(read_trusted_file(path, 10, &text, NULL, &e), -EPERM);
	assert_int_equal(fchmod(scratch, 0700), 0);
	assert_int_equal(unlink(path), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read_trusted_file),
	};

	return cmocka_run_group_tests(tests, open_scratch, close_scratch);
}
