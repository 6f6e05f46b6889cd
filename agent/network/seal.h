/* SPDX-License-Identifier: MIT */
/* seal: a process that handles the bytes of a layer or a patch keeps its open descriptors, and can reach nothing else. */
#pragma once

#include "error.h"

/* From now on any system call but reading, writing, waiting, memory and the end kills the process (seccomp(2)): it opens no
 * file, no socket and no program. Cannot be undone. Gives back memory that is not needed any more, too. -errno: nothing is
 * sealed; -ENOSYS: there is no filter for this architecture. */
int seal(struct error *ret_error) warn_unused;
