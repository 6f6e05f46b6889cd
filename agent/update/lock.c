/* SPDX-License-Identifier: MIT */
#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/time.h>

#include "log.h"

#define TIMEOUT_MS ((uint64_t)10 * 60 * 1000)

/* 0: unknown. The line of a process that waits for a lock has another form. */
static int find_holder_pid(const struct stat *st)
{
	FILE *f = fopen("/proc/locks", "re");
	unsigned int dev_major, dev_minor;
	unsigned long long inode;
	char line[256];
	int pid = 0, found = 0;

	while (f && !found && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%*d: FLOCK %*s %*s %d %x:%x:%llu", &pid, &dev_major, &dev_minor,
			   &inode) == 4 &&
		    dev_major == major(st->st_dev) && dev_minor == minor(st->st_dev) &&
		    inode == st->st_ino)
			found = pid;
	}
	if (f)
		(void)fclose(f);
	return found;
}

/* "process 123 (pulletd)", as far as /proc tells. Caller frees. */
static char *find_holder(int fd)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int comm = -1;
	char name[32] = "";
	struct stat st;
	int pid = fstat(fd, &st) == 0 ? find_holder_pid(&st) : 0;

	if (pid <= 0)
		return xstrdup("another process");
	path = xasprintf("/proc/%d/comm", pid);
	comm = open(path, O_RDONLY | O_CLOEXEC);
	if (comm < 0 || read(comm, name, sizeof(name) - 1) <= 0)
		return xasprintf("process %d", pid);
	return xasprintf("process %d (%.*s)", pid, (int)strcspn(name, "\n"), name);
}

/* The signal only interrupts flock(2). */
static void on_alarm(int number)
{
	(void)number;
}

/* *cancel ends the wait. It may be set right before flock(2) sleeps, so a timer interrupts that every second. */
static int wait_for_lock(int fd, const char *path, const volatile sig_atomic_t *cancel,
			 struct error *ret_error)
{
	const struct sigaction alarm = {.sa_handler = on_alarm};
	const struct itimerval tick = {{1, 0}, {1, 0}}, off = {0};
	uint64_t until = now_ms() + TIMEOUT_MS;
	_cleanup_free_ char *holder = find_holder(fd);
	int r;

	log_info("waiting for %s, which has locked %s", holder, path);
	(void)sigaction(SIGALRM, &alarm, NULL);
	(void)setitimer(ITIMER_REAL, &tick, NULL);
	do {
		r = flock(fd, LOCK_EX) < 0 ? -errno : 0;
	} while (r == -EINTR && !*cancel && now_ms() < until);
	(void)setitimer(ITIMER_REAL, &off, NULL);
	if (r == -EINTR && *cancel)
		return error_set(ret_error, -ECANCELED, "stopped while it waited for a lock");
	if (r == -EINTR)
		return error_set(ret_error, -EBUSY,
				 "%s has been locked by %s for %u minutes; if that is stopped, "
				 "continue or kill it",
				 path, holder, (unsigned int)(TIMEOUT_MS / 60000));
	return r < 0 ? error_set(ret_error, r, "%s: %s", path, strerror(-r)) : 0;
}

int lock_state_dir(const char *path, const volatile sig_atomic_t *cancel, struct error *ret_error)
{
	_cleanup_close_ int fd = -1;
	int r = 0;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return error_set(ret_error, -errno, "%s: %s", path, strerror(errno));
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return error_set(ret_error, -errno, "%s: %s", path, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		r = wait_for_lock(fd, path, cancel, ret_error);
	return r < 0 ? r : steal_fd(&fd);
}
