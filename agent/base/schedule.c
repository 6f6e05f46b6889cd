/* SPDX-License-Identifier: MIT */
#include "schedule.h"

#include <stdio.h>

#define BACKOFF_FIRST_MS   5000
#define BACKOFF_MOST_TIMES 4
#define WEEK_MINUTES	   (7 * CALENDAR_MINUTES_PER_DAY)

/* splitmix64: spreads neighbouring numbers over the whole range. */
static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

uint64_t schedule_next_poll(uint64_t now_ms, uint64_t interval_ms, unsigned int jitter_percent,
			    uint64_t device)
{
	uint64_t slot = mix(device) % interval_ms;
	uint64_t spread = interval_ms * jitter_percent / 100;
	uint64_t n = now_ms / interval_ms;

	/* Jitter can put the poll of the previous interval after now. */
	for (n -= n > 0;; n++) {
		uint64_t offset = spread ? mix(device ^ mix(n)) % spread : 0;
		uint64_t due = n * interval_ms + slot + offset;

		/* Half the spread early, half late. */
		due = due > spread / 2 ? due - spread / 2 : 0;
		if (due > now_ms)
			return due;
	}
}

uint64_t schedule_retry_poll(uint64_t now_ms, unsigned int failures, uint64_t interval_ms,
			     unsigned int jitter_percent, uint64_t device)
{
	uint64_t skipped = failures < BACKOFF_MOST_TIMES ? failures : BACKOFF_MOST_TIMES;

	skipped -= skipped > 0;
	return schedule_next_poll(now_ms + skipped * interval_ms, interval_ms, jitter_percent,
				  device);
}

uint64_t schedule_backoff(unsigned int failures, uint64_t interval_ms, uint64_t device)
{
	uint64_t wait = BACKOFF_FIRST_MS;

	for (unsigned int i = 1; i < failures && wait < interval_ms; i++)
		wait *= 2;
	wait = wait < interval_ms ? wait : interval_ms;
	return wait - wait / 2 + mix(device ^ mix(failures)) % (wait + 1);
}

bool schedule_is_open(const struct window_list *l, const struct tm *local)
{
	for (size_t i = 0; local && i < l->n; i++) {
		if (calendar_in_window(&l->items[i], local))
			return true;
	}
	return l->n == 0;
}

void schedule_explain(const struct window_list *l, const struct tm *local, const char *key,
		      const char *name, char *buf, size_t size)
{
	char opening[CALENDAR_OPENING_MAX];

	if (!local) {
		(void)snprintf(buf, size, "the clock is not set, and %s depends on it", key);
		return;
	}
	(void)calendar_next_opening(l, local, opening);
	(void)snprintf(buf, size, "outside its %s: opens %s; pullet update --now %s takes it now",
		       key, opening, name);
}

void schedule_opens(const struct window_list *l, const struct tm *local,
		    char ret[CALENDAR_OPENING_MAX])
{
	if (calendar_next_opening(l, local, ret) <= CALENDAR_MINUTES_PER_DAY)
		memmove(ret, ret + strlen("Mon "), strlen("02:00") + 1);
}

/* Minute for minute, because overlapping and adjoining windows make one. */
uint64_t schedule_closes_ms(const struct window_list *l, const struct tm *local)
{
	struct tm at = local ? *local : (struct tm){0};
	uint64_t minutes = 0;

	if (l->n == 0)
		return UINT64_MAX;
	for (; local && schedule_is_open(l, &at); minutes++) {
		if (minutes > WEEK_MINUTES)
			return UINT64_MAX;
		if (++at.tm_min < 60)
			continue;
		at.tm_min = 0;
		at.tm_hour = (at.tm_hour + 1) % 24;
		at.tm_wday = (at.tm_wday + (at.tm_hour == 0)) % 7;
	}
	return minutes ? minutes * 60000 - (uint64_t)at.tm_sec * 1000 : 0;
}
