/* SPDX-License-Identifier: MIT */
/* progress: a progress bar, or a line, with rate and time left. Pure. */
#pragma once

#include "util.h"

struct progress {
	uint64_t bytes, total;
	uint64_t measured_ms, measured_bytes; /* where the rate was last measured */
	bool measuring;
	double rate;	       /* bytes per second, smoothed; 0: unknown */
	uint64_t next_line_ms; /* progress_line() is silent before */
};

/* Notes the bytes so far. Fewer bytes than before start a new download. */
void progress_note(struct progress *p, uint64_t bytes, uint64_t total, uint64_t now_ms);

/* "hello  [####....]  45%  12.3 MB of 45.6 MB  1.2 MB/s  0:27" in at most width columns. Caller frees. */
char *progress_bar(const struct progress *p, const char *name, size_t width);

/* The same of something else: "hello  [####....]  on trial, 12 of 30 s"; part is at most whole. Caller frees. */
char *progress_draw(const char *name, const char *text, uint64_t part, uint64_t whole,
		    size_t width);

/* A plain line, at most every 10 s; NULL when it is not time yet. Caller frees. */
char *progress_line(struct progress *p, const char *name, uint64_t now_ms);
