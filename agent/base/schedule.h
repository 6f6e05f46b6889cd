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

/* When to try again after the nth failure in a row (1, 2, ...). A poll leaves out one of its places in the
 * interval more each time, three at most, so that a fleet that fails together does not come back
 * together. */
uint64_t schedule_retry_poll(uint64_t now_ms, unsigned int failures, uint64_t interval_ms,
			     unsigned int jitter_percent, uint64_t device);

/* How long to wait before an update under way is taken up again: 5 s, doubling, an interval at most; each
 * device by up to half of that sooner or later, another each time. */
uint64_t schedule_backoff(unsigned int failures, uint64_t interval_ms, uint64_t device);

/* Whether the swap may happen now; reason (static) is set when not. local is NULL while the clock is not
 * set. */
bool schedule_gate(const struct container_config *c, const struct tm *local,
		   const char **ret_reason);
/* The same for the beginning of a download. */
bool schedule_download(const struct container_config *c, const struct tm *local,
		       const char **ret_reason);
