/* SPDX-License-Identifier: MIT */
/* tests/engine/test_load.py compares a tar byte for byte with Python's. */
#include "load-tar.h"

#include <errno.h>
#include <sys/mman.h>

#include "ref.h"
#include "test.h"

#define A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define C "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
#define D "sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"

/* A file of size bytes, of which only the text takes room. */
static int make_file(uint64_t size, const char *text)
{
	int fd = memfd_create("layer", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	assert_int_equal(pwrite(fd, text, strlen(text), 0), strlen(text));
	return fd;
}

static struct load make_load(const struct ref *ref, const struct load_layer *layers, size_t n)
{
	return (struct load){.ref = ref,
			     .keep = "app",
			     .top_type = OCI_MANIFEST,
			     .top = {{A}, "manifest", 8},
			     .manifest = {{A}, "manifest", 8},
			     .config = {{B}, "config", 6},
			     .layers = layers,
			     .n_layers = n};
}

static struct ref make_ref(void)
{
	struct ref ref;
	const char *why;

	assert_int_equal(ref_parse("r.io/team/app:v1", &ref, &why), 0);
	return ref;
}

/* Whatever the pieces, the bytes are the same. */
static void test_pieces(void **state)
{
	struct ref ref = make_ref();
	struct load_layer layers[] = {
		{.digest = {C}, .size = 512, .fd = make_file(512, "full block")},
		{.digest = {D}, .size = 9, .fd = -1},
		{.digest = {D}, .size = 3, .fd = make_file(3, "abc")}};
	struct load l = make_load(&ref, layers, ARRAY_SIZE(layers));
	struct load_tar t;
	struct error e;

	load_tar_make(&l, NULL, false, &t);
	assert_int_equal(t.n_files, 7);
	assert_int_equal(t.size % 512, 0);
	_cleanup_free_ char *whole = xmalloc(t.size + 1), *piece = xmalloc(t.size + 1);

	assert_int_equal(load_tar_read(&t, 0, whole, t.size + 1, &e), t.size);
	for (size_t n = 1; n < t.size; n = n * 2 + 1) {
		for (uint64_t at = 0; at < t.size; at += n) {
			size_t want = t.size - at < n ? t.size - at : n;

			assert_int_equal(load_tar_read(&t, at, piece, n, &e), want);
			assert_memory_equal(piece, whole + at, want);
		}
	}
	assert_int_equal(load_tar_read(&t, t.size, piece, 1, &e), 0);
	load_tar_free(&t);
	ref_free(&ref);
	(void)close(layers[0].fd);
	(void)close(layers[2].fd);
}

/* From 8 GiB on a size is binary. */
static void test_large(void **state)
{
	static const struct {
		uint64_t size;
		const char field[13];
	} rows[] = {{((uint64_t)1 << 33) - 1, "77777777777\0"},
		    {(uint64_t)1 << 33, "\x80\0\0\0\0\0\0\2\0\0\0\0"},
		    {((uint64_t)300 << 40) + 5, "\x80\0\0\0\0\1\x2c\0\0\0\0\5"}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct ref ref = make_ref();
		/* Nothing of it is read here. */
		struct load_layer layer = {.digest = {C}, .size = rows[i].size};
		struct load l = make_load(&ref, &layer, 1);
		struct load_tar t;
		struct error e;
		char block[512];

		load_tar_make(&l, NULL, true, &t);
		assert_int_equal(load_tar_read(&t, (uint64_t)5 * 1024, block, 512, &e), 512);
		assert_string_equal(block,
				    "blobs/sha256/cccccccccccccccccccccccccccccccccccccccccccc"
				    "cccccccccccccccccccc");
		assert_memory_equal(block + 124, rows[i].field, 12);
		assert_true(t.size > rows[i].size && t.size < rows[i].size + 8192);
		load_tar_free(&t);
		ref_free(&ref);
	}
}

static void test_short_file(void **state)
{
	struct ref ref = make_ref();
	struct load_layer layer = {.digest = {C}, .size = 100, .fd = make_file(99, "short")};
	struct load l = make_load(&ref, &layer, 1);
	char all[16384];
	struct load_tar t;
	struct error e;

	load_tar_make(&l, NULL, true, &t);
	assert_int_equal(load_tar_read(&t, 0, all, sizeof(all), &e), -EBADMSG);
	assert_non_null(strstr(e.text, "shorter than its 100 bytes"));
	load_tar_free(&t);
	ref_free(&ref);
	(void)close(layer.fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_short_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
