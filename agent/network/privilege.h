/* SPDX-License-Identifier: MIT */
/* privilege: what a pullet-fetch gives up that a parent started, before it reads a byte. */
#pragma once

#include <sys/types.h>

#include "error.h"

/* Closes every descriptor above 2 but fd. */
void privilege_close_others(int fd);

/* Root makes the directory, private, for the user that it becomes by privilege_drop(). One that is there
 * already stays as it is. */
void privilege_make_dir(const char *path);

/* Root becomes the user pullet-fetch, else nobody, without groups and capabilities; no process gets more privileges by
 * what it executes; and the process ends with parent. -ESRCH: parent has ended. */
int privilege_drop(pid_t parent, struct error *ret_error) warn_unused;
