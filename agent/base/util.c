/* SPDX-License-Identifier: MIT */
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

const char *after_prefix(const char *s, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(s, prefix, n) == 0 ? s + n : NULL;
}

bool has_suffix(const char *s, const char *suffix)
{
	size_t n = strlen(s), m = strlen(suffix);

	return n >= m && streq(s + n - m, suffix);
}

static void *need(void *p)
{
	if (!p)
		abort();
	return p;
}

void *xmalloc(size_t n)
{
	return need(malloc(n ? n : 1));
}

void *xcalloc(size_t n, size_t size)
{
	return need(calloc(n ? n : 1, size ? size : 1));
}

void *xrealloc(void *p, size_t n)
{
	return need(realloc(p, n ? n : 1));
}

char *xstrdup(const char *s)
{
	return need(strdup(s));
}

char *xstrndup(const char *s, size_t n)
{
	return need(strndup(s, n));
}

char *xasprintf(const char *fmt, ...)
{
	va_list ap;
	char *p;
	int r;

	va_start(ap, fmt);
	r = vasprintf(&p, fmt, ap);
	va_end(ap);
	if (r < 0)
		abort();
	return p;
}

char *path_beside(const char *path, const char *name)
{
	const char *slash = name[0] == '/' ? NULL : strrchr(path, '/');

	return xasprintf("%.*s%s", slash ? (int)(slash + 1 - path) : 0, path, name);
}

void copy_text(char *ret, size_t size, const char *s)
{
	size_t n = s ? strlen(s) : 0;

	(void)snprintf(ret, size, "%.*s", (int)text_cut(s ? s : "", n < size ? n : size - 1),
		       s ? s : "");
}

size_t text_cut(const char *s, size_t n)
{
	while (n > 0 && ((unsigned char)s[n] & 0xc0) == 0x80)
		n--;
	return n;
}

/* What changes the order or the look of the text around it: C1 controls, marks and overrides of direction. */
static bool is_control(unsigned int c)
{
	return c < 0xa0 || (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
	       (c >= 0x2060 && c <= 0x206f) || c == 0xfeff;
}

/* The bytes of the character above ASCII that s begins with; 0: it is none of valid UTF-8 (RFC 3629), or a control. */
static size_t printable_bytes(const char *s)
{
	static const unsigned int least[] = {0, 0, 0x80, 0x800, 0x10000};
	unsigned char first = (unsigned char)*s;
	size_t n = first >= 0xf8   ? 0
		   : first >= 0xf0 ? 4
		   : first >= 0xe0 ? 3
		   : first >= 0xc0 ? 2
				   : 0;
	unsigned int c = n ? first & (0x7fu >> n) : 0;

	for (size_t i = 1; i < n; i++) {
		/* A cut one ends with NUL. */
		if (((unsigned char)s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | ((unsigned char)s[i] & 0x3f);
	}
	if (n == 0 || c < least[n] || (c >= 0xd800 && c <= 0xdfff) || c > 0x10ffff)
		return 0;
	return is_control(c) ? 0 : n;
}

char *text_printable(char *s)
{
	for (char *p = s; *p;) {
		bool ascii = (unsigned char)*p >= 0x20 && (unsigned char)*p < 0x7f;
		size_t n = ascii ? 1 : printable_bytes(p);

		if (n == 0)
			*p = '?';
		p += n ? n : 1;
	}
	return s;
}

char *text_bytes(uint64_t n)
{
	static const char units[][3] = {"kB", "MB", "GB", "TB", "PB"};
	double v = (double)n / 1000;
	size_t i = 0;

	if (n < 1000)
		return xasprintf("%u B", (unsigned int)n);
	while (v >= 999.95 && i + 1 < ARRAY_SIZE(units)) {
		v /= 1000;
		i++;
	}
	return xasprintf("%.1f %s", v, units[i]);
}

void replace_string(char **p, const char *s)
{
	char *copy = s ? xstrdup(s) : NULL;

	free(*p);
	*p = copy;
}

int read_file(int fd, size_t max, char **ret, size_t *ret_len)
{
	_cleanup_free_ char *buf = NULL;
	size_t len = 0;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	if ((uintmax_t)st.st_size > max)
		return -EFBIG;
	buf = xmalloc((size_t)st.st_size + 1);
	while (len < (size_t)st.st_size) {
		ssize_t n = read(fd, buf + len, (size_t)st.st_size - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	buf[len] = '\0';
	*ret = steal(buf);
	if (ret_len)
		*ret_len = len;
	return 0;
}

int read_file_at(int dirfd, const char *path, size_t max, char **ret, size_t *ret_len)
{
	_cleanup_close_ int fd = openat(dirfd, path, READ_FILE_FLAGS);

	return read_file(fd, max, ret, ret_len);
}

int write_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* A file that root writes by hand must stay readable to the service's user. */
static int give_to_owner_of(int dirfd, int fd)
{
	struct stat st;

	if (geteuid() != 0)
		return 0;
	if (fstat(dirfd, &st) < 0)
		return -errno;
	return st.st_uid != 0 && fchown(fd, st.st_uid, st.st_gid) < 0 ? -errno : 0;
}

int write_file_atomic_at(int dirfd, const char *name, mode_t mode, const char *data, size_t len)
{
	_cleanup_free_ char *tmp = xasprintf(".%s.new", name);
	_cleanup_close_ int fd = -1;
	int r;

	/* A power cut may have left one. */
	if (unlinkat(dirfd, tmp, 0) < 0 && errno != ENOENT)
		return -errno;
	fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return -errno;
	r = give_to_owner_of(dirfd, fd);
	if (r == 0)
		r = write_all(fd, data, len);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (r == 0 && renameat(dirfd, tmp, dirfd, name) < 0)
		r = -errno;
	if (r < 0) {
		(void)unlinkat(dirfd, tmp, 0);
		return r;
	}
	/* Without this the old content can come back after a power cut (measured on ext4). */
	return fsync(dirfd) < 0 ? -errno : 0;
}

void boot_id(char ret[BOOT_ID_SIZE])
{
	static uintmax_t random[2];
	_cleanup_close_ int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, ret, BOOT_ID_SIZE - 1);

	ret[n > 0 ? n : 0] = '\0';
	ret[strcspn(ret, "\n")] = '\0';
	if (ret[0])
		return;
	/* ProcSubset=pid hides the boot id. Each process counts as a boot then: an image that was not synced is pulled
	 * again rather than trusted. */
	if (!random[0] && getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		abort();
	(void)snprintf(ret, BOOT_ID_SIZE, "%016jx%016jx", random[0], random[1]);
}

uint64_t now_ms(void)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_BOOTTIME, &ts) < 0)
		abort();
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}
