/* SPDX-License-Identifier: MIT */
#include "traffic-file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/random.h>

#include "session.h"

#define NAME	   "traffic"
#define LINE_BYTES 61 /* "ID BYTES", padded: a line replaces one of its own length */

static void make_id(char ret[40])
{
	uint64_t random = 0;

	(void)!getrandom(&random, sizeof(random), GRND_NONBLOCK);
	/* Where the kernel has no entropy yet, the time since the boot and the process tell two counters apart. */
	(void)snprintf(ret, 40, "%016" PRIx64 "-%" PRIx64, random,
		       now_ms() ^ ((uint64_t)getpid() << 40));
}

/* Returns the locked file, or -1. */
static int open_file(int dir)
{
	_cleanup_close_ int fd = -1;

	if (dir < 0 || !session_cache_is_private(dir))
		return -1;
	fd = openat(dir, NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	return fd >= 0 && TEMP_FAILURE_RETRY(flock(fd, LOCK_EX)) == 0 ? steal_fd(&fd) : -1;
}

static void read_line(int fd, struct traffic *ret)
{
	char line[LINE_BYTES + 1] = "";
	ssize_t n = pread(fd, line, LINE_BYTES, 0);

	if (n == LINE_BYTES && sscanf(line, "%39s %" SCNu64, ret->id, &ret->bytes) == 2)
		return;
	*ret = (struct traffic){0};
	make_id(ret->id);
}

bool traffic_file_add(struct traffic_file *t, struct traffic *ret)
{
	uint64_t now = meter_read(&t->meter);
	_cleanup_close_ int fd = now > 0 ? open_file(t->dir) : -1;
	char line[LINE_BYTES + 1];

	if (now == 0)
		return false;
	if (fd < 0) {
		if (!t->own.id[0])
			make_id(t->own.id);
		*ret = t->own;
		ret->bytes = now;
		return true;
	}
	read_line(fd, ret);
	ret->bytes += now - t->own.bytes;
	(void)snprintf(line, sizeof(line), "%-39s %020" PRIu64 "\n", ret->id, ret->bytes);
	if (pwrite(fd, line, LINE_BYTES, 0) == LINE_BYTES)
		t->own.bytes = now;
	return true;
}
