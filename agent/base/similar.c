/* SPDX-License-Identifier: MIT */
#include "similar.h"

#include <ctype.h>

#define WORD_MAX 32 /* longer words are not compared */

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static bool is_same(char a, char b)
{
	return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/* The restricted Damerau-Levenshtein distance, in three rows of its table. */
static size_t count_edits(const char *a, size_t a_size, const char *b, size_t b_size)
{
	size_t rows[3][WORD_MAX + 1];

	for (size_t k = 0; k <= b_size; k++)
		rows[0][k] = k;
	for (size_t i = 1; i <= a_size; i++) {
		size_t *row = rows[i % 3], *above = rows[(i + 2) % 3];
		const size_t *two_above = rows[(i + 1) % 3];

		row[0] = i;
		for (size_t k = 1; k <= b_size; k++) {
			bool same = is_same(a[i - 1], b[k - 1]);

			row[k] = least(above[k - 1] + !same, least(above[k], row[k - 1]) + 1);
			if (i > 1 && k > 1 && is_same(a[i - 1], b[k - 2]) &&
			    is_same(a[i - 2], b[k - 1]))
				row[k] = least(row[k], two_above[k - 2] + 1);
		}
	}
	return rows[a_size % 3][b_size];
}

void similar_try(struct similar *s, const char *word, size_t n)
{
	size_t given_size = strlen(s->given), edits;

	if (n > WORD_MAX || given_size > WORD_MAX || n < 2 ||
	    (given_size == n && memcmp(s->given, word, n) == 0))
		return;
	edits = count_edits(s->given, given_size, word, n);
	if (edits > (n < 3 ? 1 : n / 3) || (s->word_size && edits >= s->edits))
		return;
	s->word = word;
	s->word_size = n;
	s->edits = edits;
}

char *similar_hint(const struct similar *s)
{
	return s->word_size ? xasprintf("; did you mean '%.*s'?", (int)s->word_size, s->word)
			    : xstrdup("");
}
