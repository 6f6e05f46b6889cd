/* SPDX-License-Identifier: MIT */
#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define FILTER_MAX ((size_t)256 * 1024)

extern char **environ;

char *program_path(const char *name)
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

int program_spawn(const char **argv, int child_fd, pid_t *ret_pid, struct error *ret_error)
{
	_cleanup_free_ char *path = program_path(argv[0]);
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none;
	int pair[2], r;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return error_set(ret_error, -errno, "socketpair: %m");
	argv[0] = path;
	(void)sigemptyset(&none);
	(void)posix_spawn_file_actions_init(&actions);
	(void)posix_spawnattr_init(&attributes);
	/* Unlike dup2(2) this removes close-on-exec even if both are the same. */
	(void)posix_spawn_file_actions_adddup2(&actions, pair[1], child_fd);
	/* The parent may block signals for signalfd(2); the child must not inherit that. */
	(void)posix_spawnattr_setsigmask(&attributes, &none);
	(void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	r = posix_spawn(&pid, path, &actions, &attributes, (char *const *)argv, environ);
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)posix_spawnattr_destroy(&attributes);
	close(pair[1]);
	if (r != 0) {
		close(pair[0]);
		return error_set(ret_error, -r, "cannot start %s: %s", path, strerror(r));
	}
	*ret_pid = pid;
	return pair[0];
}

int program_filter(const char *const *argv, const char *data, size_t n, char **ret, size_t *ret_n,
		   struct error *ret_error)
{
	_cleanup_close_ int in = memfd_create("in", MFD_CLOEXEC),
			    out = memfd_create("out", MFD_CLOEXEC);
	posix_spawn_file_actions_t actions;
	int r, status = -1;
	pid_t pid;

	if (in < 0 || out < 0 || write_all(in, data, n) < 0 || lseek(in, 0, SEEK_SET) < 0)
		return error_set(ret_error, -errno, "%s: %m", argv[0]);
	(void)posix_spawn_file_actions_init(&actions);
	(void)posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
	(void)posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
	(void)posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	r = posix_spawn(&pid, argv[0], &actions, NULL, (char *const *)argv, environ);
	(void)posix_spawn_file_actions_destroy(&actions);
	if (r != 0)
		return error_set(ret_error, -r, "%s: %s", argv[0], strerror(r));
	if (waitpid(pid, &status, 0) < 0 || status != 0)
		return error_set(ret_error, -EIO, "%s %s failed", argv[0], argv[1]);
	if (lseek(out, 0, SEEK_SET) < 0)
		return error_set(ret_error, -errno, "%s: %m", argv[0]);
	r = read_file(out, FILTER_MAX, ret, ret_n);
	return r < 0 ? error_set(ret_error, r, "%s: %s", argv[0], strerror(-r)) : 0;
}
