/* SPDX-License-Identifier: MIT */
/* privilege: a child of root drops its privileges before it reads a request. */
#pragma once

#include <sys/types.h>

#include "error.h"

/* Creates the private directory of the user that root becomes by privilege_drop(). An existing one is not changed. */
void privilege_make_dir(const char *path);

/* Root becomes the user pullet-fetch, or nobody, without groups and capabilities. Sets no_new_privs, and ends the
 * process with its parent. -ESRCH: parent has ended. */
int privilege_drop(pid_t parent, struct error *ret_error) warn_unused;
