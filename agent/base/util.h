/* SPDX-License-Identifier: MIT */
/* util: cleanup, checked allocation, files, clocks. Allocations abort on failure: every program is supervised, and a
 * crash at any point is tested. Sizes that are untrusted are bounded before. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

/* On armhf they need -D_TIME_BITS=64 and -D_FILE_OFFSET_BITS=64: else the clock ends in 2038. */
_Static_assert(sizeof(time_t) == 8 && sizeof(off_t) == 8, "time_t and off_t need 64 bits");

#define warn_unused		 __attribute__((warn_unused_result))
#define format_printf(fmt, args) __attribute__((format(printf, fmt, args)))
#define ARRAY_SIZE(a)		 (sizeof(a) / sizeof((a)[0]))

static inline void cleanup_free_p(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_close_p(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

/* For strspn(): of ASCII, in every locale. */
#define LOWER	     "abcdefghijklmnopqrstuvwxyz"
#define UPPER	     "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS	     "0123456789"
#define ALPHANUMERIC LOWER UPPER DIGITS

#define _cleanup_(f)	__attribute__((cleanup(f)))
#define _cleanup_free_	_cleanup_(cleanup_free_p)
#define _cleanup_close_ _cleanup_(cleanup_close_p)

/* Moves a value out of a cleanup variable. */
#define steal(p)                                         \
	({                                               \
		__typeof__(p) *steal_from = &(p);        \
		__typeof__(p) steal_value = *steal_from; \
		*steal_from = NULL;                      \
		steal_value;                             \
	})

static inline int steal_fd(int *fd)
{
	int r = *fd;

	*fd = -1;
	return r;
}

static inline bool streq(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

/* Like streq, and NULL equals only NULL. */
static inline bool streq_null(const char *a, const char *b)
{
	return a && b ? streq(a, b) : a == b;
}

/* The rest of s behind prefix, or NULL. */
const char *after_prefix(const char *s, const char *prefix);
bool has_suffix(const char *s, const char *suffix);

/* These abort when memory is short; the caller owns the result. */
void *xmalloc(size_t n);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t n);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
char *xasprintf(const char *fmt, ...) format_printf(1, 2);
/* The path of name in the directory of the file path: "/etc/pullet/conf.d" for "/etc/pullet/pullet.conf" and "conf.d". An
 * absolute name stays. */
char *path_beside(const char *path, const char *name);

/* Copies s, cut to size - 1 bytes or a few less, between two characters; NULL is "". */
void copy_text(char *ret, size_t size, const char *s);

/* n, or the little less at which s can be cut without cutting a character of UTF-8. n is at most the length of s. */
size_t text_cut(const char *s, size_t n);

/* Makes '?' of every byte of s that is no part of a printable character in UTF-8: it is valid, and cannot control a
 * terminal. No character takes more columns than bytes. Returns s. */
char *text_printable(char *s);

/* 1234567 to "1.2 MB". Caller frees. */
char *text_bytes(uint64_t n);

/* Replaces *p by a copy of s (NULL allowed). */
void replace_string(char **p, const char *s);

/* Reads a regular file of at most max bytes and terminates it by NUL; ret_len may be NULL.
 * -EFBIG when it is larger, -EISDIR or -EINVAL when it is not a file. Caller frees. */
#define READ_FILE_FLAGS (O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK) /* a FIFO does not block */
int read_file(int fd, size_t max, char **ret, size_t *ret_len) warn_unused;
int read_file_at(int dirfd, const char *path, size_t max, char **ret, size_t *ret_len) warn_unused;

/* Replaces name in dirfd so that a crash or power cut leaves either the old or the new content: temporary file, fsync,
 * rename, fsync of the directory. The umask applies to mode. Root gives the file to the directory's owner. */
int write_file_atomic_at(int dirfd, const char *name, mode_t mode, const char *data,
			 size_t len) warn_unused;

/* Writes all bytes, across signals and short writes. */
int write_all(int fd, const void *data, size_t len) warn_unused;

/* The kernel's id of this boot, empty when it cannot be read. */
#define BOOT_ID_SIZE 40
void boot_id(char ret[BOOT_ID_SIZE]);

/* Milliseconds of CLOCK_BOOTTIME, which includes suspend and does not follow the wall clock. */
uint64_t now_ms(void);
