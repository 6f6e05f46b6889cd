/* SPDX-License-Identifier: MIT */
/* program: starts another program of Pullet, from the directory of this one or from libexecdir, never from PATH. */
#pragma once

#include <sys/types.h>

#include "error.h"

/* Starts the program argv[0], which it replaces by the path for the call only, with one end of a stream socket as
 * child_fd; returns the other end. Descriptors with close-on-exec are closed. *ret_pid is set on success only. */
int program_spawn(const char **argv, int child_fd, pid_t *ret_pid,
		  struct error *ret_error) warn_unused;
