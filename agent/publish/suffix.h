/* SPDX-License-Identifier: MIT */
/* suffix: the suffix array of a text of bytes, and the longest match in it. Pure. */
#pragma once

#include "error.h"

struct suffix_array {
	const uint8_t *text; /* borrowed */
	size_t n;
	int32_t *order; /* the places of all suffixes, sorted */
	int32_t *
		first; /* of each pair of bytes: how many suffixes sort before it; one more for the end */
};

#define SUFFIX_TEXT_MAX ((size_t)INT32_MAX)

/* Sorts n bytes, at most SUFFIX_TEXT_MAX, with 4 x n bytes of memory. -EFBIG, -ENOMEM. The caller frees *ret. */
int suffix_sort(const uint8_t *text, size_t n, struct suffix_array *ret,
		struct error *ret_error) warn_unused;
void suffix_free(struct suffix_array *s);

/* The length of the longest beginning of the n bytes at wanted that is somewhere in the text, and where it is: one of
 * several places. 0: there are not even two bytes of it; *ret_at is not set then. */
size_t suffix_longest(const struct suffix_array *s, const uint8_t *wanted, size_t n,
		      size_t *ret_at);
