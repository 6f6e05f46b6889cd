/* SPDX-License-Identifier: MIT */
#include "suffix.h"

#include <divsufsort.h>
#include <errno.h>
#include <sys/param.h>

#define PAIRS 65536

static unsigned int pair_of(const uint8_t *p)
{
	return (unsigned int)p[0] << 8 | p[1];
}

/* Two bytes narrow a search down without reading the text. The last suffix has one byte, and sorts before all pairs that
 * begin with it. */
static void count_pairs(struct suffix_array *s)
{
	int32_t sum = 0;

	s->first = xcalloc(PAIRS + 1, sizeof(*s->first));
	for (size_t i = 0; i + 1 < s->n; i++)
		s->first[pair_of(s->text + i)]++;
	for (unsigned int pair = 0; pair <= PAIRS; pair++) {
		int32_t here = s->first[pair];

		sum += s->n > 0 && pair == (unsigned int)s->text[s->n - 1] << 8;
		s->first[pair] = sum;
		sum += here;
	}
}

int suffix_sort(const uint8_t *text, size_t n, struct suffix_array *ret, struct error *ret_error)
{
	struct suffix_array s = {.text = text, .n = n};

	if (n > SUFFIX_TEXT_MAX)
		return error_set(ret_error, -EFBIG,
				 "the old layers have %zu bytes, 2 GiB at most can be sorted", n);
	/* Not xmalloc(): people can do something about it. */
	s.order = malloc((n + 1) * sizeof(*s.order));
	if (!s.order || (n > 0 && divsufsort(text, s.order, (saidx_t)n) != 0)) {
		free(s.order);
		return error_set(ret_error, -ENOMEM,
				 "sorting the old layers takes %zu MB of memory, which are not "
				 "to be had",
				 n * sizeof(*s.order) / 1000000);
	}
	count_pairs(&s);
	*ret = s;
	return 0;
}

void suffix_free(struct suffix_array *s)
{
	free(s->order);
	free(s->first);
	*s = (struct suffix_array){0};
}

/* How many of the first n bytes are the same. */
static size_t count_common(const uint8_t *a, const uint8_t *b, size_t n)
{
	size_t i = 0;

	for (; i + 8 <= n; i += 8) {
		uint64_t x, y;

		memcpy(&x, a + i, sizeof(x));
		memcpy(&y, b + i, sizeof(y));
		if (x != y)
			break;
	}
	while (i < n && a[i] == b[i])
		i++;
	return i;
}

size_t suffix_longest(const struct suffix_array *s, const uint8_t *wanted, size_t n, size_t *ret_at)
{
	size_t low, high, best = 0, at_low = 2, at_high = 2; /* bytes in common at both bounds */
	unsigned int pair;

	if (n < 2 || s->n < 2)
		return 0;
	pair = pair_of(wanted);
	low = (size_t)s->first[pair];
	high = (size_t)s->first[pair + 1] - (pair + 1 == (unsigned int)s->text[s->n - 1] << 8);
	while (low < high) {
		size_t middle = low + (high - low) / 2, at = (size_t)s->order[middle];
		size_t most = MIN(s->n - at, n), same = MIN(at_low, at_high);

		same += count_common(s->text + at + same, wanted + same, most - same);
		if (same > best) {
			best = same;
			*ret_at = at;
		}
		if (same == n)
			break;
		if (at + same < s->n && s->text[at + same] > wanted[same]) {
			high = middle;
			at_high = same;
		} else {
			low = middle + 1;
			at_low = same;
		}
	}
	return best;
}
