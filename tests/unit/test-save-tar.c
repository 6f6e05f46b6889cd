/* SPDX-License-Identifier: MIT */
#include "save-tar.h"

#include <errno.h>
#include <stdio.h>
#include <sys/param.h>

#include "test.h"

/* A tar, as it is put together. */
struct tar {
	char data[64 * 1024];
	size_t n;
};

static void add_header(struct tar *t, char type, const char *name, const char *size, size_t n_size)
{
	struct tar_header h = {.checksum = "       ", .type = type, .magic = "ustar"};
	const unsigned char *bytes = (const unsigned char *)&h;
	unsigned int sum = 0;

	memcpy(h.name, name, strlen(name));
	memcpy(h.size, size, n_size);
	h.checksum[7] = ' ';
	for (size_t i = 0; i < sizeof(h); i++)
		sum += bytes[i];
	(void)snprintf(h.checksum, sizeof(h.checksum) - 1, "%06o", sum);
	memcpy(t->data + t->n, &h, sizeof(h));
	t->n += sizeof(h);
}

static void add(struct tar *t, char type, const char *name, const char *content)
{
	size_t n = strlen(content);
	char size[24];

	(void)snprintf(size, sizeof(size), "%011zo", n);
	add_header(t, type, name, size, 12);
	memcpy(t->data + t->n, content, n);
	t->n += (n + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
}

/* What was told, as "<name:size>content;". */
struct told {
	char text[8192];
	size_t n;
	int result; /* of the next call */
};

static int tell(struct told *t, const char *data, size_t n)
{
	assert_true(t->n + n < sizeof(t->text));
	memcpy(t->text + t->n, data, n);
	t->n += n;
	t->text[t->n] = '\0';
	return t->result;
}

static int on_file(void *userdata, const char *name, uint64_t size)
{
	char text[200];

	(void)snprintf(text, sizeof(text), "<%s:%ju>", name, (uintmax_t)size);
	return tell(userdata, text, strlen(text));
}

static int on_data(void *userdata, const char *data, size_t n)
{
	assert_true(n > 0);
	return tell(userdata, data, n);
}

static int on_end(void *userdata)
{
	return tell(userdata, ";", 1);
}

/* The result of reading n bytes in such pieces. */
static int read_tar(const char *data, size_t n, size_t piece, struct told *told)
{
	struct save_tar t = {
		.on_file = on_file, .on_data = on_data, .on_end = on_end, .userdata = told};
	struct error e;
	int r = 0;

	told->n = 0;
	for (size_t at = 0; r == 0 && at < n; at += piece)
		r = save_tar_push(&t, data + at, MIN(piece, n - at), &e);
	return r < 0 ? r : save_tar_end(&t, &e);
}

static void test_pieces(void **state)
{
	static const char expected[] =
		"<first:5>hello;<empty:0>;<old:3>abc;<blobs/sha256/"
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		":1>x;<binary:4>wxyz;";
	static struct tar t;
	static struct told told;
	_cleanup_free_ char *long_name = xcalloc(1, 1201);

	memset(long_name, 'n', 1200);
	add(&t, '5', "directory/", "");
	add(&t, '0', "first", "hello");
	add(&t, '2', "link", "");
	add(&t, '0', "empty", "");
	add(&t, 'L', "././@LongLink", long_name);
	add(&t, '\0', "old", "abc");
	add(&t, 'x', "PaxHeader", "30 mtime=1350244992.023960108\n");
	add(&t, '0',
	    "blobs/sha256/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "x");
	add_header(&t, '1', "hard link", "00000000017", 12); /* no content follows */
	add_header(&t, '0', "binary", "\x80\0\0\0\0\0\0\0\0\0\0\4", 12);
	memcpy(t.data + t.n, "wxyz", 4);
	t.n += TAR_BLOCK;
	t.n += (size_t)2 * TAR_BLOCK;
	for (size_t piece = 1; piece < t.n + 7; piece = piece * 2 + 1) {
		assert_int_equal(read_tar(t.data, t.n, piece, &told), 0);
		assert_string_equal(told.text, expected);
	}
	/* One block of zeros ends it, whatever follows. */
	assert_int_equal(read_tar(t.data, t.n - TAR_BLOCK, 100, &told), 0);
	for (size_t cut = 0; cut < t.n - (size_t)2 * TAR_BLOCK; cut += 101)
		assert_int_equal(read_tar(t.data, cut, 4096, &told), -EBADMSG);
}

static void test_refused(void **state)
{
	static const char sizes[][13] = {
		"0000000000x",
		"\x80\0\0\1\0\0\0\0\0\0\0\0",
		"\x80\0\0\0\x80\0\0\0\0\0\0\0", /* 2^63 */
		"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
		"-0000000001",
		"00000000008",
	};
	static struct told told;
	struct tar *t;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		t = xcalloc(1, sizeof(*t));
		add_header(t, '0', "file", sizes[i], 12);
		assert_int_equal(read_tar(t->data, TAR_BLOCK, TAR_BLOCK, &told), -EBADMSG);
		assert_string_equal(told.text, "");
		free(t);
	}
	t = xcalloc(1, sizeof(*t));
	add(t, '0', "file", "content");
	t->data[0]++; /* other than its checksum */
	assert_int_equal(read_tar(t->data, t->n, 4096, &told), -EBADMSG);
	memset(t->data, ' ', TAR_BLOCK);
	assert_int_equal(read_tar(t->data, t->n, 4096, &told), -EBADMSG);
	free(t);
}

/* The largest size keeps what follows its content, and the content never comes. */
static void test_large(void **state)
{
	static struct told told;
	struct tar *t = xcalloc(1, sizeof(*t));

	add_header(t, '0', "large", "\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", 12);
	assert_int_equal(read_tar(t->data, (size_t)3 * TAR_BLOCK, 4096, &told), -EBADMSG);
	assert_memory_equal(told.text, "<large:9223372036854775807>", 27);
	free(t);
}

static void test_the_callers_error_ends_it(void **state)
{
	static struct told told;
	struct tar *t = xcalloc(1, sizeof(*t));

	add(t, '0', "one", "1");
	add(t, '0', "two", "2");
	told.result = -ENOSPC;
	assert_int_equal(read_tar(t->data, t->n, 4096, &told), -ENOSPC);
	assert_string_equal(told.text, "<one:1>");
	free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_the_callers_error_ends_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
