/* SPDX-License-Identifier: MIT */
#include "host-path.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define DIRECTORIES_MAX 8 /* open at once */

/* A line of mountinfo; proc(5). */
struct mount {
	char device[24]; /* MAJOR:MINOR */
	char root[PATH_MAX], point[PATH_MAX];
};

/* Mount points have octal escapes for white space. */
static void unescape(char *s)
{
	char *to = s;
	unsigned int c;

	for (; *s; s++) {
		if (s[0] == '\\' && sscanf(s + 1, "%3o", &c) == 1) {
			*to++ = (char)c;
			s += strnlen(s, 4) - 1;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

static bool is_below(const char *path, const char *directory)
{
	const char *rest = streq(directory, "/") ? path : after_prefix(path, directory);

	return rest && (rest[0] == '\0' || rest[0] == '/');
}

/* The last mount in the list at file that path lies in, or if exact that has path as its mount point. */
static bool find_mount(const char *file, const char *path, bool exact, struct mount *ret)
{
	FILE *f = fopen(file, "re");
	_cleanup_free_ char *line = NULL;
	_cleanup_free_ struct mount *m = xcalloc(1, sizeof(*m));
	size_t size = 0;

	ret->point[0] = '\0';
	while (f && getline(&line, &size, f) > 0) {
		if (sscanf(line, "%*d %*d %23s %4095s %4095s", m->device, m->root, m->point) != 3)
			continue;
		unescape(m->root);
		unescape(m->point);
		if (exact ? streq(m->point, path)
			  : is_below(path, m->point) && strlen(m->point) >= strlen(ret->point))
			*ret = *m;
	}
	if (f)
		(void)fclose(f);
	return ret->point[0] != '\0';
}

/* systemd.exec(5), PrivateTmp=: what is there is not what the engine sees. */
static bool is_hidden(const char *path)
{
	_cleanup_free_ struct mount *m = xcalloc(1, sizeof(*m));

	return find_mount("/proc/self/mountinfo", path, false, m) &&
	       strstr(m->root, "/systemd-private-");
}

/* A file system whose server, process or disk is gone answers with these. */
static bool is_dead(int code)
{
	return code == ENOTCONN || code == ESTALE || code == EIO || code == EHOSTDOWN ||
	       code == ENODEV || code == ENXIO;
}

static int check_path(const char *path, struct stat *ret, struct error *ret_error)
{
	if (stat(path, ret) == 0)
		return 0;
	if (is_dead(errno))
		return error_set(ret_error, -ENOENT, "%s cannot be reached: %s", path,
				 strerror(errno));
	return errno == ENOENT && !is_hidden(path)
		       ? error_set(ret_error, -ENOENT, "%s is not there", path)
		       : 0;
}

static int is_device(const char *path, const struct stat *s, int kind, struct FTW *where)
{
	(void)path;
	(void)where;
	/* What cannot be read may have some. */
	return kind == FTW_DNR || kind == FTW_NS || S_ISCHR(s->st_mode) || S_ISBLK(s->st_mode);
}

int host_path_check_device(const char *path, struct error *ret_error)
{
	struct stat s = {0};
	int r = check_path(path, &s, ret_error);

	if (r < 0)
		return r;
	/* An engine makes a directory where nothing was. */
	if (S_ISDIR(s.st_mode) && nftw(path, is_device, DIRECTORIES_MAX, FTW_PHYS) == 0)
		return error_set(ret_error, -ENOENT, "%s is a directory without a device", path);
	if (S_ISREG(s.st_mode))
		return error_set(ret_error, -ENOENT, "%s is not a device", path);
	return 0;
}

static bool is_empty(const char *path)
{
	DIR *d = opendir(path);
	const struct dirent *entry;
	size_t n = 0;

	while (d && (entry = readdir(d)))
		n += !streq(entry->d_name, ".") && !streq(entry->d_name, "..");
	if (d)
		(void)closedir(d);
	return d && n == 0;
}

/* devtmpfs has no empty directories but mount points and those that an engine made. */
static bool replaces_device(const char *path, const struct stat *s)
{
	_cleanup_free_ struct mount *m = xcalloc(1, sizeof(*m));

	return after_prefix(path, "/dev/") && S_ISDIR(s->st_mode) &&
	       !find_mount("/proc/self/mountinfo", path, true, m) && is_empty(path);
}

/* What the container has mounted at destination, and the mount that path, in *ret_real, lies in now. */
static bool find_both(const char *path, pid_t pid, const char *destination, char **ret_real,
		      struct mount *held, struct mount *now)
{
	_cleanup_free_ char *mounts = xasprintf("/proc/%d/mountinfo", (int)pid);

	*ret_real = realpath(path, NULL);
	return pid > 0 && *ret_real && find_mount(mounts, destination, true, held) &&
	       find_mount("/proc/self/mountinfo", *ret_real, false, now);
}

/* What the container has at destination was mounted at path, or above it, and is not any more. */
static bool was_unmounted(const char *path, pid_t pid, const char *destination)
{
	_cleanup_free_ char *real = NULL;
	_cleanup_free_ struct mount *held = xcalloc(1, sizeof(*held)),
				    *now = xcalloc(1, sizeof(*now));
	const char *inside;

	if (!find_both(path, pid, destination, &real, held, now) ||
	    streq(held->device, now->device))
		return false;
	inside = streq(held->root, "/") ? "" : held->root;
	/* A file system that is mounted there now, in its place, is for the new container. */
	return has_suffix(real, inside) && strlen(now->point) < strlen(real) - strlen(inside);
}

int host_path_check_source(const char *path, pid_t pid, const char *destination,
			   struct error *ret_error)
{
	struct stat s = {0};
	int r = check_path(path, &s, ret_error);

	if (r < 0)
		return r;
	if (replaces_device(path, &s))
		return error_set(ret_error, -ENOENT, "%s is an empty directory, and no device",
				 path);
	if (was_unmounted(path, pid, destination))
		return error_set(ret_error, -ENOENT,
				 "%s is not what the container has mounted from there any more",
				 path);
	return 0;
}

bool host_path_is_replaced(const char *path, pid_t pid, const char *destination)
{
	_cleanup_free_ char *real = NULL, *inside = NULL;
	_cleanup_free_ struct mount *held = xcalloc(1, sizeof(*held)),
				    *now = xcalloc(1, sizeof(*now));

	if (!find_both(path, pid, destination, &real, held, now) ||
	    !streq(held->device, now->device))
		return false;
	inside = xasprintf("%s%s", streq(now->root, "/") ? "" : now->root,
			   real + (streq(now->point, "/") ? 0 : strlen(now->point)));
	return !streq(held->root, inside[0] ? inside : "/");
}

int host_path_check_socket(const char *path, struct error *ret_error)
{
	static const int types[] = {SOCK_DGRAM, SOCK_STREAM};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int code = EPROTOTYPE;

	if (strlen(path) >= sizeof(address.sun_path) || is_hidden(path))
		return 0;
	copy_text(address.sun_path, sizeof(address.sun_path), path);
	for (size_t i = 0; i < ARRAY_SIZE(types) && code == EPROTOTYPE; i++) {
		_cleanup_close_ int fd =
			socket(AF_UNIX, types[i] | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

		code = connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? errno
											   : 0;
	}
	return code == ENOENT || code == ECONNREFUSED
		       ? error_set(ret_error, -ENOENT, "nothing listens at %s", path)
		       : 0;
}

/* A local address is a leaf of the trie of routes, "|-- ADDRESS", with "/32 host LOCAL" in the next line. */
static bool has_address(FILE *trie, const char *address)
{
	_cleanup_free_ char *leaf = xasprintf("|-- %s\n", address), *line = NULL;
	bool is_leaf = false, found = false;
	size_t size = 0;

	while (!found && getline(&line, &size, trie) > 0) {
		found = is_leaf && strstr(line, "/32 host LOCAL");
		is_leaf = has_suffix(line, leaf);
	}
	return found;
}

bool host_path_lacks_address(const char *address)
{
	static const char tries[][24] = {"/proc/self/net/fib_trie", "/proc/1/net/fib_trie"};
	FILE *f = fopen("/proc/sys/net/ipv4/ip_nonlocal_bind", "re");
	bool any = f && fgetc(f) == '1';
	struct in_addr ip;

	if (f)
		(void)fclose(f);
	if (any || inet_pton(AF_INET, address, &ip) != 1 || ip.s_addr == 0 ||
	    after_prefix(address, "127."))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(tries); i++) {
		bool found;

		f = fopen(tries[i], "re");
		if (!f)
			return false;
		found = has_address(f, address);
		(void)fclose(f);
		if (found)
			return false;
	}
	return true;
}
