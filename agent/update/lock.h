/* SPDX-License-Identifier: MIT */
/* lock: one job at a time on a device: a flock(2) on the state directory, released by close. */
#pragma once

#include <signal.h>

#include "error.h"

/* Opens, makes if need be, and locks the directory; returns its file descriptor. Waits ten minutes for another
 * holder, and logs which process that is: -EBUSY after that, -ECANCELED once *cancel is set. */
int lock_state_dir(const char *path, const volatile sig_atomic_t *cancel,
		   struct error *ret_error) warn_unused;
