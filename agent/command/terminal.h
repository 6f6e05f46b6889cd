/* SPDX-License-Identifier: MIT */
/* terminal: width and colours of the terminal behind a descriptor, and texts for it. */
#pragma once

#include "util.h"

struct terminal {
	bool live;    /* a terminal that can clear lines */
	bool colours; /* live, and NO_COLOR is not set */
	size_t width; /* columns; 80 if unknown */
};

enum tint {
	TINT_NONE,
	TINT_BAD,  /* red */
	TINT_WAIT, /* yellow */
};

struct terminal terminal_of(int fd);

/* The sequence that switches a tint on, and the one that switches it off; "" without colours. */
const char *terminal_tint(bool colours, enum tint tint);
const char *terminal_plain(bool colours, enum tint tint);
