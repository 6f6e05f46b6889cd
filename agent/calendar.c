/* SPDX-License-Identifier: MIT */
#include "calendar.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#define SPAN_MAX_MS ((uint64_t)10 * 365 * 86400 * 1000)

static const struct {
	const char *name;
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

/* Stops growing where no span or time could be right any more. */
static bool take_number(const char **s, uint64_t *ret)
{
	const char *p = *s;
	uint64_t v = 0;

	if (!isdigit((unsigned char)*p))
		return false;
	for (; isdigit((unsigned char)*p); p++) {
		if (v <= SPAN_MAX_MS)
			v = v * 10 + (uint64_t)(*p - '0');
	}
	*s = p;
	*ret = v;
	return true;
}

/* The unit at *s in ms; seconds when none stands there; 0 for an unknown word. */
static uint64_t take_unit(const char **s)
{
	const char *p = skip_blanks(*s);
	size_t n = 0;

	while (isalpha((unsigned char)p[n]))
		n++;
	if (n == 0)
		return 1000;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (strlen(units[i].name) == n && strncmp(p, units[i].name, n) == 0) {
			*s = p + n;
			return units[i].ms;
		}
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

static int take_weekday(const char **s)
{
	static const char names[7][4] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};

	for (int i = 0; i < 7; i++) {
		const char *rest = after_prefix(*s, names[i]);

		if (rest && !isalpha((unsigned char)*rest)) {
			*s = rest;
			return i;
		}
	}
	return -EINVAL;
}

/* "Mon..Fri,Sun": at least one day. */
static int take_weekdays(const char **s, unsigned char *ret)
{
	unsigned char days = 0;

	for (;;) {
		int first = take_weekday(s), last = first;
		const char *rest;

		if (first < 0)
			return -EINVAL;
		rest = after_prefix(*s, "..");
		if (rest) {
			*s = rest;
			last = take_weekday(s);
			if (last < 0)
				return -EINVAL;
		}
		for (int d = first;; d = (d + 1) % 7) {
			days |= (unsigned char)(1u << d);
			if (d == last)
				break;
		}
		if (**s != ',')
			break;
		(*s)++;
	}
	*ret = days;
	return 0;
}

/* "02:00"; "24:00" is the end of the day. */
static int take_time(const char **s, unsigned short *ret)
{
	uint64_t hour, minute;

	if (!take_number(s, &hour) || **s != ':')
		return -EINVAL;
	(*s)++;
	if (!take_number(s, &minute) || minute > 59 || hour > 24 || (hour == 24 && minute > 0))
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
	if (take_time(&s, &w.start) < 0 || *s != '-')
		return -EINVAL;
	s++;
	if (take_time(&s, &w.end) < 0 || *skip_blanks(s) || w.start == CALENDAR_MINUTES_PER_DAY)
		return -EINVAL;
	*ret = w;
	return 0;
}

bool calendar_in_window(const struct window *w, const struct tm *local)
{
	int now = local->tm_hour * 60 + local->tm_min;
	int today = (local->tm_wday + 6) % 7, yesterday = (today + 6) % 7;
	int length = (int)w->end - (int)w->start;

	if (length <= 0)
		length += CALENDAR_MINUTES_PER_DAY;
	if ((w->weekdays & (1u << today)) && now >= w->start && now < w->start + length)
		return true;
	now += CALENDAR_MINUTES_PER_DAY;
	return (w->weekdays & (1u << yesterday)) && now >= w->start && now < w->start + length;
}

int64_t calendar_parse_time(const char *s)
{
	struct tm tm = {0};
	const char *p = s ? strptime(s, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
	int64_t ns = 0, scale = 100000000;
	int hours, minutes;
	time_t t;

	/* Nanoseconds of Unix time end in 2262. */
	if (!p || tm.tm_year < 70 || tm.tm_year > 300)
		return 0;
	if (*p == '.') {
		for (p++; *p >= '0' && *p <= '9'; p++, scale /= 10)
			ns += (*p - '0') * scale;
	}
	t = timegm(&tm);
	if ((*p == '+' || *p == '-') && sscanf(p + 1, "%2d:%2d", &hours, &minutes) == 2)
		t -= (time_t)(*p == '+' ? 1 : -1) * (hours * 3600 + minutes * 60);
	return (int64_t)t * 1000000000 + ns;
}
