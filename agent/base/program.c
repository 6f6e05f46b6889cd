/* SPDX-License-Identifier: MIT */
#include "program.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>

extern char **environ;

static char *find(const char *name)
{
	char self[PATH_MAX] = "", *path;

	if (readlink("/proc/self/exe", self, sizeof(self) - 1) > 0) {
		path = xasprintf("%s/%s", dirname(self), name);
		if (access(path, X_OK) == 0)
			return path;
		free(path);
	}
	return xasprintf("%s/%s", PULLET_LIBEXECDIR, name);
}

int program_spawn(const char *name, const char **argv, int child_fd, int target_fd, pid_t *ret_pid,
		  struct error *ret_error)
{
	_cleanup_free_ char *path = find(name);
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none;
	int r;

	argv[0] = path;
	(void)sigemptyset(&none);
	(void)posix_spawn_file_actions_init(&actions);
	(void)posix_spawnattr_init(&attributes);
	(void)posix_spawn_file_actions_adddup2(&actions, child_fd, target_fd);
	/* The parent may block signals for signalfd(2); the child must not inherit that. */
	(void)posix_spawnattr_setsigmask(&attributes, &none);
	(void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	r = posix_spawn(ret_pid, path, &actions, &attributes, (char *const *)argv, environ);
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)posix_spawnattr_destroy(&attributes);
	argv[0] = name;
	return r == 0 ? 0 : error_set(ret_error, -r, "cannot start %s: %s", path, strerror(r));
}
