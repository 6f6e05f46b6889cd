/* SPDX-License-Identifier: MIT */
/* text: strings as a terminal shows them: in columns, cut, without what could steer it. UTF-8, by the
 * locale's LC_CTYPE. Pure. */
#pragma once

#include "util.h"

/* How many columns s takes. */
size_t text_columns(const char *s);

/* s in at most that many columns, the last of them "..." as one character where something is cut off.
 * Controls and what is not UTF-8 become '?'. Caller frees. */
char *text_cut(const char *s, size_t columns);

/* text_cut(), filled up with blanks. Caller frees. */
char *text_fit(const char *s, size_t columns);

/* The whole of s in lines of at most that many columns, broken at blanks where there are any; all but the
 * first begin with indent blanks, which count. Caller frees. */
char *text_wrap(const char *s, size_t columns, size_t indent);

/* 1234567 to "1.2 MB". Caller frees. */
char *text_bytes(uint64_t n);
