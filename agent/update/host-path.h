/* SPDX-License-Identifier: MIT */
/* host-path: whether files of the host that a start needs are there, as far as they can be seen from here: what cannot
 * be reached (EACCES), or lies below a private /tmp, counts as there. */
#pragma once

#include <sys/types.h>

#include "error.h"

/* path: a device, or a directory with devices in it. -ENOENT: it is neither, with a sentence about it. */
int host_path_check_device(const char *path, struct error *ret_error) warn_unused;

/* path: the source of a bind mount. pid: a process of the container that has it mounted at destination now; 0: none.
 * -ENOENT: it is not there, its file system is dead, an empty directory is there instead of a device, or what the
 * container has is not mounted there any more. */
int host_path_check_source(const char *path, pid_t pid, const char *destination,
			   struct error *ret_error) warn_unused;

/* Whether another file or directory is at path than the one of the same file system that the container has mounted from
 * there. */
bool host_path_is_replaced(const char *path, pid_t pid, const char *destination);

/* path: a socket. -ENOENT: nothing listens there. */
int host_path_check_socket(const char *path, struct error *ret_error) warn_unused;

/* address: in digits. Whether it is an IPv4 address that no interface has, neither here nor where process 1 is: a
 * service may have a network of its own. False also if that cannot be told, or if one that no interface has can be bound. */
bool host_path_lacks_address(const char *address);
