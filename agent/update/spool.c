/* SPDX-License-Identifier: MIT */
#include "spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "json.h"
#include "log.h"

#define BOOT_FILE   "boot"
#define BUDGET_FILE "budget.json"
#define LIST_SUFFIX ".list"
#define LOAD_SUFFIX ".load"
#define PART_SUFFIX ".part"
#define LIST_MAX    ((size_t)SPOOL_BLOBS_MAX * 96)
#define BUDGET_MAX  4096

static const char *hex_of(const struct digest *d)
{
	return d->text + strlen("sha256:");
}

static int fail(struct error *ret_error, const char *name)
{
	return error_set(ret_error, -errno, SPOOL_DIR "/%s: %m", name);
}

/* Calls visit for each file whose name ends with suffix. */
static void each_file(int spool, const char *suffix,
		      void (*visit)(int spool, const char *name, void *userdata), void *userdata)
{
	int fd = openat(spool, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *e;

	while (d && (e = readdir(d))) {
		if (has_suffix(e->d_name, suffix))
			visit(spool, e->d_name, userdata);
	}
	if (d)
		(void)closedir(d);
	else if (fd >= 0)
		(void)close(fd);
}

/* --- the boot --- */

/* pullet-fetch syncs at each multiple of FETCH_SYNC_BYTES before it writes on: what is below the last one is on the disk. */
static void cut_back(int spool, const char *name, void *userdata)
{
	_cleanup_close_ int fd = openat(spool, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0 &&
	    ftruncate(fd, st.st_size - st.st_size % (off_t)FETCH_SYNC_BYTES) < 0)
		(void)unlinkat(spool, name, 0);
}

static int enter_boot(int spool, struct error *ret_error)
{
	_cleanup_free_ char *before = NULL;
	char now[BOOT_ID_SIZE];
	int r;

	boot_id(now);
	if (read_file_at(spool, BOOT_FILE, BOOT_ID_SIZE, &before, NULL) == 0 && streq(before, now))
		return 0;
	each_file(spool, PART_SUFFIX, cut_back, NULL);
	r = write_file_atomic_at(spool, BOOT_FILE, 0600, now, strlen(now));
	return r < 0 ? error_set(ret_error, r, SPOOL_DIR "/" BOOT_FILE ": %s", strerror(-r)) : 0;
}

int spool_open(int state_dir, struct error *ret_error)
{
	_cleanup_close_ int spool = -1;
	int r;

	if (mkdirat(state_dir, SPOOL_DIR, 0700) < 0 && errno != EEXIST)
		return fail(ret_error, "");
	spool = openat(state_dir, SPOOL_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (spool < 0)
		return fail(ret_error, "");
	r = enter_boot(spool, ret_error);
	return r < 0 ? r : steal_fd(&spool);
}

/* --- lists --- */

static size_t read_list(int spool, const char *file, struct spool_blob ret[SPOOL_BLOBS_MAX])
{
	_cleanup_free_ char *text = NULL;
	char *line, *rest;
	size_t n = 0;

	if (read_file_at(spool, file, LIST_MAX, &text, NULL) < 0)
		return 0;
	for (rest = text; n < SPOOL_BLOBS_MAX && (line = strsep(&rest, "\n")) && line[0];) {
		struct spool_blob *b = &ret[n];
		char word[16] = "";

		*b = (struct spool_blob){0};
		if (sscanf(line, "%71s %" SCNu64 " %15s", b->digest.text, &b->size, word) < 2 ||
		    digest_parse(b->digest.text, &b->digest) < 0)
			return 0;
		b->document = streq(word, "document");
		n++;
	}
	return n;
}

size_t spool_list(int spool, const char *name, struct spool_blob ret[SPOOL_BLOBS_MAX])
{
	_cleanup_free_ char *file = xasprintf("%s" LIST_SUFFIX, name);

	return read_list(spool, file, ret);
}

struct sweep {
	const char *except;
	char (*needed)[DIGEST_TEXT_LEN + 1];
	size_t n;
};

static void add_needed(int spool, const char *file, void *userdata)
{
	_cleanup_free_ struct spool_blob *blobs = xcalloc(SPOOL_BLOBS_MAX, sizeof(*blobs));
	struct sweep *s = userdata;
	size_t n = streq_null(s->except, file) ? 0 : read_list(spool, file, blobs);

	s->needed = xrealloc(s->needed, (s->n + n + 1) * sizeof(*s->needed));
	for (size_t i = 0; i < n; i++)
		memcpy(s->needed[s->n++], blobs[i].digest.text, sizeof(*s->needed));
}

/* Only names of blobs are touched: 64 hex digits, and maybe an ending; and what a kill left of write_file_atomic_at(),
 * of which nobody else calls it here meanwhile. */
static void remove_unneeded(int spool, const char *name, void *userdata)
{
	const struct sweep *s = userdata;
	size_t n = strspn(name, "0123456789abcdef");
	_cleanup_free_ char *text = xasprintf("sha256:%.*s", (int)n, name);

	if (name[0] == '.' && has_suffix(name, ".new"))
		(void)unlinkat(spool, name, 0);
	if (n != DIGEST_TEXT_LEN - strlen("sha256:") ||
	    !(streq(name + n, "") || streq(name + n, PART_SUFFIX) || streq(name + n, ".tar") ||
	      streq(name + n, ".tar" PART_SUFFIX)))
		return;
	for (size_t i = 0; i < s->n; i++) {
		if (streq(s->needed[i], text))
			return;
	}
	(void)unlinkat(spool, name, 0);
}

/* Removes what no list but the file except (NULL: none) names. */
static void sweep(int spool, const char *except)
{
	struct sweep s = {.except = except};

	each_file(spool, LIST_SUFFIX, add_needed, &s);
	each_file(spool, "", remove_unneeded, &s);
	free(s.needed);
}

int spool_need(int spool, const char *name, const struct spool_blob *blobs, size_t n,
	       struct error *ret_error)
{
	_cleanup_free_ char *file = xasprintf("%s" LIST_SUFFIX, name), *text = xstrdup(""),
			    *before = NULL;
	int r = 0;

	for (size_t i = 0; i < n; i++) {
		_cleanup_free_ char *so_far = text;

		text = xasprintf("%s%s %" PRIu64 "%s\n", so_far, blobs[i].digest.text,
				 blobs[i].size, blobs[i].document ? " document" : "");
	}
	if (read_file_at(spool, file, LIST_MAX, &before, NULL) < 0 || !streq(before, text))
		r = write_file_atomic_at(spool, file, 0600, text, strlen(text));
	if (r < 0)
		return error_set(ret_error, r, SPOOL_DIR "/%s: %s", file, strerror(-r));
	sweep(spool, NULL); /* what a kill left, too */
	return 0;
}

uint64_t spool_here(int spool, const struct digest *d, uint64_t size)
{
	_cleanup_free_ char *part = xasprintf("%s" PART_SUFFIX, hex_of(d));
	struct stat st;

	if (fstatat(spool, hex_of(d), &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
	    (uint64_t)st.st_size == size)
		return size;
	if (fstatat(spool, part, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
		return 0;
	return (uint64_t)st.st_size <= size ? (uint64_t)st.st_size : 0;
}

void spool_progress(int state_dir, const char *name, uint64_t *ret_bytes, uint64_t *ret_of)
{
	_cleanup_free_ struct spool_blob *blobs = xcalloc(SPOOL_BLOBS_MAX, sizeof(*blobs));
	_cleanup_close_ int spool =
		openat(state_dir, SPOOL_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	size_t n = spool < 0 ? 0 : spool_list(spool, name, blobs);

	*ret_bytes = *ret_of = 0;
	for (size_t i = 0; i < n; i++) {
		if (blobs[i].document)
			continue;
		*ret_bytes += spool_here(spool, &blobs[i].digest, blobs[i].size);
		*ret_of += blobs[i].size;
	}
}

void spool_drop(int state_dir, const char *name)
{
	_cleanup_close_ int spool =
		openat(state_dir, SPOOL_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *list = xasprintf("%s" LIST_SUFFIX, name),
			    *load = xasprintf("%s" LOAD_SUFFIX, name),
			    *delta = xasprintf("%s" SPOOL_DELTA_SUFFIX, name);

	if (spool < 0)
		return;
	(void)unlinkat(spool, load, 0);
	(void)unlinkat(spool, delta, 0);
	/* The list goes last: if a kill comes between, the next call goes on. */
	if (faccessat(spool, list, F_OK, 0) == 0)
		sweep(spool, list);
	(void)unlinkat(spool, list, 0);
}

/* --- blobs --- */

/* What is no file in the place of one would be in the way for ever. */
static void remove_other(int spool, const char *name)
{
	struct stat st;

	if (fstatat(spool, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISREG(st.st_mode))
		(void)unlinkat(spool, name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0);
}

int spool_read(int spool, const struct digest *d, const char *suffix, uint64_t size)
{
	_cleanup_free_ char *name = xasprintf("%s%s", hex_of(d), suffix);
	_cleanup_close_ int fd = -1;
	struct stat st;

	remove_other(spool, name);
	fd = openat(spool, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (S_ISREG(st.st_mode) && (suffix[0] || (uint64_t)st.st_size == size))
		return steal_fd(&fd);
	(void)unlinkat(spool, name, 0);
	return -ENOENT;
}

int spool_write(int spool, const struct digest *d, const char *suffix, uint64_t *ret_size,
		struct error *ret_error)
{
	_cleanup_free_ char *name = xasprintf("%s%s" PART_SUFFIX, hex_of(d), suffix);
	_cleanup_close_ int fd = -1;
	struct stat st;

	remove_other(spool, name);
	fd = openat(spool, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || fstat(fd, &st) < 0)
		return fail(ret_error, name);
	*ret_size = (uint64_t)st.st_size;
	return steal_fd(&fd);
}

int spool_finish(int spool, const struct digest *d, const char *suffix, struct error *ret_error)
{
	_cleanup_free_ char *name = xasprintf("%s%s", hex_of(d), suffix);
	_cleanup_free_ char *part = xasprintf("%s" PART_SUFFIX, name);

	if (renameat(spool, part, spool, name) < 0 || fsync(spool) < 0)
		return fail(ret_error, part);
	return 0;
}

int spool_put(int spool, const struct digest *d, const char *data, size_t n,
	      struct error *ret_error)
{
	_cleanup_close_ int here = spool_read(spool, d, "", n);
	int r = here >= 0 ? 0 : write_file_atomic_at(spool, hex_of(d), 0600, data, n);

	return r < 0 ? error_set(ret_error, r, SPOOL_DIR "/%s: %s", hex_of(d), strerror(-r)) : 0;
}

int spool_temporary(int spool, struct error *ret_error)
{
	static const char name[] = ".temporary";
	int fd = openat(spool, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0)
		return fd;
	/* Some file systems know no files without names. */
	(void)unlinkat(spool, name, 0);
	fd = openat(spool, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd >= 0 && unlinkat(spool, name, 0) == 0)
		return fd;
	(void)fail(ret_error, name);
	cleanup_close_p(&fd);
	return ret_error->code;
}

void spool_remove(int spool, const struct digest *d)
{
	static const char *const endings[] = {"", PART_SUFFIX, ".tar", ".tar" PART_SUFFIX};

	for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
		_cleanup_free_ char *name = xasprintf("%s%s", hex_of(d), endings[i]);

		(void)unlinkat(spool, name, 0);
	}
}

int spool_note_load(int spool, const char *name, const size_t *found, struct error *ret_error)
{
	_cleanup_free_ char *file = xasprintf("%s" LOAD_SUFFIX, name),
			    *text = found ? xasprintf("%zu", *found) : xstrdup("");
	int r = write_file_atomic_at(spool, file, 0600, text, strlen(text));

	return r < 0 ? error_set(ret_error, r, SPOOL_DIR "/%s: %s", file, strerror(-r)) : 0;
}

int spool_get_load(int spool, const char *name, size_t *ret_found)
{
	_cleanup_free_ char *file = xasprintf("%s" LOAD_SUFFIX, name), *text = NULL;
	int r = read_file_at(spool, file, 32, &text, NULL);

	if (r == 0 && sscanf(text, "%zu", ret_found) != 1)
		return -EINPROGRESS;
	return r == 0 || r == -ENOENT ? r : -EINPROGRESS;
}

/* --- the budget --- */

void spool_read_budget(int state_dir, struct budget *ret)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ json_t *j = NULL;
	struct error e;
	size_t n;
	int r = read_file_at(state_dir, SPOOL_DIR "/" BUDGET_FILE, BUDGET_MAX, &text, &n);

	*ret = (struct budget){0};
	if (r == -ENOENT)
		return;
	if (r < 0)
		(void)error_set(&e, r, "%s", strerror(-r));
	else
		r = json_parse(text, n, BUDGET_FILE, &j, &e);
	if (r == 0)
		r = budget_from_json(j, ret, &e);
	if (r == 0)
		return;
	log_error(SPOOL_DIR "/" BUDGET_FILE ": %s; the budget of today counts as used up", e.text);
	*ret = budget_lost();
	(void)renameat(state_dir, SPOOL_DIR "/" BUDGET_FILE, state_dir,
		       SPOOL_DIR "/" BUDGET_FILE ".broken");
}

void spool_write_budget(int spool, const struct budget *b)
{
	_cleanup_json_ json_t *j = budget_to_json(b);
	_cleanup_free_ char *text = json_text(j, JSON_COMPACT);
	int r = write_file_atomic_at(spool, BUDGET_FILE, 0600, text, strlen(text));

	if (r < 0)
		log_warning(SPOOL_DIR "/" BUDGET_FILE ": %s", strerror(-r));
}
