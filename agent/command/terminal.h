/* SPDX-License-Identifier: MIT */
/* terminal: what stands behind a descriptor: its width, and whether colours are welcome. */
#pragma once

#include "util.h"

struct terminal {
	int fd;
	bool live;    /* somebody looks, and lines can be drawn again */
	bool colours; /* NO_COLOR is not set */
	size_t width; /* 80 where nothing is known */
};

enum tint {
	TINT_NONE,
	TINT_BAD,  /* red */
	TINT_WAIT, /* yellow */
};

struct terminal terminal_of(int fd);

/* What switches a tint on, and what switches it off again; "" without colours. */
const char *terminal_tint(bool colours, enum tint tint);
const char *terminal_plain(bool colours, enum tint tint);
