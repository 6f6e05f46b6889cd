/* SPDX-License-Identifier: MIT */
/* calendar: time spans and weekly windows in the notation of systemd.time(7), and times in RFC 3339. Pure. */
#pragma once

#include <time.h>

#include "util.h"

#define CALENDAR_MINUTES_PER_DAY (24 * 60)

/* "15min", "1h 30min", "500ms", "2 days"; a bare number is seconds. Units from ms to w.
 * -EINVAL, or -ERANGE beyond 10 years. */
int calendar_parse_span(const char *s, uint64_t *ret_ms) warn_unused;

/* "Mon..Fri 02:00-04:00", "Sat,Sun 22:00-06:00", "03:00-05:00": local time; an end before the start
 * is on the next day. */
struct window {
	unsigned char weekdays; /* bit 0: Monday */
	unsigned short start;	/* minute of the day */
	unsigned short end;	/* minute of the day, not included; start == end: the whole day */
};

struct window_list {
	struct window *items;
	size_t n; /* 0: any time */
};

int calendar_parse_window(const char *s, struct window *ret) warn_unused;
bool calendar_in_window(const struct window *w, const struct tm *local);
/* When the first of the windows, which are all closed at local, opens: "Mon 02:00", within a week. Returns the minutes
 * until then. */
#define CALENDAR_OPENING_MAX 16
int calendar_next_opening(const struct window_list *l, const struct tm *local,
			  char ret[CALENDAR_OPENING_MAX]);

/* RFC 3339 with an offset or Z to Unix time; years from 1970 on. -EINVAL for everything else. */
int calendar_parse_rfc3339(const char *s, struct timespec *ret) warn_unused;
/* The same in nanoseconds, as engines tell times; 0 for NULL, for Go's zero time ("never", year 1), for what
 * is not RFC 3339 and for what 64 bits cannot hold (from 2262 on). */
int64_t calendar_parse_time(const char *s);
/* A point in time of systemd.time(7) to Unix time: "2026-12-24", "2026-12-24 18:00", "18:00", "today", "tomorrow 18:00" in
 * local time, RFC 3339, or a span from now_s on, with its unit: "3d". -EINVAL; -ERANGE: not after now_s. */
int calendar_parse_until(const char *s, int64_t now_s, int64_t *ret) warn_unused;
/* Unix time to local time, "2026-12-01 09:00"; returns buf. */
#define CALENDAR_LOCAL_MAX 20
const char *calendar_local(int64_t s, char buf[CALENDAR_LOCAL_MAX]);
/* Unix time to "2026-12-01T08:00:00Z" into buf of n bytes, 21 at least; returns buf. */
const char *calendar_rfc3339(int64_t s, char *buf, size_t n);
