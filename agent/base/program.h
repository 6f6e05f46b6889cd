/* SPDX-License-Identifier: MIT */
/* program: starts another program of Pullet, from the directory of this one or from libexecdir, never from PATH. */
#pragma once

#include <sys/types.h>

#include "error.h"

/* Replaces argv[0] by the path. child_fd becomes target_fd in the child; descriptors with close-on-exec are closed. */
int program_spawn(const char *name, const char **argv, int child_fd, int target_fd, pid_t *ret_pid,
		  struct error *ret_error) warn_unused;
