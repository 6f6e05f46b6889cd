/* SPDX-License-Identifier: MIT */
/* schedule: when to poll, and whether a window is open. Pure: time, the device's number and the history are
 * arguments. */
#pragma once

#include "calendar.h"
#include "config.h"

/* When the next poll is due, in ms on the clock of now_ms; always after now_ms. Each device has a fixed place
 * in the interval, by its number, so that a thousand devices that boot together do not poll together. Jitter
 * moves each poll around that place, by up to half of its share of the interval in each direction. */
uint64_t schedule_next_poll(uint64_t now_ms, uint64_t interval_ms, unsigned int jitter_percent,
			    uint64_t device);

/* When to try again after the nth failure in a row (1, 2, ...): each failure skips one more interval, three at
 * most. The device keeps its place, so a fleet that fails together does not come back together. */
uint64_t schedule_retry_poll(uint64_t now_ms, unsigned int failures, uint64_t interval_ms,
			     unsigned int jitter_percent, uint64_t device);

/* How long to wait before an interrupted update is continued: 5 s, doubled after each failure, at most one
 * interval; spread by half of that, differently for each device and failure. */
uint64_t schedule_backoff(unsigned int failures, uint64_t interval_ms, uint64_t device);

/* Whether one of the windows is open, or there is none. local is NULL while the clock is not set. */
bool schedule_is_open(const struct window_list *l, const struct tm *local);
/* Says why none is, and when the next one opens. key: "window" or "download-window" of container name. */
void schedule_explain(const struct window_list *l, const struct tm *local, const char *key,
		      const char *name, char *buf, size_t size);
/* When the next window opens, while none is open: "02:00", and "Mon 02:00" if that is more than a day ahead. */
void schedule_opens(const struct window_list *l, const struct tm *local,
		    char ret[CALENDAR_OPENING_MAX]);
/* How long the windows stay open, in ms; 0: none is open; UINT64_MAX: they never close. A change to or from summer time
 * until then is not counted: ask again from time to time. */
uint64_t schedule_closes_ms(const struct window_list *l, const struct tm *local);
