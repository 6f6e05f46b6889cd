/* SPDX-License-Identifier: MIT */
#include "test.h"

#include <errno.h>
#include <sys/mman.h>

#include "patch-make.h"
#include "patch.h"
#include "suffix.h"

struct bytes {
	uint8_t data[64 * 1024];
	size_t n;
};

static uint64_t seed = 1;

/* xorshift64: the same edits in each run. */
static size_t dice(size_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return n > 0 ? (size_t)(seed % n) : 0;
}

static int file_of(const void *data, size_t n)
{
	int fd = memfd_create("test", 0);

	assert_true(fd >= 0);
	assert_int_equal(write_all(fd, data, n), 0);
	return fd;
}

/* Makes a patch of old and new, applies it, and returns its size. */
static uint64_t round_trip(const struct bytes *old, const struct bytes *new)
{
	const struct patch_extent all = {0, old->n};
	struct patch_making making = {.old = old->data,
				      .old_size = old->n,
				      .new = new->data,
				      .new_size = new->n,
				      .out = file_of("", 0)};
	struct patching patching = {.old = file_of(old->data, old->n),
				    .extents = &all,
				    .n_extents = 1,
				    .patch = making.out,
				    .out = file_of("", 0),
				    .max = new->n};
	struct bytes *got = xcalloc(1, sizeof(*got));
	uint64_t size = 0, made = 0;
	struct error e = {0};

	assert_int_equal(patch_make(&making, &size, &e), 0);
	assert_int_equal(lseek(making.out, 0, SEEK_END), size);
	if (patch_apply(&patching, &made, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(made, new->n);
	assert_int_equal(pread(patching.out, got->data, sizeof(got->data), 0), new->n);
	assert_memory_equal(got->data, new->data, new->n);
	close(patching.old);
	close(patching.patch);
	close(patching.out);
	free(got);
	return size;
}

static void fill(struct bytes *b, size_t n, size_t letters)
{
	b->n = n;
	for (size_t i = 0; i < n; i++)
		b->data[i] = (uint8_t)dice(letters);
}

/* Inserts, deletes, moves and changes parts. */
static void edit(struct bytes *b)
{
	size_t at = dice(b->n), n = dice(b->n - at + 1) / (1 + dice(64)), to;

	switch (dice(5)) {
	case 0: /* a part goes */
		memmove(b->data + at, b->data + at + n, b->n - at - n);
		b->n -= n;
		break;
	case 1: /* a part comes once more */
		if (b->n + n > sizeof(b->data))
			break;
		memmove(b->data + at + n, b->data + at, b->n - at);
		b->n += n;
		break;
	case 2: /* addresses move */
		for (size_t i = at; i + 1 < at + n; i += 8)
			b->data[i] = (uint8_t)(b->data[i] + 64);
		break;
	case 3: /* all ones */
		memset(b->data + at, 0xff, n);
		break;
	default: /* one part over another */
		to = dice(b->n - n + 1);
		memmove(b->data + to, b->data + at, n);
	}
}

static void any_edits_come_back(void **state)
{
	static const size_t letters[] = {1, 2, 4, 256};
	struct bytes *old = xcalloc(1, sizeof(*old)), *new = xcalloc(1, sizeof(*new));

	for (int round = 0; round < 400; round++) {
		fill(old, dice(2000) * (1 + dice(10)), letters[dice(ARRAY_SIZE(letters))]);
		*new = *old;
		for (size_t i = dice(8); i > 0; i--)
			edit(new);
		(void)round_trip(old, new);
		(void)round_trip(new, old);
	}
	free(old);
	free(new);
}

static void empty_ones(void **state)
{
	struct bytes *some = xcalloc(1, sizeof(*some)), *none = xcalloc(1, sizeof(*none));

	for (size_t n = 0; n < 4; n++) {
		fill(some, n, 256);
		(void)round_trip(none, some);
		(void)round_trip(some, none);
		(void)round_trip(some, some);
	}
	(void)round_trip(none, none);
	free(some);
	free(none);
}

static void repeats_and_moves_are_cheap(void **state)
{
	struct bytes *old = xcalloc(1, sizeof(*old)), *new = xcalloc(1, sizeof(*new));

	fill(old, 30000, 256);
	assert_in_range(round_trip(old, old), PATCH_HEADER, 120);
	/* Two blocks change places. */
	*new = *old;
	memcpy(new->data, old->data + 15000, 15000);
	memcpy(new->data + 15000, old->data, 15000);
	assert_in_range(round_trip(old, new), PATCH_HEADER, 130);
	/* It is there twice. */
	memcpy(new->data, old->data, old->n);
	memcpy(new->data + old->n, old->data, old->n);
	new->n = 2 * old->n;
	assert_in_range(round_trip(old, new), PATCH_HEADER, 130);
	/* Addresses, each with or without a carry, cost about a bit. */
	*new = *old;
	for (size_t i = 0; i + 8 < new->n; i += 8)
		new->data[i] = (uint8_t)(new->data[i] + 64),
		new->data[i + 1] = (uint8_t)(new->data[i + 1] + dice(2));
	assert_in_range(round_trip(old, new), PATCH_HEADER, 1000);
	free(old);
	free(new);
}

static void longest(void **state)
{
	static const uint8_t text[] = "banana bandana";
	struct suffix_array s;
	struct error e;
	size_t at = 99;

	assert_int_equal(suffix_sort(text, sizeof(text) - 1, &s, &e), 0);
	assert_int_equal(suffix_longest(&s, (const uint8_t *)"bandit", 6, &at), 4);
	assert_int_equal(at, 7);
	assert_int_equal(suffix_longest(&s, (const uint8_t *)"anana!", 6, &at), 5);
	assert_int_equal(at, 1);
	assert_int_equal(suffix_longest(&s, (const uint8_t *)"a", 1, &at), 0);
	assert_int_equal(suffix_longest(&s, (const uint8_t *)"xy", 2, &at), 0);
	/* The last byte alone sorts behind this pair, and is no match of it. */
	assert_int_equal(suffix_longest(&s, (const uint8_t *)"`\xff", 2, &at), 0);
	suffix_free(&s);
	assert_int_equal(suffix_sort(text, SUFFIX_TEXT_MAX + 1, &s, &e), -EFBIG);
	assert_non_null(strstr(e.text, "2 GiB at most"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_edits_come_back),
		cmocka_unit_test(empty_ones),
		cmocka_unit_test(repeats_and_moves_are_cheap),
		cmocka_unit_test(longest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
