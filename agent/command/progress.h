/* SPDX-License-Identifier: MIT */
/* progress: bytes and time to a line for people: bar, rate, and how long it will still take. Pure. */
#pragma once

#include "util.h"

struct progress {
	uint64_t bytes, total;
	uint64_t measured_ms, measured_bytes; /* where the rate was last measured */
	bool measuring;
	double rate; /* bytes a second, smoothed; 0: not known yet */
	bool spoken;
	uint64_t spoken_ms;
};

/* A number came in. Fewer bytes than before: something new is on its way. */
void progress_note(struct progress *p, uint64_t bytes, uint64_t total, uint64_t now_ms);

/* "hello  [####....]  45%  12.3 MB of 45.6 MB  1.2 MB/s  0:27" in at most width columns. Caller frees. */
char *progress_bar(const struct progress *p, const char *name, size_t width);

/* Whether it is time for another plain line, and if so, which; else NULL. Caller frees. */
char *progress_line(struct progress *p, const char *name, uint64_t now_ms);
