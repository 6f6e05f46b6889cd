/* SPDX-License-Identifier: MIT */
/* schedule: when to look again. Pure: time, the device's number and the history are arguments. */
#pragma once

#include "calendar.h"
#include "config.h"

/* When the next poll is due, in ms on the clock of now_ms. Each device has a fixed place in the
 * interval (from its number), so that a town that boots in one second does not ask in one second;
 * jitter moves each poll by up to that share of the interval around it. Always after now_ms. */
uint64_t schedule_next_poll(uint64_t now_ms, uint64_t interval_ms, unsigned int jitter_percent,
			    uint64_t device);

/* How long to wait after the nth failure in a row (1, 2, ...). An update under way is taken up again
 * soon (5 s, doubling); a poll that failed waits one interval more each time, four at most. */
uint64_t schedule_backoff(unsigned int failures, bool under_way, uint64_t interval_ms);

/* Whether the swap may happen now; reason (static) is set when not. local is NULL while the clock is not
 * set. */
bool schedule_gate(const struct container_config *c, const struct tm *local,
		   const char **ret_reason);
/* The same for the beginning of a download. */
bool schedule_download(const struct container_config *c, const struct tm *local,
		       const char **ret_reason);
