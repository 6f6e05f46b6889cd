/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <sys/stat.h>

#include "crypto.h"
#include "spool.h"
#include "test.h"

static struct digest digest_of(const char *text)
{
	return hash_bytes(text, strlen(text));
}

static struct spool_blob blob(const char *text, uint64_t size)
{
	return (struct spool_blob){.digest = digest_of(text), .size = size};
}

static int open_spool(void)
{
	struct error e;
	int spool = spool_open(scratch, &e);

	assert_true(spool >= 0);
	return spool;
}

/* What came of it so far: n bytes. */
static void write_part(int spool, const char *text, size_t n)
{
	const struct digest d = digest_of(text);
	_cleanup_free_ char *data = xcalloc(n, 1);
	_cleanup_close_ int fd = -1;
	struct error e;
	uint64_t size;

	fd = spool_write(spool, &d, "", &size, &e);
	assert_true(fd >= 0);
	assert_int_equal(write_all(fd, data, n), 0);
}

static uint64_t part_size(int spool, const char *text)
{
	const struct digest d = digest_of(text);
	_cleanup_close_ int fd = -1;
	struct error e;
	uint64_t size;

	fd = spool_write(spool, &d, "", &size, &e);
	assert_true(fd >= 0);
	return size;
}

static bool is_here(int spool, const char *text)
{
	const struct digest d = digest_of(text);
	_cleanup_free_ char *part = xasprintf("%s.part", d.text + strlen("sha256:"));

	return faccessat(spool, d.text + strlen("sha256:"), F_OK, 0) == 0 ||
	       faccessat(spool, part, F_OK, 0) == 0;
}

static void need(int spool, const char *name, const struct spool_blob *blobs, size_t n)
{
	struct error e;

	assert_int_equal(spool_need(spool, name, blobs, n, &e), 0);
}

static int remove_spool(void **state)
{
	_cleanup_close_ int spool = openat(scratch, SPOOL_DIR, O_RDONLY | O_DIRECTORY);

	if (spool < 0)
		return 0;
	(void)unlinkat(spool, "boot", 0);
	(void)unlinkat(spool, "budget.json", 0);
	(void)unlinkat(spool, "budget.json.broken", 0);
	return unlinkat(scratch, SPOOL_DIR, AT_REMOVEDIR);
}

static void test_a_blob_comes_in_parts(void **state)
{
	const struct spool_blob list[] = {blob("layer", 5)};
	_cleanup_close_ int spool = open_spool(), fd = -1;
	char text[6] = "";
	struct error e;
	uint64_t here, of;

	need(spool, "app", list, 1);
	assert_int_equal(spool_read(spool, &list[0].digest, "", 5), -ENOENT);
	write_part(spool, "layer", 3);
	spool_progress(scratch, "app", &here, &of);
	assert_int_equal(here, 3);
	assert_int_equal(of, 5);
	assert_int_equal(part_size(spool, "layer"), 3);
	assert_int_equal(spool_finish(spool, &list[0].digest, "", &e), 0);
	/* One of another size is none. */
	assert_int_equal(spool_read(spool, &list[0].digest, "", 5), -ENOENT);
	assert_int_equal(spool_put(spool, &list[0].digest, "layer", 5, &e), 0);
	fd = spool_read(spool, &list[0].digest, "", 5);
	assert_int_equal(read(fd, text, 5), 5);
	assert_string_equal(text, "layer");
	spool_progress(scratch, "app", &here, &of);
	assert_int_equal(here, 5);
	spool_drop(scratch, "app");
	assert_false(is_here(spool, "layer"));
	spool_progress(scratch, "app", &here, &of);
	assert_int_equal(of, 0);
}

static void test_documents_do_not_count(void **state)
{
	struct spool_blob list[] = {blob("index", 7), blob("layer", 100)}, back[SPOOL_BLOBS_MAX];
	_cleanup_close_ int spool = open_spool();
	uint64_t here, of;

	list[0].document = true;
	need(spool, "app", list, 2);
	spool_progress(scratch, "app", &here, &of);
	assert_int_equal(of, 100);
	assert_int_equal(spool_list(spool, "app", back), 2);
	assert_true(back[0].document && !back[1].document);
	assert_true(digest_eq(&back[1].digest, &list[1].digest));
	spool_drop(scratch, "app");
}

/* A tag that moves: what both versions need stays, and what another container needs. */
static void test_what_nobody_needs_goes(void **state)
{
	const struct spool_blob first[] = {blob("base", 9), blob("one", 9)},
				second[] = {blob("base", 9), blob("two", 9)},
				other[] = {blob("one", 9)};
	_cleanup_close_ int spool = open_spool();

	need(spool, "app", first, 2);
	write_part(spool, "base", 4);
	write_part(spool, "one", 5);
	need(spool, "app", second, 2);
	assert_int_equal(part_size(spool, "base"), 4);
	assert_false(is_here(spool, "one"));
	write_part(spool, "one", 5); /* as if a kill had come before it was removed */
	need(spool, "app", second, 2);
	assert_false(is_here(spool, "one"));
	/* And a kill in write_file_atomic_at(). */
	assert_int_equal(symlinkat("x", spool, ".left.new"), 0);
	need(spool, "app", second, 2);
	assert_int_equal(faccessat(spool, ".left.new", F_OK, AT_SYMLINK_NOFOLLOW), -1);

	need(spool, "other", other, 1);
	write_part(spool, "one", 6);
	spool_drop(scratch, "app");
	assert_false(is_here(spool, "base"));
	assert_int_equal(part_size(spool, "one"), 6);
	spool_drop(scratch, "other");
	assert_false(is_here(spool, "one"));
}

static void test_another_boot_cuts_back(void **state)
{
	static const struct {
		size_t before, after;
	} cases[] = {{100, 0},
		     {FETCH_SYNC_BYTES - 1, 0},
		     {FETCH_SYNC_BYTES, FETCH_SYNC_BYTES},
		     {FETCH_SYNC_BYTES + 1, FETCH_SYNC_BYTES},
		     {3 * FETCH_SYNC_BYTES - 1, 2 * FETCH_SYNC_BYTES}};
	const struct spool_blob list[] = {blob("layer", 9 * FETCH_SYNC_BYTES), blob("whole", 7)};
	struct error e;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_close_ int spool = open_spool(), again = -1;

		need(spool, "app", list, 2);
		assert_int_equal(spool_put(spool, &list[1].digest, "a whole", 7, &e), 0);
		write_part(spool, "layer", cases[i].before);
		again = open_spool(); /* the same boot */
		assert_int_equal(part_size(again, "layer"), cases[i].before);
		assert_int_equal(write_file_atomic_at(spool, "boot", 0600, "another", 7), 0);
		cleanup_close_p(&again);
		again = open_spool();
		assert_int_equal(part_size(again, "layer"), cases[i].after);
		assert_true(is_here(spool, "whole"));
		spool_drop(scratch, "app");
	}
}

/* Names that are none of ours, and lists that a broken disk left. */
static void test_strange_files(void **state)
{
	static const char *const strange[] = {"0123",	"notes.part",  "x.list",
					      "README", "sha256:0123", "budget.json"};
	const struct spool_blob list[] = {blob("layer", 9)};
	struct spool_blob back[SPOOL_BLOBS_MAX];
	_cleanup_close_ int spool = open_spool();

	for (size_t i = 0; i < ARRAY_SIZE(strange); i++)
		assert_int_equal(write_file_atomic_at(spool, strange[i], 0600, "\xff 1\n", 4), 0);
	assert_int_equal(spool_list(spool, "x", back), 0);
	need(spool, "app", list, 1);
	spool_drop(scratch, "app");
	for (size_t i = 0; i < ARRAY_SIZE(strange); i++)
		assert_int_equal(unlinkat(spool, strange[i], 0), 0);
}

static void test_the_load_is_noted(void **state)
{
	const struct spool_blob list[] = {blob("layer", 9)};
	_cleanup_close_ int spool = open_spool();
	const size_t found = 3;
	struct error e;
	size_t back = 0;

	need(spool, "app", list, 1);
	assert_int_equal(spool_get_load(spool, "app", &back), -ENOENT);
	assert_int_equal(spool_note_load(spool, "app", NULL, &e), 0);
	assert_int_equal(spool_get_load(spool, "app", &back), -EINPROGRESS);
	assert_int_equal(spool_note_load(spool, "app", &found, &e), 0);
	assert_int_equal(spool_get_load(spool, "app", &back), 0);
	assert_int_equal(back, 3);
	assert_int_equal(spool_get_load(spool, "other", &back), -ENOENT);
	spool_drop(scratch, "app");
	assert_int_equal(spool_get_load(spool, "app", &back), -ENOENT);
}

static void test_a_temporary_file_has_no_name(void **state)
{
	_cleanup_close_ int spool = open_spool(), fd = -1, other = -1;
	struct error e;
	char text[3] = "";

	fd = spool_temporary(spool, &e);
	other = spool_temporary(spool, &e);
	assert_true(fd >= 0 && other >= 0);
	assert_int_equal(write_all(fd, "ab", 2), 0);
	assert_int_equal(pread(fd, text, 2, 0), 2);
	assert_string_equal(text, "ab");
	/* remove_spool() finds the directory empty. */
}

static void test_what_is_here(void **state)
{
	const struct spool_blob list[] = {blob("layer", 9)};
	_cleanup_close_ int spool = open_spool();
	struct error e;

	need(spool, "app", list, 1);
	assert_int_equal(spool_here(spool, &list[0].digest, 9), 0);
	write_part(spool, "layer", 4);
	assert_int_equal(spool_here(spool, &list[0].digest, 9), 4);
	/* A file that is longer is not of this blob. */
	write_part(spool, "layer", 10);
	assert_int_equal(spool_here(spool, &list[0].digest, 9), 0);
	spool_remove(spool, &list[0].digest);
	write_part(spool, "layer", 9);
	assert_int_equal(spool_finish(spool, &list[0].digest, "", &e), 0);
	assert_int_equal(spool_here(spool, &list[0].digest, 9), 9);
	assert_int_equal(spool_here(spool, &list[0].digest, 8), 0);
	spool_drop(scratch, "app");
	assert_int_equal(spool_here(spool, &list[0].digest, 9), 0);
}

static void test_the_budget_is_kept(void **state)
{
	_cleanup_close_ int spool = open_spool();
	const struct traffic moved = {.id = "one", .bytes = 500};
	struct budget b, back;

	spool_read_budget(scratch, &b);
	assert_int_equal(b.day_bytes, 0);
	assert_true(budget_add(&b, &moved, 1795000000));
	spool_write_budget(spool, &b);
	spool_read_budget(scratch, &back);
	assert_int_equal(back.day_bytes, 500);
	assert_string_equal(back.day, b.day);
	/* A broken one is set aside. */
	assert_int_equal(write_file_atomic_at(spool, "budget.json", 0600, "{", 1), 0);
	spool_read_budget(scratch, &back);
	assert_true(back.day_bytes > 500);
	assert_int_equal(faccessat(spool, "budget.json", F_OK, 0), -1);
	assert_int_equal(faccessat(spool, "budget.json.broken", F_OK, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_a_blob_comes_in_parts, remove_spool),
		cmocka_unit_test_teardown(test_documents_do_not_count, remove_spool),
		cmocka_unit_test_teardown(test_what_nobody_needs_goes, remove_spool),
		cmocka_unit_test_teardown(test_another_boot_cuts_back, remove_spool),
		cmocka_unit_test_teardown(test_strange_files, remove_spool),
		cmocka_unit_test_teardown(test_the_load_is_noted, remove_spool),
		cmocka_unit_test_teardown(test_a_temporary_file_has_no_name, remove_spool),
		cmocka_unit_test_teardown(test_what_is_here, remove_spool),
		cmocka_unit_test_teardown(test_the_budget_is_kept, remove_spool),
	};

	return cmocka_run_group_tests(tests, open_scratch, close_scratch);
}
