/* SPDX-License-Identifier: MIT */
#pragma once

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h> /* needs setjmp.h, stdarg.h, stddef.h and stdint.h before it */

/* A directory of the test program's own, by path and by descriptor: open_scratch and close_scratch are for
 * cmocka_run_group_tests. */
static char scratch_path[] = "/tmp/pullet-unit-XXXXXX";
static int scratch = -1;

static inline int open_scratch(void **state)
{
	if (!mkdtemp(scratch_path))
		return -1;
	scratch = open(scratch_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return scratch < 0 ? -1 : 0;
}

/* A file that a test has left behind fails the program: cmocka itself only mentions it. */
static inline int close_scratch(void **state)
{
	(void)close(scratch);
	if (rmdir(scratch_path) < 0) {
		perror(scratch_path);
		exit(EXIT_FAILURE);
	}
	return 0;
}
