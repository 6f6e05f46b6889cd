/* SPDX-License-Identifier: MIT */
/* error: a negative errno for the program, a sentence for people.
 * Functions that can fail for reasons a person must read take a `struct error *` last, set it on
 * failure only, and return its code. The codes that decide something further up:
 *   -EKEYREJECTED  policy says no (signature, platform, rejected digest): not a fault of the link
 *   -ENOENT        the thing asked for is not there (404)
 *   -ECANCELED     SIGTERM
 * everything else means: could not be done now, try again later. */
#pragma once

#include "util.h"

struct error {
	int code; /* negative errno; 0: no error */
	char text[768];
};

/* Sets e and returns code. Whatever is not printable ASCII becomes '?'. */
int error_set(struct error *e, int code, const char *fmt, ...) format_printf(3, 4);

/* Puts "text: " in front of what e says; returns e's code. */
int error_prefix(struct error *e, const char *fmt, ...) format_printf(2, 3);
