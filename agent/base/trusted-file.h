/* SPDX-License-Identifier: MIT */
/* trusted-file: files that decide what runs on this machine or how it is reached. Only root and the user of the
 * process may have written them. The check is of the open file, so that it cannot be replaced between check and use. */
#pragma once

#include "error.h"

/* 0 if only root and the user of the process could have written the open file (O_PATH suffices); else -EPERM, with
 * path in the message. A sticky directory may be writable by all users. */
int check_trusted(int fd, const char *path, struct error *ret_error) warn_unused;

/* Reads such a file, after checks of it and of its directory. The message names path. Caller frees. */
int read_trusted_file(const char *path, size_t max, char **ret, size_t *ret_len,
		      struct error *ret_error) warn_unused;
