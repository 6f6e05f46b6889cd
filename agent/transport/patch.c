/* SPDX-License-Identifier: MIT */
#include "patch.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <sys/param.h>
#include <zstd.h>
#include <zstd_errors.h>

#define PIECE	((size_t)64 * 1024)
#define INPUT	((size_t)16 * 1024)
#define WAIT_MS 1000 /* a signal between two looks at p->cancel is noticed that late */
#define OLD_MAX ((uint64_t)INT64_MAX / 2) /* of OLD: no sum of two positions overflows */

enum { CONTROL, RUNS, VALUES, LITERAL, STREAMS };

static const char *const names[] = {"control", "runs", "values", "literal"};

/* One of the four frames. */
struct stream {
	const char *name;
	ZSTD_DStream *decoder; /* NULL: not begun, or ended */
	uint64_t at, end;      /* in the patch: what was not read yet */
	bool ended;	       /* the frame: all its content is in out */
	ZSTD_inBuffer input;
	char in[INPUT], out[PIECE];
	size_t used, len; /* of out */
};

struct applying {
	const struct patching *p;
	uint64_t old_size, new_size;
	uint64_t position;	   /* in OLD */
	uint64_t made;		   /* bytes of NEW */
	uint64_t equal, differing; /* bytes left of the present run */
	bool idle;		   /* the last operation made nothing */
	size_t len;		   /* of piece, not written yet */
	char piece[PIECE];
	struct stream streams[STREAMS];
};

static int malformed(struct error *ret_error, const char *what)
{
	return error_set(ret_error, -EBADMSG, "the patch is malformed: %s", what);
}

static int malformed_stream(struct error *ret_error, const struct stream *s, const char *what)
{
	return error_set(ret_error, -EBADMSG, "the patch is malformed: its %s stream %s", s->name,
			 what);
}

/* Reads n bytes or up to the end of the file, and returns their number. */
static ssize_t read_at(int fd, void *buf, size_t n, uint64_t at)
{
	size_t done = 0;

	while (done < n) {
		ssize_t got = pread(fd, (char *)buf + done, n - done, (off_t)(at + done));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		done += (size_t)got;
	}
	return (ssize_t)done;
}

static int check_cancel(const struct applying *a, struct error *ret_error)
{
	return a->p->cancel && *a->p->cancel ? error_set(ret_error, -ECANCELED, "interrupted") : 0;
}

/* Only a frame of today's format is decoded: libzstd may be built to decode older ones, and skips skippable ones. */
static int begin_stream(struct stream *s, struct error *ret_error)
{
	uint32_t magic;

	if (s->input.size < sizeof(magic))
		return malformed_stream(ret_error, s, "is no zstd frame");
	memcpy(&magic, s->in, sizeof(magic));
	if (le32toh(magic) != ZSTD_MAGICNUMBER)
		return malformed_stream(ret_error, s, "is no zstd frame");
	s->decoder = ZSTD_createDStream();
	if (!s->decoder ||
	    ZSTD_isError(ZSTD_DCtx_setParameter(s->decoder, ZSTD_d_windowLogMax, PATCH_WINDOW_LOG)))
		return error_set(ret_error, -ENOMEM, "no memory to apply a patch");
	return 0;
}

static int refill(const struct applying *a, struct stream *s, struct error *ret_error)
{
	size_t want = (size_t)MIN(INPUT, s->end - s->at);
	ssize_t n = read_at(a->p->patch, s->in, want, s->at);
	int r = check_cancel(a, ret_error);

	if (r < 0)
		return r;
	if (n < 0)
		return error_set(ret_error, (int)n, "cannot read the patch: %s", strerror((int)-n));
	if ((size_t)n < want)
		return malformed(ret_error, "it is cut");
	s->at += want;
	s->input = (ZSTD_inBuffer){.src = s->in, .size = want};
	return s->decoder ? 0 : begin_stream(s, ret_error);
}

/* Decodes until there is output or the frame has ended. The frame must end where the stream does. */
static int decode(const struct applying *a, struct stream *s, struct error *ret_error)
{
	ZSTD_outBuffer out = {.dst = s->out, .size = PIECE};

	while (out.pos == 0 && !s->ended) {
		bool dry = s->input.pos == s->input.size && s->at == s->end && s->decoder;
		int r = s->input.pos == s->input.size && !dry ? refill(a, s, ret_error) : 0;
		size_t left;

		if (r < 0)
			return r;
		left = ZSTD_decompressStream(s->decoder, &out, &s->input);
		if (ZSTD_isError(left))
			return malformed_stream(ret_error, s, ZSTD_getErrorName(left));
		s->ended = left == 0;
		if (dry && out.pos == 0 && !s->ended)
			return malformed_stream(ret_error, s, "is cut");
	}
	s->used = 0;
	s->len = out.pos;
	if (!s->ended)
		return 0;
	(void)ZSTD_freeDStream(steal(s->decoder));
	return s->input.pos == s->input.size && s->at == s->end
		       ? 0
		       : malformed_stream(ret_error, s, "goes on behind its frame");
}

/* The next bytes of the stream, up to max and at least one: *ret. Returns their number. */
static ssize_t take(const struct applying *a, struct stream *s, size_t max, const char **ret,
		    struct error *ret_error)
{
	int r = s->used == s->len ? decode(a, s, ret_error) : 0;
	size_t n;

	if (r < 0)
		return r;
	if (s->used == s->len)
		return malformed_stream(ret_error, s, "ends too early");
	n = MIN(max, s->len - s->used);
	*ret = s->out + s->used;
	s->used += n;
	return (ssize_t)n;
}

/* LEB128. */
static int take_number(const struct applying *a, struct stream *s, uint64_t *ret,
		       struct error *ret_error)
{
	const char *byte = NULL;

	*ret = 0;
	for (unsigned int shift = 0; shift < PATCH_NUMBER_BITS; shift += 7) {
		ssize_t n = take(a, s, 1, &byte, ret_error);

		if (n < 0)
			return (int)n;
		*ret |= (uint64_t)(*byte & 127) << shift;
		if (!(*byte & 128))
			return 0;
	}
	return malformed_stream(ret_error, s, "has a number of more than 63 bits");
}

static int flush(struct applying *a, struct error *ret_error)
{
	struct pollfd out = {.fd = a->p->out, .events = POLLOUT};
	size_t done = 0;

	while (done < a->len) {
		ssize_t n;
		int r = check_cancel(a, ret_error);

		if (r < 0)
			return r;
		n = write(out.fd, a->piece + done, a->len - done);
		if (n >= 0)
			done += (size_t)n;
		else if (errno == EAGAIN)
			(void)poll(&out, 1, WAIT_MS);
		else if (errno != EINTR)
			return error_set(ret_error, -errno, "cannot write the new data: %m");
	}
	a->len = 0;
	return 0;
}

/* n bytes of OLD, which has them, from position on. */
static int read_old(const struct applying *a, char *buf, size_t n, struct error *ret_error)
{
	uint64_t at = a->position; /* in the extent */

	for (const struct patch_extent *e = a->p->extents; n > 0; at -= e++->size) {
		size_t part = at < e->size ? (size_t)MIN(n, e->size - at) : 0;
		ssize_t got = read_at(a->p->old, buf, part, e->offset + at);

		if (got < 0 || (size_t)got < part)
			return error_set(ret_error, got < 0 ? (int)got : -EIO,
					 "cannot read the old data: %s",
					 got < 0 ? strerror((int)-got) : "the file is too short");
		buf += part;
		n -= part;
		at += part;
	}
	return 0;
}

/* Adds the differences to n bytes of a copy. */
static int add_differences(struct applying *a, char *buf, size_t n, struct error *ret_error)
{
	const char *values;
	int r = 0;

	while (n > 0) {
		ssize_t step;

		if (!a->equal && !a->differing) {
			r = take_number(a, &a->streams[RUNS], &a->equal, ret_error);
			if (r == 0)
				r = take_number(a, &a->streams[RUNS], &a->differing, ret_error);
			if (r < 0)
				return r;
			if (!a->equal && !a->differing)
				return malformed(ret_error, "a run has no bytes");
		}
		step = (ssize_t)MIN(n, a->equal);
		a->equal -= (uint64_t)step;
		if (step == 0) {
			step = take(a, &a->streams[VALUES], (size_t)MIN(n, a->differing), &values,
				    ret_error);
			if (step < 0)
				return (int)step;
			for (ssize_t i = 0; i < step; i++)
				buf[i] = (char)((unsigned char)buf[i] + (unsigned char)values[i]);
			a->differing -= (uint64_t)step;
		}
		buf += step;
		n -= (size_t)step;
	}
	return 0;
}

/* OLD has that many bytes at the present position. */
static int copy_old(struct applying *a, uint64_t bytes, struct error *ret_error)
{
	int r = 0;

	while (r == 0 && bytes > 0) {
		size_t n = (size_t)MIN(bytes, PIECE - a->len);

		r = read_old(a, a->piece + a->len, n, ret_error);
		if (r == 0)
			r = add_differences(a, a->piece + a->len, n, ret_error);
		a->position += n;
		a->len += n;
		bytes -= n;
		if (r == 0 && a->len == PIECE)
			r = flush(a, ret_error);
	}
	return r;
}

static int append_literal(struct applying *a, uint64_t bytes, struct error *ret_error)
{
	const char *literal;
	int r = 0;

	while (r == 0 && bytes > 0) {
		ssize_t n = take(a, &a->streams[LITERAL], (size_t)MIN(bytes, PIECE - a->len),
				 &literal, ret_error);

		if (n < 0)
			return (int)n;
		memcpy(a->piece + a->len, literal, (size_t)n);
		a->len += (size_t)n;
		bytes -= (uint64_t)n;
		if (a->len == PIECE)
			r = flush(a, ret_error);
	}
	return r;
}

/* jump: zigzag. */
static int move(struct applying *a, uint64_t jump, struct error *ret_error)
{
	uint64_t n = (jump >> 1) + (jump & 1);

	if (n > (jump & 1 ? a->position : a->old_size - a->position))
		return malformed(ret_error, "an operation jumps out of the old data");
	a->position += jump & 1 ? -n : n;
	return 0;
}

static int operate(struct applying *a, struct error *ret_error)
{
	uint64_t numbers[3], copy, literal;
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(numbers); i++)
		r = take_number(a, &a->streams[CONTROL], &numbers[i], ret_error);
	if (r < 0)
		return r;
	copy = numbers[0];
	literal = numbers[1];
	if (copy > a->new_size - a->made || literal > a->new_size - a->made - copy)
		return malformed(ret_error, "it makes more than its new size");
	if (copy > a->old_size - a->position)
		return malformed(ret_error, "an operation copies more than the old data has");
	/* One may jump before the first copy, or between two literals; more of them could go on for ever. */
	if (!copy && !literal && a->idle)
		return malformed(ret_error, "two operations in a row make nothing");
	a->idle = !copy && !literal;
	r = copy_old(a, copy, ret_error);
	if (r == 0)
		r = append_literal(a, literal, ret_error);
	a->made += copy + literal;
	return r < 0 ? r : move(a, numbers[2], ret_error);
}

/* Sums up the extents: OLD_MAX at most. */
static int measure_old(struct applying *a, struct error *ret_error)
{
	for (size_t i = 0; i < a->p->n_extents; i++) {
		const struct patch_extent *e = &a->p->extents[i];

		if (e->offset > OLD_MAX || e->size > OLD_MAX - a->old_size)
			return error_set(ret_error, -EINVAL, "the parts of the old data overflow");
		a->old_size += e->size;
	}
	return 0;
}

/* Whether the patch has exactly that many bytes. */
static bool has_size(const struct applying *a, uint64_t size)
{
	char bytes[2];

	return read_at(a->p->patch, bytes, sizeof(bytes), size - 1) == 1;
}

static int read_header(struct applying *a, struct error *ret_error)
{
	char magic[] = PATCH_MAGIC, header[PATCH_HEADER];
	uint64_t numbers[2 + STREAMS], at = PATCH_HEADER;
	ssize_t n = read_at(a->p->patch, header, sizeof(header), 0);

	if (n < 0)
		return error_set(ret_error, (int)n, "cannot read the patch: %s", strerror((int)-n));
	if (n < PATCH_HEADER || memcmp(header, magic, sizeof(magic)) != 0)
		return malformed(ret_error, "it does not begin with the header of one");
	memcpy(numbers, header + sizeof(magic), sizeof(numbers));
	a->new_size = le64toh(numbers[1]);
	for (size_t i = 0; i < STREAMS; i++) {
		uint64_t length = le64toh(numbers[2 + i]);

		if (length > (uint64_t)INT64_MAX - at)
			return malformed(ret_error, "the lengths of its streams overflow");
		a->streams[i].name = names[i];
		a->streams[i].at = at;
		at += length;
		a->streams[i].end = at;
	}
	if (!has_size(a, at))
		return malformed(ret_error, "its streams are not the rest of it");
	if (le64toh(numbers[0]) != a->old_size)
		return error_set(ret_error, -EBADMSG,
				 "the patch is for old data of %ju bytes, not %ju",
				 (uintmax_t)le64toh(numbers[0]), (uintmax_t)a->old_size);
	return a->new_size <= a->p->max
		       ? 0
		       : error_set(ret_error, -EFBIG,
				   "the patch makes %ju bytes, more than the %ju that are taken",
				   (uintmax_t)a->new_size, (uintmax_t)a->p->max);
}

/* NEW is whole: nothing may be left of the streams. */
static int check_end(struct applying *a, struct error *ret_error)
{
	if (a->equal || a->differing)
		return malformed(ret_error, "its runs have more bytes than its copies");
	for (size_t i = 0; i < STREAMS; i++) {
		struct stream *s = &a->streams[i];
		int r = s->used == s->len && !s->ended ? decode(a, s, ret_error) : 0;

		if (r < 0)
			return r;
		if (s->used < s->len)
			return malformed_stream(ret_error, s, "has more than is used");
	}
	return 0;
}

int patch_apply(const struct patching *p, uint64_t *ret_size, struct error *ret_error)
{
	_cleanup_free_ struct applying *a = xcalloc(1, sizeof(*a));
	int r;

	a->p = p;
	r = measure_old(a, ret_error);
	if (r == 0)
		r = read_header(a, ret_error);
	while (r == 0 && a->made < a->new_size)
		r = operate(a, ret_error);
	if (r == 0)
		r = check_end(a, ret_error);
	if (r == 0)
		r = flush(a, ret_error);
	for (size_t i = 0; i < STREAMS; i++)
		(void)ZSTD_freeDStream(a->streams[i].decoder);
	*ret_size = a->new_size;
	return r;
}
