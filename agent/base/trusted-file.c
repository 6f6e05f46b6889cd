/* SPDX-License-Identifier: MIT */
#include "trusted-file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

int check_trusted(int fd, const char *path, struct error *ret_error)
{
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return error_set(ret_error, -errno, "%s: %m", path);
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return error_set(ret_error, -EPERM, "%s: belongs to user %u: run chown root %s",
				 path, (unsigned int)st.st_uid, path);
	/* In a sticky directory only the owner of a file can remove it. */
	if ((st.st_mode & (S_IWGRP | S_IWOTH)) && !(S_ISDIR(st.st_mode) && (st.st_mode & S_ISVTX)))
		return error_set(ret_error, -EPERM,
				 "%s: other users may write to it (mode %03o): run chmod go-w %s",
				 path, (unsigned int)st.st_mode & 0777, path);
	return 0;
}

int read_trusted_file(const char *path, size_t max, char **ret, size_t *ret_len,
		      struct error *ret_error)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *dir =
		slash ? xstrndup(path, (size_t)(slash - path) + 1) : xstrdup(".");
	_cleanup_close_ int dirfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int fd =
		dirfd < 0 ? -1 : openat(dirfd, slash ? slash + 1 : path, READ_FILE_FLAGS);
	int r = fd < 0 ? error_set(ret_error, -errno, "%s: %m", path)
		       : check_trusted(dirfd, dir, ret_error);

	if (r == 0)
		r = check_trusted(fd, path, ret_error);
	if (r < 0)
		return r;
	r = read_file(fd, max, ret, ret_len);
	return r < 0 ? error_set(ret_error, r, "%s: %s", path, strerror(-r)) : 0;
}
