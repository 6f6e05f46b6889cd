/* SPDX-License-Identifier: MIT */
/* program: starts another program of Pullet, from the directory of this one or from libexecdir, never from PATH. */
#pragma once

#include <sys/types.h>

#include "error.h"

/* The path of a program of that name, which may not be there. Caller frees. */
char *program_path(const char *name);

/* Starts the program argv[0], which it replaces by the path for the call only, with one end of a stream socket as
 * child_fd; returns the other end. Descriptors with close-on-exec are closed. *ret_pid is set on success only. */
int program_spawn(const char **argv, int child_fd, pid_t *ret_pid,
		  struct error *ret_error) warn_unused;

#define SYSTEMD_CREDS "/usr/bin/systemd-creds"

/* Runs argv[0], a path, with n bytes of data as standard input. The caller owns, and wipes, *ret: its output, of 256 KiB at
 * most. Its messages are dropped. */
int program_filter(const char *const *argv, const char *data, size_t n, char **ret, size_t *ret_n,
		   struct error *ret_error) warn_unused;
