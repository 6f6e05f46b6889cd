/* SPDX-License-Identifier: MIT */
/* text: texts for a terminal. Pure. */
#pragma once

#include "util.h"

/* s with every byte that is not printable ASCII as '?': nothing in it can control a terminal, and each byte
 * takes a column. Caller frees. */
char *text_printable(const char *s);

/* 1234567 to "1.2 MB". Caller frees. */
char *text_bytes(uint64_t n);
