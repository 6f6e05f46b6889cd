/* SPDX-License-Identifier: MIT */
/* similar: the known word that a misspelt one is closest to. Pure. */
#pragma once

#include "util.h"

struct similar {
	const char *given;
	/* The closest word so far, borrowed; word_size 0: none is close. */
	const char *word;
	size_t word_size;
	size_t edits;
};

/* Compares given with another known word of n bytes. One edit is a character that is missing, extra or other, or two that
 * are swapped; case does not count. The same word is not similar. A word is close if one character in three, and at least one, is edited. */
void similar_try(struct similar *s, const char *word, size_t n);
/* "; did you mean 'WORD'?", or "" if no word is close. Caller frees. */
char *similar_hint(const struct similar *s);
