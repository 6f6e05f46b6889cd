/* SPDX-License-Identifier: MIT */
/* bar: a line at the bottom of a terminal that says how far something has come. */
#pragma once

#include "progress.h"
#include "terminal.h"

struct bar {
	struct terminal terminal;
	const char *what; /* NULL: nothing is shown */
	struct progress progress;
	uint64_t drawn_ms;
};

/* Standard error's; quiet: nothing is shown. */
void bar_init(struct bar *b, bool quiet);
/* From now on it is about that. */
void bar_begin(struct bar *b, const char *what);
/* userdata is the bar. Bytes, with their rate; and parts of something else. */
void bar_bytes(void *userdata, uint64_t bytes, uint64_t whole);
void bar_part(void *userdata, uint64_t part, uint64_t whole);
/* Removes the line: something else is written. */
void bar_clear(struct bar *b);
