/* SPDX-License-Identifier: MIT */
#pragma once

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "test.h"

/* A listening unix socket in a directory of the test program's own: open_listener and close_listener are for
 * cmocka_run_group_tests. */
static char path[64];
static int listener = -1;

static inline int open_listener(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (open_scratch(state) < 0)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/socket", scratch_path);
	memcpy(address.sun_path, path, strlen(path));
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -1;
	return listen(listener, 4);
}

static inline int close_listener(void **state)
{
	close(listener);
	(void)unlink(path);
	return close_scratch(state);
}
