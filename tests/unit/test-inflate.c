/* SPDX-License-Identifier: MIT */
#include "inflate.h"

#include <errno.h>
#include <sys/param.h>
#include <zlib.h>
#include <zstd.h>

#include "test.h"

#define TEXT_SIZE ((size_t)300 * 1000)

struct sink {
	char *data;
	size_t n, max;
	int result; /* once max bytes are there */
};

static int on_data(void *userdata, const char *data, size_t n)
{
	struct sink *s = userdata;

	assert_true(n > 0);
	if (s->n + n > s->max)
		return s->result;
	memcpy(s->data + s->n, data, n);
	s->n += n;
	return 0;
}

/* Half of it can be compressed. The caller frees it. */
static char *make_text(size_t n)
{
	char *text = xmalloc(n);
	unsigned int v = 1;

	for (size_t i = 0; i < n; i++) {
		v = v * 1103515245 + 12345;
		text[i] = (char)(i % 2 ? v >> 16 : 'a');
	}
	return text;
}

/* These append to *to. */
static size_t add_gzip(char *to, size_t max, const char *text, size_t n)
{
	z_stream z = {.next_in = (unsigned char *)text, .avail_in = (unsigned int)n};

	z.next_out = (unsigned char *)to;
	z.avail_out = (unsigned int)max;
	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	(void)deflateEnd(&z);
	return max - z.avail_out;
}

static size_t add_zstd(char *to, size_t max, const char *text, size_t n, int window_log)
{
	ZSTD_CCtx *c = ZSTD_createCCtx();
	ZSTD_outBuffer out = {.dst = to, .size = max};
	ZSTD_inBuffer in = {.src = text, .size = n};

	(void)ZSTD_CCtx_setParameter(c, ZSTD_c_windowLog, window_log);
	(void)ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
	/* Without an end at once the frame does not tell its size, and needs its window. */
	while (in.pos < in.size)
		assert_false(ZSTD_isError(ZSTD_compressStream2(c, &out, &in, ZSTD_e_continue)));
	assert_int_equal(ZSTD_compressStream2(c, &out, &in, ZSTD_e_end), 0);
	ZSTD_freeCCtx(c);
	return out.pos;
}

/* The result of all of it, in pieces. */
static int inflate_all(struct inflate *i, const char *data, size_t n, size_t piece)
{
	int r = 0;

	inflate_begin(i);
	for (size_t at = 0; r == 0 && at < n; at += piece)
		r = inflate_push(i, data + at, MIN(piece, n - at));
	return r < 0 ? r : inflate_end(i);
}

/* In pieces of any size, one file after the other with the same decoders. */
static void test_pieces(void **state)
{
	static const unsigned char skippable[] = {0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4};
	static const size_t pieces[] = {1, 2, 3, 4, 5, 7, 512, 16384, 65536, 70001, 1000000};
	_cleanup_free_ char *text = make_text(TEXT_SIZE), *packed = xmalloc(2 * TEXT_SIZE),
			    *out = xmalloc(2 * TEXT_SIZE);
	struct sink sink = {.data = out, .max = 2 * TEXT_SIZE, .result = -E2BIG};
	struct inflate i = {.on_data = on_data, .userdata = &sink};

	for (int kind = 0; kind < 6; kind++) {
		size_t half = TEXT_SIZE / 2, n = TEXT_SIZE;

		/* One member or frame, or two. */
		if (kind < 2)
			n = add_gzip(packed, 2 * TEXT_SIZE, text, kind ? half : TEXT_SIZE);
		else if (kind < 4)
			n = add_zstd(packed, 2 * TEXT_SIZE, text, kind == 3 ? half : TEXT_SIZE, 20);
		if (kind == 1)
			n += add_gzip(packed + n, TEXT_SIZE, text + half, TEXT_SIZE - half);
		if (kind == 3)
			n += add_zstd(packed + n, TEXT_SIZE, text + half, TEXT_SIZE - half, 22);
		if (kind == 4)
			memcpy(packed, text, n);
		/* pzstd begins with a frame that decoders skip. */
		if (kind == 5) {
			memcpy(packed, skippable, sizeof(skippable));
			n = sizeof(skippable) +
			    add_zstd(packed + sizeof(skippable), TEXT_SIZE, text, TEXT_SIZE, 20);
		}
		for (size_t p = 0; p < ARRAY_SIZE(pieces); p++) {
			sink.n = 0;
			assert_int_equal(inflate_all(&i, packed, n, pieces[p]), 0);
			assert_int_equal(sink.n, TEXT_SIZE);
			assert_memory_equal(out, text, TEXT_SIZE);
		}
		/* Cut anywhere it has no end. */
		for (size_t cut = 4; kind != 4 && cut < n; cut += 997) {
			sink.n = 0;
			if (inflate_all(&i, packed, cut, 4096) == 0)
				fail_msg("kind %d cut at %zu", kind, cut);
		}
	}
	inflate_free(&i);
}

static void test_short(void **state)
{
	char out[8];
	struct sink sink = {.data = out, .max = sizeof(out), .result = -E2BIG};
	struct inflate i = {.on_data = on_data, .userdata = &sink};

	for (size_t n = 0; n < 6; n++) {
		sink.n = 0;
		assert_int_equal(inflate_all(&i,
					     "\x1f\x8b"
					     "abcd",
					     n, 1),
				 0);
		assert_int_equal(sink.n, n);
		assert_memory_equal(out,
				    "\x1f\x8b"
				    "abcd",
				    n);
	}
	/* A full file, or whatever else the sink says. */
	assert_int_equal(inflate_all(&i, "123456789", 9, 9), -E2BIG);
	inflate_free(&i);
}

static void test_refused(void **state)
{
	_cleanup_free_ char *zeros = xcalloc(1, (size_t)8 << 20),
			    *packed = xmalloc((size_t)8 << 20), *out = xmalloc((size_t)16 << 20);
	struct sink sink = {.data = out, .max = (size_t)16 << 20, .result = -E2BIG};
	struct inflate i = {.on_data = on_data, .userdata = &sink};
	size_t n = add_gzip(packed, (size_t)8 << 20, zeros, (size_t)8 << 20);

	/* gzip cannot make more than 1032 bytes of one; zstd can. */
	assert_int_equal(inflate_all(&i, packed, n, 4096), 0);
	assert_int_equal(sink.n, (size_t)8 << 20);
	n = add_zstd(packed, (size_t)8 << 20, zeros, (size_t)8 << 20, 20);
	assert_int_equal(inflate_all(&i, packed, n, 4096), -EBADMSG);
	assert_true(sink.n < (size_t)9 << 20);
	/* So can a part of a file that is large enough as a whole. */
	sink.n = 0;
	inflate_begin(&i);
	i.size = (uint64_t)16 << 10;
	assert_int_equal(inflate_push(&i, packed, n), 0);
	assert_int_equal(inflate_end(&i), 0);
	assert_int_equal(sink.n, (size_t)8 << 20);
	/* A window of 16 MiB; and of 8 MiB, which BuildKit and skopeo make. */
	_cleanup_free_ char *text = make_text(TEXT_SIZE);

	sink.n = 0;
	n = add_zstd(packed, (size_t)8 << 20, text, TEXT_SIZE, 24);
	assert_int_equal(inflate_all(&i, packed, n, 4096), -EBADMSG);
	assert_int_equal(sink.n, 0);
	n = add_zstd(packed, (size_t)8 << 20, text, TEXT_SIZE, 23);
	assert_int_equal(inflate_all(&i, packed, n, 4096), 0);
	/* Other bytes. */
	packed[n / 2] ^= 1;
	sink.n = 0;
	assert_int_equal(inflate_all(&i, packed, n, 4096), -EBADMSG);
	n = add_gzip(packed, (size_t)8 << 20, text, TEXT_SIZE);
	packed[n - 5] ^= 1; /* its checksum */
	sink.n = 0;
	assert_int_equal(inflate_all(&i, packed, n, 4096), -EBADMSG);
	inflate_free(&i);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_short),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
