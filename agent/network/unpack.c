/* SPDX-License-Identifier: MIT */
#include "unpack.h"

#include <errno.h>
#include <sys/param.h>
#include <zstd.h>
#include <zstd_errors.h>

#define WINDOW_LOG_MAX 23 /* 8 MiB, which every decoder should support (RFC 8878, 3.1.1.1.2) */
#define RATIO_MAX      1032
#define PIECE	       ((size_t)64 * 1024)
#define PROGRESS_MS    20000u

struct decoder {
	const struct unpacking *u;
	ZSTD_DStream *stream;
	char *in, *out; /* PIECE bytes each */
	size_t left;	/* 0: between two frames; else what zstd expects, or its error */
	uint64_t size;	/* bytes written */
	uint64_t max;
	uint64_t told_ms; /* the last progress */
};

static int explain(size_t error, struct error *ret_error)
{
	if (ZSTD_getErrorCode(error) == ZSTD_error_frameParameter_windowTooLarge)
		return error_set(ret_error, -EKEYREJECTED,
				 "a layer in zstd needs a window over %u MiB to be unpacked: "
				 "compress it without --long and --ultra",
				 1u << (WINDOW_LOG_MAX - 20));
	return error_set(ret_error, -EBADMSG, "a layer is not valid zstd: %s",
			 ZSTD_getErrorName(error));
}

static int put(struct decoder *d, size_t n, struct error *ret_error)
{
	const struct unpacking *u = d->u;
	int r;

	if (n > d->max - d->size)
		return error_set(ret_error, -EFBIG,
				 "a layer in zstd unpacks to more than %ju bytes, the most that "
				 "are taken",
				 (uintmax_t)d->max);
	r = write_all(u->out, d->out, n);
	if (r < 0)
		return error_set(ret_error, r, "cannot write an unpacked layer: %s", strerror(-r));
	d->size += n;
	if (u->on_progress && now_ms() - d->told_ms >= PROGRESS_MS) {
		d->told_ms = now_ms();
		u->on_progress(u->userdata, d->size);
	}
	return 0;
}

/* Decodes n bytes of input. At the end of a frame zstd keeps the last one until all output was taken. */
static int decode(struct decoder *d, size_t n, struct error *ret_error)
{
	ZSTD_inBuffer in = {.src = d->in, .size = n};
	ZSTD_outBuffer out;
	int r;

	do {
		out = (ZSTD_outBuffer){.dst = d->out, .size = PIECE};
		d->left = ZSTD_decompressStream(d->stream, &out, &in);
		if (ZSTD_isError(d->left))
			return explain(d->left, ret_error);
		r = put(d, out.pos, ret_error);
	} while (r == 0 && in.pos < in.size);
	return r;
}

static int decode_file(struct decoder *d, struct error *ret_error)
{
	const struct unpacking *u = d->u;
	int r = 0;

	while (r == 0) {
		ssize_t n = read(u->in, d->in, PIECE);

		if (u->cancel && *u->cancel)
			return error_set(ret_error, -ECANCELED, "interrupted");
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set(ret_error, -errno, "cannot read a layer: %m");
		if (n == 0)
			break;
		r = decode(d, (size_t)n, ret_error);
	}
	if (r == 0 && d->left > 0)
		return error_set(ret_error, -EBADMSG, "a layer in zstd ends in a frame");
	if (r == 0 && fdatasync(u->out) < 0)
		return error_set(ret_error, -errno, "cannot write an unpacked layer: %m");
	return r;
}

/* Rewinds in, and empties out; sets d->max. */
static int begin(struct decoder *d, struct error *ret_error)
{
	const struct unpacking *u = d->u;
	off_t size = lseek(u->in, 0, SEEK_END);
	size_t error;

	if (size < 0 || lseek(u->in, 0, SEEK_SET) < 0 || lseek(u->out, 0, SEEK_SET) < 0 ||
	    ftruncate(u->out, 0) < 0)
		return error_set(ret_error, -errno, "cannot unpack a layer: %m");
	d->max = MIN(u->max, (uint64_t)MIN(size, INT64_MAX / RATIO_MAX) * RATIO_MAX);
	d->stream = ZSTD_createDStream();
	if (!d->stream)
		return error_set(ret_error, -ENOMEM, "cannot unpack a layer: %s", strerror(ENOMEM));
	error = ZSTD_DCtx_setParameter(d->stream, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
	return ZSTD_isError(error) ? explain(error, ret_error) : 0;
}

int unpack_zstd(const struct unpacking *u, uint64_t *ret_size, struct error *ret_error)
{
	struct decoder d = {.u = u,
			    .in = xmalloc(PIECE),
			    .out = xmalloc(PIECE),
			    .left = 1,
			    .told_ms = now_ms()};
	int r = begin(&d, ret_error);

	if (r == 0)
		r = decode_file(&d, ret_error);
	ZSTD_freeDStream(d.stream);
	free(d.in);
	free(d.out);
	*ret_size = d.size;
	return r;
}
