/* SPDX-License-Identifier: MIT */
#include "inflate.h"

#include <errno.h>
#include <sys/param.h>
#define ZLIB_CONST
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#define PIECE ((size_t)64 * 1024)
#define WINDOW_LOG_MAX \
	23 /* 8 MiB, as BuildKit and skopeo write it, and RFC 8878 recommends to support */
#define ZSTD_SKIPPABLE \
	"\x2a\x4d\x18" /* behind a byte from 0x50 to 0x5f; pzstd begins with such a frame */
#define WINDOW_LOG_GENEROUS 27
#define RATIO_MAX	    1032
#define GZIP_BITS	    (15 + 16) /* zlib.h: of gzip alone */

void inflate_begin(struct inflate *i)
{
	i->n_head = 0;
	i->in_bytes = i->out_bytes = i->size = 0;
	i->compression = OCI_PLAIN;
	i->whole = false;
}

void inflate_free(struct inflate *i)
{
	if (i->gzip)
		(void)inflateEnd(i->gzip);
	free(i->gzip);
	ZSTD_freeDCtx(i->zstd);
	free(i->out);
}

static int put(struct inflate *i, const char *data, size_t n)
{
	i->out_bytes += n;
	if (!i->generous && i->out_bytes / RATIO_MAX > MAX(i->in_bytes, i->size))
		return -EBADMSG;
	return n > 0 ? i->on_data(i->userdata, data, n) : 0;
}

/* One member may follow another. */
static int push_gzip(struct inflate *i, const char *data, size_t n)
{
	z_stream *z = i->gzip;
	int r = 0, q = Z_OK;

	z->next_in = (const unsigned char *)data;
	z->avail_in = (unsigned int)n;
	z->avail_out = PIECE;
	while (r == 0 && (z->avail_in > 0 || z->avail_out == 0)) {
		if (i->whole && (z->avail_in == 0 || inflateReset(z) != Z_OK))
			break;
		z->next_out = (unsigned char *)i->out;
		z->avail_out = PIECE;
		q = inflate(z, Z_NO_FLUSH);
		if (q != Z_OK && q != Z_STREAM_END && q != Z_BUF_ERROR)
			return -EBADMSG;
		i->whole = q == Z_STREAM_END;
		r = put(i, i->out, PIECE - z->avail_out);
	}
	return r;
}

/* At the end of a frame zstd keeps its last byte of input until all output was taken. */
static int push_zstd(struct inflate *i, const char *data, size_t n)
{
	ZSTD_inBuffer in = {.src = data, .size = n};
	int r = 0;

	while (r == 0 && in.pos < in.size) {
		ZSTD_outBuffer out = {.dst = i->out, .size = PIECE};
		size_t left = ZSTD_decompressStream(i->zstd, &out, &in);

		if (ZSTD_isError(left)) {
			i->too_wide |=
				ZSTD_getErrorCode(left) == ZSTD_error_frameParameter_windowTooLarge;
			return -EBADMSG;
		}
		i->whole = left == 0;
		r = put(i, i->out, out.pos);
	}
	return r;
}

static int push(struct inflate *i, const char *data, size_t n)
{
	i->in_bytes += n;
	if (i->compression == OCI_GZIP)
		return push_gzip(i, data, n);
	return i->compression == OCI_ZSTD ? push_zstd(i, data, n) : put(i, data, n);
}

static void prepare(struct inflate *i)
{
	bool ready = true;

	if (memcmp(i->head, "\x1f\x8b\x08", 3) == 0) {
		i->compression = OCI_GZIP;
		if (!i->gzip) {
			i->gzip = xcalloc(1, sizeof(*i->gzip));
			ready = inflateInit2(i->gzip, GZIP_BITS) == Z_OK;
		}
		ready = ready && inflateReset(i->gzip) == Z_OK;
	} else if (memcmp(i->head, "\x28\xb5\x2f\xfd", 4) == 0 ||
		   ((i->head[0] & 0xf0) == 0x50 && memcmp(i->head + 1, ZSTD_SKIPPABLE, 3) == 0)) {
		i->compression = OCI_ZSTD;
		if (!i->zstd)
			i->zstd = ZSTD_createDCtx();
		ready = i->zstd &&
			!ZSTD_isError(ZSTD_DCtx_reset(i->zstd, ZSTD_reset_session_only)) &&
			!ZSTD_isError(ZSTD_DCtx_setParameter(i->zstd, ZSTD_d_windowLogMax,
							     i->generous ? WINDOW_LOG_GENEROUS
									 : WINDOW_LOG_MAX));
	}
	if (!ready)
		abort(); /* without memory, as xmalloc() */
	if (i->compression != OCI_PLAIN && !i->out)
		i->out = xmalloc(PIECE);
}

int inflate_push(struct inflate *i, const char *data, size_t n)
{
	size_t head = MIN(n, sizeof(i->head) - i->n_head);
	int r = 0;

	if (head > 0) {
		memcpy(i->head + i->n_head, data, head);
		i->n_head += head;
		if (i->n_head < sizeof(i->head))
			return 0;
		prepare(i);
		r = push(i, i->head, sizeof(i->head));
	}
	return r == 0 && n > head ? push(i, data + head, n - head) : r;
}

int inflate_end(struct inflate *i)
{
	if (i->n_head < sizeof(i->head))
		return push(i, i->head, i->n_head);
	return i->compression == OCI_PLAIN || i->whole ? 0 : -EBADMSG;
}
