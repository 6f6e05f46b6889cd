/* SPDX-License-Identifier: MIT */
/* initrd: the /init of an emulated machine. Loads the modules in /modules in the order of their names, waits for
 * root=DEVICE of the kernel's command line, mounts it and becomes its init. Built static for the machine. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ROOT_TRIES 12000 /* of 10 ms: an SD card on a busy host */

static void give_up(const char *what)
{
	fprintf(stderr, "initrd: %s: %s\n", what, strerror(errno));
	reboot(RB_POWER_OFF);
	_exit(1);
}

static void open_console(void)
{
	int fd = open("/dev/console", O_RDWR);

	for (int to = 0; fd >= 0 && to < 3; to++)
		dup2(fd, to);
	if (fd > 2)
		close(fd);
}

static int is_module(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void load_modules(void)
{
	struct dirent **entries;
	int n = scandir("/modules", &entries, is_module, alphasort);

	for (int i = 0; i < n; i++) {
		char path[512];
		int fd;

		snprintf(path, sizeof(path), "/modules/%s", entries[i]->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST)
			fprintf(stderr, "initrd: %s: %s\n", path, strerror(errno));
		close(fd);
	}
}

/* The device that root= names; static, since it outlives the call. */
static const char *root_device(void)
{
	static char line[4096];
	int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, line, sizeof(line) - 1);

	close(fd);
	line[n > 0 ? n : 0] = '\0';
	for (char *word = strtok(line, " \n"); word; word = strtok(NULL, " \n")) {
		if (!strncmp(word, "root=", 5))
			return word + 5;
	}
	return "/dev/vda";
}

int main(void)
{
	const struct timespec pause = {.tv_nsec = 10000000};
	const char *device;

	mount("devtmpfs", "/dev", "devtmpfs", 0, "mode=0755");
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	open_console();
	load_modules();
	device = root_device();
	for (int i = 0; mount(device, "/root", "ext4", MS_NOATIME, "") < 0; i++) {
		if ((errno != ENOENT && errno != ENXIO) || i == ROOT_TRIES)
			give_up(device);
		nanosleep(&pause, NULL);
	}
	mount("/dev", "/root/dev", NULL, MS_MOVE, NULL);
	mount("/proc", "/root/proc", NULL, MS_MOVE, NULL);
	mount("/sys", "/root/sys", NULL, MS_MOVE, NULL);
	if (chdir("/root") < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0)
		give_up("/root");
	execl("/sbin/init", "init", NULL);
	give_up("/sbin/init");
}
