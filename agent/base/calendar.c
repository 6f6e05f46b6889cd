/* SPDX-License-Identifier: MIT */
#include "calendar.h"

#include <ctype.h>
#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>

#define SPAN_MAX_MS ((uint64_t)10 * 365 * 86400 * 1000)

static const struct {
	char name[16];
	uint64_t ms;
} units[] = {
	{"milliseconds", 1}, {"millisecond", 1}, {"msec", 1},	  {"ms", 1},
	{"seconds", 1000},   {"second", 1000},	 {"sec", 1000},	  {"s", 1000},
	{"minutes", 60000},  {"minute", 60000},	 {"min", 60000},  {"m", 60000},
	{"hours", 3600000},  {"hour", 3600000},	 {"hr", 3600000}, {"h", 3600000},
	{"days", 86400000},  {"day", 86400000},	 {"d", 86400000}, {"weeks", 604800000},
	{"week", 604800000}, {"w", 604800000},
};

static const char *skip_blanks(const char *s)
{
	return s + strspn(s, " \t");
}

/* Moves *s behind token if it begins with it. */
static bool take(const char **s, const char *token)
{
	const char *rest = after_prefix(*s, token);

	if (rest)
		*s = rest;
	return rest;
}

static bool take_word(const char **s, const char *word)
{
	const char *rest = after_prefix(*s, word);

	return rest && !isalpha((unsigned char)*rest) && take(s, word);
}

/* One that does not fit is the largest, which is above every valid span and time. */
static bool take_number(const char **s, uint64_t *ret)
{
	char *end;

	if (!isdigit((unsigned char)**s))
		return false;
	*ret = strtoull(*s, &end, 10);
	*s = end;
	return true;
}

/* The unit at *s in ms; without a unit seconds; 0 for an unknown word. */
static uint64_t take_unit(const char **s)
{
	*s = skip_blanks(*s);
	if (!isalpha((unsigned char)**s))
		return 1000;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (take_word(s, units[i].name))
			return units[i].ms;
	}
	return 0;
}

int calendar_parse_span(const char *s, uint64_t *ret_ms)
{
	uint64_t total = 0;

	s = skip_blanks(s);
	if (!*s)
		return -EINVAL;
	while (*s) {
		uint64_t value, unit;

		if (!take_number(&s, &value))
			return -EINVAL;
		unit = take_unit(&s);
		if (unit == 0)
			return -EINVAL;
		if (value > SPAN_MAX_MS / unit || total + value * unit > SPAN_MAX_MS)
			return -ERANGE;
		total += value * unit;
		s = skip_blanks(s);
	}
	*ret_ms = total;
	return 0;
}

static const char weekdays[7][4] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};

static int take_weekday(const char **s)
{
	for (int i = 0; i < 7; i++) {
		if (take_word(s, weekdays[i]))
			return i;
	}
	return -EINVAL;
}

/* "Mon..Fri,Sun": at least one day. */
static int take_weekdays(const char **s, unsigned char *ret)
{
	*ret = 0;
	do {
		int first = take_weekday(s), last = take(s, "..") ? take_weekday(s) : first;

		if (first < 0 || last < 0)
			return -EINVAL;
		for (int d = first; d != last; d = (d + 1) % 7)
			*ret |= (unsigned char)(1u << d);
		*ret |= (unsigned char)(1u << last);
	} while (take(s, ","));
	return 0;
}

/* "02:00"; "24:00" is the end of the day. */
static int take_time(const char **s, unsigned short *ret)
{
	uint64_t hour, minute;

	if (!take_number(s, &hour) || !take(s, ":") || !take_number(s, &minute) || minute > 59 ||
	    hour > 24 || (hour == 24 && minute > 0))
		return -EINVAL;
	*ret = (unsigned short)(hour * 60 + minute);
	return 0;
}

int calendar_parse_window(const char *s, struct window *ret)
{
	struct window w = {.weekdays = 0x7f};

	s = skip_blanks(s);
	if (isalpha((unsigned char)*s)) {
		if (take_weekdays(&s, &w.weekdays) < 0 || (*s != ' ' && *s != '\t'))
			return -EINVAL;
		s = skip_blanks(s);
	}
	if (take_time(&s, &w.start) < 0 || !take(&s, "-") || take_time(&s, &w.end) < 0 ||
	    *skip_blanks(s) || w.start == CALENDAR_MINUTES_PER_DAY)
		return -EINVAL;
	*ret = w;
	return 0;
}

bool calendar_in_window(const struct window *w, const struct tm *local)
{
	int now = local->tm_hour * 60 + local->tm_min;
	int today = (local->tm_wday + 6) % 7, yesterday = (today + 6) % 7;
	int end = w->end > w->start ? w->end : w->end + CALENDAR_MINUTES_PER_DAY;

	if ((w->weekdays & (1u << today)) && now >= w->start && now < end)
		return true;
	return (w->weekdays & (1u << yesterday)) && now + CALENDAR_MINUTES_PER_DAY < end;
}

int calendar_next_opening(const struct window_list *l, const struct tm *local,
			  char ret[CALENDAR_OPENING_MAX])
{
	int now = local->tm_hour * 60 + local->tm_min, today = (local->tm_wday + 6) % 7;
	int next = INT_MAX, day, wait;

	/* A window that opened today already opens in a week again. */
	for (size_t i = 0; i < l->n; i++) {
		for (int d = 0; d <= 7; d++) {
			const struct window *w = &l->items[i];
			int at = d * CALENDAR_MINUTES_PER_DAY + w->start;

			if ((w->weekdays & (1u << ((today + d) % 7))) && at > now && at < next)
				next = at;
		}
	}
	wait = next - now;
	day = next / CALENDAR_MINUTES_PER_DAY;
	next %= CALENDAR_MINUTES_PER_DAY;
	(void)snprintf(ret, CALENDAR_OPENING_MAX, "%s %02d:%02d", weekdays[(today + day) % 7],
		       next / 60, next % 60);
	return wait;
}

/* ".123456789", or nothing; digits behind the ninth are cut. */
static int take_fraction(const char **s, long *ret_ns)
{
	long scale = 100000000;

	*ret_ns = 0;
	if (!take(s, "."))
		return 0;
	if (!isdigit((unsigned char)**s))
		return -EINVAL;
	for (; isdigit((unsigned char)**s); (*s)++, scale /= 10)
		*ret_ns += (**s - '0') * scale;
	return 0;
}

#define TWO_DIGITS "[0-9][0-9]"

/* "Z", "+02:00": seconds east of UTC. */
static int parse_offset(const char *s, int *ret)
{
	int hours, minutes;

	*ret = 0;
	if (streq(s, "Z") || streq(s, "z"))
		return 0;
	if (fnmatch("[+-]" TWO_DIGITS ":" TWO_DIGITS, s, 0) != 0 ||
	    sscanf(s + 1, "%d:%d", &hours, &minutes) != 2 || hours > 23 || minutes > 59)
		return -EINVAL;
	*ret = (s[0] == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
	return 0;
}

/* 9999-12-31T23:59:59Z: a leap second or an offset leads beyond it. */
#define LAST_SECOND 253402300799

int calendar_parse_rfc3339(const char *s, struct timespec *ret)
{
	static const char shape[] = TWO_DIGITS TWO_DIGITS
		"-" TWO_DIGITS "-" TWO_DIGITS "[Tt ]" TWO_DIGITS ":" TWO_DIGITS ":" TWO_DIGITS "*";
	struct tm tm = {0}, day;
	int second, east, n;
	time_t t;
	long ns;

	if (fnmatch(shape, s, 0) != 0 ||
	    sscanf(s, "%d-%d-%d%*c%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
		   &tm.tm_min, &second, &n) != 6)
		return -EINVAL;
	s += n;
	if (take_fraction(&s, &ns) < 0 || parse_offset(s, &east) < 0)
		return -EINVAL;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	day = tm;
	t = timegm(&day) + second - east;
	/* timegm() makes the 1st of March of the 30th of February. */
	if (tm.tm_year < 70 || day.tm_mon != tm.tm_mon || day.tm_mday != tm.tm_mday ||
	    tm.tm_hour > 23 || tm.tm_min > 59 || second > 60 || t < 0 || t > LAST_SECOND)
		return -EINVAL;
	*ret = (struct timespec){.tv_sec = t, .tv_nsec = ns};
	return 0;
}

int64_t calendar_parse_time(const char *s)
{
	struct timespec t;

	if (!s || calendar_parse_rfc3339(s, &t) < 0 || t.tv_sec >= INT64_MAX / 1000000000)
		return 0;
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* "", "18:00" or "18:00:30" */
static int take_clock(const char *s, struct tm *tm)
{
	int n = 0;

	tm->tm_hour = tm->tm_min = tm->tm_sec = 0;
	if (fnmatch("[0-9]*:[0-9]*", s, 0) == 0 &&
	    sscanf(s, "%2d:%2d%n:%2d%n", &tm->tm_hour, &tm->tm_min, &n, &tm->tm_sec, &n) < 2)
		return -EINVAL;
	return s[n] || tm->tm_hour > 23 || tm->tm_min > 59 || tm->tm_sec > 59 ? -EINVAL : 0;
}

/* Local time: a day, a time of the day, or both. */
static int parse_local(const char *s, int64_t now_s, int64_t *ret)
{
	time_t now = (time_t)now_s;
	struct tm tm, day;
	int n = 0;

	if (!localtime_r(&now, &tm))
		return -EINVAL;
	if (take_word(&s, "tomorrow")) {
		tm.tm_mday++;
	} else if (fnmatch("[0-9][0-9][0-9][0-9]-*", s, 0) == 0) {
		if (sscanf(s, "%4d-%2d-%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &n) != 3)
			return -EINVAL;
		tm.tm_year -= 1900;
		tm.tm_mon--;
		s += n;
	} else if (!take_word(&s, "today") && !isdigit((unsigned char)*s)) {
		return -EINVAL;
	}
	if (take_clock(skip_blanks(s), &tm) < 0)
		return -EINVAL;
	day = tm;
	day.tm_isdst = -1;
	*ret = (int64_t)mktime(&day);
	/* mktime() makes the 1st of March of the 30th of February. */
	return n > 0 && (day.tm_mon != tm.tm_mon || day.tm_mday != tm.tm_mday) ? -EINVAL : 0;
}

int calendar_parse_until(const char *s, int64_t now_s, int64_t *ret)
{
	struct timespec t;
	uint64_t ms;

	if (!s[strspn(s, DIGITS)])
		return -EINVAL;
	if (calendar_parse_rfc3339(s, &t) == 0)
		*ret = (int64_t)t.tv_sec;
	else if (calendar_parse_span(s + (s[0] == '+'), &ms) == 0)
		*ret = now_s + (int64_t)(ms / 1000);
	else if (parse_local(s, now_s, ret) < 0)
		return -EINVAL;
	return *ret > now_s ? 0 : -ERANGE;
}

const char *calendar_local(int64_t s, char buf[CALENDAR_LOCAL_MAX])
{
	time_t t = (time_t)s;
	struct tm local;

	if (!localtime_r(&t, &local) ||
	    strftime(buf, CALENDAR_LOCAL_MAX, "%Y-%m-%d %H:%M", &local) == 0)
		buf[0] = '\0';
	return buf;
}

const char *calendar_rfc3339(int64_t s, char *buf, size_t n)
{
	time_t t = (time_t)s;
	struct tm utc;

	if (!gmtime_r(&t, &utc) || strftime(buf, n, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
		buf[0] = '\0';
	return buf;
}
