/* SPDX-License-Identifier: MIT */
/* clock: whether the wall clock is right. A Pi has no real-time clock: it starts at the time when it was
 * switched off, or in 1970, until a time server answers. */
#pragma once

#include "util.h"

struct clock_facts {
	int64_t now_s;	   /* Unix time */
	bool synchronised; /* the kernel or systemd-timesyncd says so */
	bool waiting;	   /* systemd-timesyncd runs, and no server has answered yet */
	bool rtc;	   /* there is a real-time clock */
};

/* Never before the time of the build. Pure. */
bool clock_is_set(const struct clock_facts *f);

/* Unix time; 0: the clock is not set. */
int64_t clock_now(void);

/* The wall clock, set or not, in nanoseconds: what an engine compares its events with. */
int64_t clock_wall_ns(void);
