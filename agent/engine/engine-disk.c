/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "engine-internal.h"
#include "store.h"

/* A descriptor on directory's file system. Only root can read the engine's own directory, so the nearest readable
 * parent on the same device is opened instead. -1: there is none. */
static int open_file_system(const char *directory)
{
	_cleanup_free_ char *path = directory ? xstrdup(directory) : NULL;
	struct stat wanted, st;
	char *slash;

	if (!path || path[0] != '/' || stat(path, &wanted) < 0)
		return -1;
	for (;;) {
		_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (fd >= 0)
			return fstat(fd, &st) == 0 && st.st_dev == wanted.st_dev ? steal_fd(&fd)
										 : -1;
		slash = strrchr(path, '/');
		if ((errno != EACCES && errno != EPERM) || slash[1] == '\0')
			return -1;
		slash[slash == path ? 1 : 0] = '\0';
	}
}

void engine_find_disks(struct engine *e)
{
	_cleanup_json_ json_t *info = NULL;
	struct error ignored;

	if (e->disks[0] >= 0 || engine_info(e, &info, &ignored) < 0)
		return;
	/* Images, and the engine's own files of containers. */
	e->disks[0] = open_file_system(store_directory(info));
	e->disks[1] = open_file_system(json_get_string(info, "DockerRootDir"));
}

void engine_sync_disks(const struct engine *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(e->disks); i++) {
		if (e->disks[i] < 0 || syncfs(e->disks[i]) < 0) {
			sync();
			return;
		}
	}
}

void engine_sync(struct engine *e)
{
	engine_find_disks(e);
	engine_sync_disks(e);
}
