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

/* Where an error comes from, as far as that decides something: set where it is made, never read out of a text that
 * others wrote. error_set() sets ERROR_OTHER. */
enum error_origin {
	ERROR_OTHER, /* a link, a registry, a container, a file, ... */
	ERROR_STORE, /* the engine, which says that it cannot read its image store */
	ERROR_STALE, /* the engine, which keeps something of a start that was cut, and never starts this container again */
	ERROR_IMAGE, /* the engine, about what the image brings: a program, a user, a file */
	ERROR_PASSING, /* the engine, which is out of something or refuses all: it says nothing of what it was given */
};

struct error {
	int code; /* negative errno; 0: no error */
	enum error_origin origin;
	char text[768];
};

/* Sets e and returns code. Whatever is not printable ASCII becomes '?'. */
int error_set(struct error *e, int code, const char *fmt, ...) format_printf(3, 4);

/* Puts "; text" behind what e says. The origin stays. */
void error_append(struct error *e, const char *fmt, ...) format_printf(2, 3);

/* Puts "text: " in front of what e says; returns e's code. The origin stays. */
int error_prefix(struct error *e, const char *fmt, ...) format_printf(2, 3);
