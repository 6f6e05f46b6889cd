/* SPDX-License-Identifier: MIT */
#include "patch-make.h"

#include <errno.h>
#include <endian.h>
#include <sys/param.h>
#include <zstd.h>

#include "patch.h"
#include "suffix.h"

#define LEVEL 19
#define GAP   1 /* equal bytes between two that differ, which are no run of their own */
/* Bytes of a run that differ, at least. In machine code an address that moved differs in one byte or in two, by its carry:
 * as two in any case, it does not change the length of the next run. A tenth less for programs in Go, and in C. */
#define RUN_LEAST   2
#define LOOK	    ((size_t)64 * 1024) /* bytes of a match that are looked at */
#define ENOUGH	    256			/* bytes of a match behind which none is missed */
#define TELL_EACH   ((size_t)1024 * 1024)
#define TRY_ALL_MAX ((size_t)128 * 1024 * 1024)
#define STREAMS	    4

struct buffer {
	uint8_t *data;
	size_t n, room;
};

/* Bytes of new: copy from old (with differences), then literal ones. */
struct op {
	size_t at;   /* in new */
	size_t from; /* in old */
	size_t copy, literal;
};

struct making {
	/* Bytes by which another alignment must win. */
	size_t better;
	const struct patch_making *p;
	const struct suffix_array *sorted;
	struct op *ops;
	size_t n_ops, ops_room;
	/* new[scan..] was found in old[found..], length bytes of it. */
	size_t scan, found, length;
	size_t told;
	size_t done;  /* bytes of new in an earlier try */
	size_t whole; /* in all tries */
	/* new[last..] is compared with old[last_found..] at present. */
	size_t last, last_found;
};

static void put(struct buffer *b, uint8_t byte)
{
	if (b->n == b->room) {
		b->room = b->room * 3 / 2 + 4096;
		b->data = xrealloc(b->data, b->room);
	}
	b->data[b->n++] = byte;
}

static void put_number(struct buffer *b, uint64_t n)
{
	for (; n > 127; n >>= 7)
		put(b, (uint8_t)(n | 128));
	put(b, (uint8_t)n);
}

static void put_bytes(struct buffer *b, const uint8_t *data, size_t n)
{
	while (n-- > 0)
		put(b, *data++);
}

static void add_op(struct making *m, struct op op)
{
	struct op *before = m->n_ops > 0 ? &m->ops[m->n_ops - 1] : NULL;

	if (op.copy == 0 && before) {
		before->literal += op.literal;
		return;
	}
	if (op.copy + op.literal == 0)
		return;
	if (m->n_ops == m->ops_room) {
		m->ops_room = m->ops_room * 2 + 64;
		m->ops = xrealloc(m->ops, m->ops_room * sizeof(*m->ops));
	}
	m->ops[m->n_ops++] = op;
}

/* Whether the present alignment has the byte of new at that place. */
static bool agrees(const struct making *m, size_t at)
{
	size_t from = at - m->last + m->last_found;

	return from < m->p->old_size && m->p->old[from] == m->p->new[at];
}

/* Moves m->scan to the next place where another alignment is clearly better than the present one, or to the end. False: the
 * present one goes on there. */
static bool find_next(struct making *m)
{
	const struct patch_making *p = m->p;
	size_t agreed = 0, seen = m->scan += m->length, skipped;

	for (; m->scan < p->new_size; m->scan += skipped) {
		m->length = suffix_longest(m->sorted, p->new + m->scan,
					   MIN(p->new_size - m->scan, LOOK), &m->found);
		for (; seen < m->scan + m->length; seen++)
			agreed += agrees(m, seen);
		if (m->length > 0 && m->length == agreed)
			return false;
		if (m->length > agreed + m->better)
			return true;
		/* A long match that is hardly better would be found again at each of its bytes. */
		skipped = m->length > ENOUGH ? m->length - ENOUGH : 1;
		for (size_t i = m->scan; i < MIN(seen, m->scan + skipped); i++)
			agreed -= agrees(m, i);
		seen = MAX(seen, m->scan + skipped);
	}
	return true;
}

/* How far the bytes forward from the last place agree by more than half. */
static size_t stretch_forward(const struct making *m)
{
	size_t most = MIN(m->scan - m->last, m->p->old_size - m->last_found), best = 0;
	ssize_t score = 0, best_score = 0;

	for (size_t i = 0; i < most;) {
		score += m->p->old[m->last_found + i] == m->p->new[m->last + i] ? 1 : -1;
		i++;
		if (score > best_score) {
			best_score = score;
			best = i;
		}
	}
	return best;
}

/* The same, backward from the match. */
static size_t stretch_backward(const struct making *m)
{
	size_t most = MIN(m->scan - m->last, m->found), best = 0;
	ssize_t score = 0, best_score = 0;

	for (size_t i = 1; i <= most; i++) {
		score += m->p->old[m->found - i] == m->p->new[m->scan - i] ? 1 : -1;
		if (score > best_score) {
			best_score = score;
			best = i;
		}
	}
	return best;
}

/* Of the n bytes of new from at on, which both alignments claim: how many are for the first. */
static size_t divide(const struct making *m, size_t at, size_t n)
{
	size_t best = 0;
	ssize_t score = 0, best_score = 0;

	for (size_t i = 0; i < n; i++, at++) {
		score += m->p->new[at] == m->p->old[at - m->last + m->last_found];
		score -= m->p->new[at] == m->p->old[at - m->scan + m->found];
		if (score > best_score) {
			best_score = score;
			best = i + 1;
		}
	}
	return best;
}

/* Ends the present alignment before the one that was found. */
static void close_op(struct making *m)
{
	bool ends = m->scan == m->p->new_size;
	size_t forward = stretch_forward(m), backward = ends ? 0 : stretch_backward(m);
	size_t both = m->last + forward + backward;

	if (both > m->scan) {
		size_t kept = divide(m, m->scan - backward, both - m->scan);

		forward = m->scan - backward - m->last + kept;
		backward -= kept;
	}
	add_op(m, (struct op){.at = m->last,
			      .from = m->last_found,
			      .copy = forward,
			      .literal = m->scan - backward - m->last - forward});
	m->last = m->scan - backward;
	m->last_found = ends ? 0 : m->found - backward;
}

static void tell(struct making *m, bool now)
{
	if (!m->p->on_progress || (!now && m->scan - m->told < TELL_EACH))
		return;
	m->told = m->scan;
	m->p->on_progress(m->p->userdata, m->done + m->scan, m->whole);
}

static void find_ops(struct making *m)
{
	while (m->scan < m->p->new_size) {
		if (find_next(m))
			close_op(m);
		tell(m, false);
	}
}

static uint64_t zigzag(int64_t n)
{
	return (uint64_t)n << 1 ^ (uint64_t)(n >> 63);
}

static void put_op(struct buffer *b, size_t copy, size_t literal, int64_t jump)
{
	put_number(b, copy);
	put_number(b, literal);
	put_number(b, zigzag(jump));
}

static void write_control(const struct making *m, struct buffer *control, struct buffer *literal)
{
	/* The first copy begins at 0. */
	if (m->n_ops > 0 && m->ops[0].copy > 0 && m->ops[0].from > 0)
		put_op(control, 0, 0, (int64_t)m->ops[0].from);
	for (size_t i = 0; i < m->n_ops; i++) {
		const struct op *op = &m->ops[i];
		size_t ends = op->copy > 0 ? op->from + op->copy : 0;

		put_op(control, op->copy, op->literal,
		       i + 1 < m->n_ops ? (int64_t)op[1].from - (int64_t)ends : 0);
		put_bytes(literal, m->p->new + op->at + op->copy, op->literal);
	}
}

/* The bytes that are the same, and those that differ, of all copies put together. */
struct differences {
	struct buffer *runs, *values;
	uint64_t same, differ, zeros; /* zeros behind those that differ: they may belong to them */
};

static void end_run(struct differences *d)
{
	put_number(d->runs, d->same);
	put_number(d->runs, d->differ);
	d->same = d->zeros;
	d->differ = d->zeros = 0;
}

static void put_difference(struct differences *d, uint8_t value)
{
	put(d->values, value);
	d->differ++;
}

static void add_difference(struct differences *d, uint8_t value)
{
	if (value == 0) {
		if (d->differ == 0)
			d->same++;
		else if (d->differ < RUN_LEAST)
			put_difference(d, 0);
		else if (++d->zeros > GAP)
			end_run(d);
		return;
	}
	for (; d->zeros > 0; d->zeros--)
		put_difference(d, 0);
	put_difference(d, value);
}

static void write_differences(const struct making *m, struct buffer *runs, struct buffer *values)
{
	struct differences d = {.runs = runs, .values = values};

	for (size_t i = 0; i < m->n_ops; i++) {
		const uint8_t *old = m->p->old + m->ops[i].from, *new = m->p->new + m->ops[i].at;

		for (size_t k = 0; k < m->ops[i].copy; k++)
			add_difference(&d, (uint8_t)(new[k] - old[k]));
	}
	if (d.differ > 0)
		end_run(&d);
	if (d.same > 0)
		end_run(&d);
}

/* Replaces the bytes of b by a frame of them. */
static int compress(struct buffer *b, struct error *ret_error)
{
	ZSTD_CCtx *c = ZSTD_createCCtx();
	struct buffer frame = {.room = ZSTD_compressBound(b->n)};
	size_t code;

	if (!c)
		return error_set(ret_error, -ENOMEM, "cannot compress: %s", strerror(ENOMEM));
	frame.data = xmalloc(frame.room);
	(void)ZSTD_CCtx_setParameter(c, ZSTD_c_compressionLevel, LEVEL);
	(void)ZSTD_CCtx_setParameter(c, ZSTD_c_windowLog, PATCH_WINDOW_LOG);
	code = ZSTD_compress2(c, frame.data, frame.room, b->data, b->n);
	(void)ZSTD_freeCCtx(c);
	free(b->data);
	*b = frame;
	if (ZSTD_isError(code))
		return error_set(ret_error, -ENOMEM, "cannot compress: %s",
				 ZSTD_getErrorName(code));
	b->n = code;
	return 0;
}

/* The four frames: control, runs, values, literal. */
struct streams {
	struct buffer b[STREAMS];
	uint64_t size;
};

static void free_streams(struct streams *s)
{
	for (size_t i = 0; i < STREAMS; i++)
		free(s->b[i].data);
}

static int make_streams(struct making *m, struct streams *ret, struct error *ret_error)
{
	int r = 0;

	find_ops(m);
	write_control(m, &ret->b[0], &ret->b[3]);
	write_differences(m, &ret->b[1], &ret->b[2]);
	free(m->ops);
	for (size_t i = 0; r == 0 && i < STREAMS; i++) {
		r = compress(&ret->b[i], ret_error);
		ret->size += ret->b[i].n;
	}
	return r;
}

/* Machine code wants many short copies, scripts want few long ones: each of these is tried. */
static const size_t thresholds[] = {20, 12, 6};

/* How many are tried: the last costs a minute where there is much, and rarely wins there. */
static size_t count_tries(const struct patch_making *p)
{
	return p->new_size > TRY_ALL_MAX ? 2 : ARRAY_SIZE(thresholds);
}

static int find_best(const struct patch_making *p, struct streams *ret, struct error *ret_error)
{
	_cleanup_(suffix_free) struct suffix_array sorted = {0};
	int r = suffix_sort(p->old, p->old_size, &sorted, ret_error);

	for (size_t i = 0; r == 0 && i < count_tries(p); i++) {
		struct making m = {.p = p, .sorted = &sorted, .better = thresholds[i]};
		struct streams s = {0};

		m.done = i * p->new_size;
		m.whole = count_tries(p) * p->new_size;
		tell(&m, true);
		r = make_streams(&m, &s, ret_error);
		if (r == 0 && (i == 0 || s.size < ret->size)) {
			struct streams other = *ret;

			*ret = s;
			s = other;
		}
		free_streams(&s);
	}
	return r;
}

static int write_patch(const struct patch_making *p, const struct streams *s,
		       struct error *ret_error)
{
	uint8_t header[PATCH_HEADER] = PATCH_MAGIC;
	uint64_t numbers[2 + STREAMS] = {htole64(p->old_size), htole64(p->new_size)};
	int r;

	for (size_t i = 0; i < STREAMS; i++)
		numbers[2 + i] = htole64(s->b[i].n);
	memcpy(header + 8, numbers, sizeof(numbers));
	r = write_all(p->out, header, sizeof(header));
	for (size_t i = 0; r == 0 && i < STREAMS; i++)
		r = write_all(p->out, s->b[i].data, s->b[i].n);
	return r < 0 ? error_set(ret_error, r, "cannot write the patch: %s", strerror(-r)) : 0;
}

int patch_make(const struct patch_making *p, uint64_t *ret_size, struct error *ret_error)
{
	struct streams best = {0};
	int r = find_best(p, &best, ret_error);

	if (r == 0)
		r = write_patch(p, &best, ret_error);
	*ret_size = PATCH_HEADER + best.size;
	free_streams(&best);
	return r;
}
