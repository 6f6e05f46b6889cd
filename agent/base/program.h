/* SPDX-License-Identifier: MIT */
/* program: the other halves as child processes: found beside ourselves, else in libexecdir, never
 * through PATH. */
#pragma once

#include <sys/types.h>

#include "error.h"

/* argv[0] is replaced by the path found. child_fd becomes target_fd in the child, all else that is
 * close-on-exec is gone there. */
int program_spawn(const char *name, const char **argv, int child_fd, int target_fd, pid_t *ret_pid,
		  struct error *ret_error) warn_unused;
