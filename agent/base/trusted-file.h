/* SPDX-License-Identifier: MIT */
/* trusted-file: files that say what runs on this machine, or how it is reached: only root and ourselves may
 * have written them. Checked is what is open, so that nothing can change between check and use. */
#pragma once

#include "error.h"

/* Whether only root and ourselves could have written what is open there (O_PATH suffices). A message and
 * -EPERM when not: path names it there. A directory may be everybody's if it is sticky. */
int check_trusted(int fd, const char *path, struct error *ret_error) warn_unused;

/* read_file_at() for a file that says what runs on this machine, or how it is reached: it and the
 * directory that it is opened in are checked once open. The message names path. Caller frees. */
int read_trusted_file(const char *path, size_t max, char **ret, size_t *ret_len,
		      struct error *ret_error) warn_unused;
