/* SPDX-License-Identifier: MIT */
#include "calendar.h"

#include <ctype.h>
#include <errno.h>
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

static bool take_digits(const char **s, int n, int *ret)
{
	*ret = 0;
	for (; n > 0; n--, (*s)++) {
		if (!isdigit((unsigned char)**s))
			return false;
		*ret = *ret * 10 + (**s - '0');
	}
	return true;
}

static bool take_char(const char **s, const char *set)
{
	return **s && strchr(set, *(*s)++);
}

static int days_of_month(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month - 1] + (month == 2 && leap);
}

/* Not timegm(): time_t may have 32 bits, and policies outlive 2038. */
static int64_t days_since_1970(int year, int month, int day)
{
	int64_t y = year - 1;
	int64_t days = y * 365 + y / 4 - y / 100 + y / 400 - 719162 + day - 1;

	for (int m = 1; m < month; m++)
		days += days_of_month(year, m);
	return days;
}

/* "Z", "+02:00": seconds east of UTC. */
static bool take_offset(const char **s, int *ret)
{
	int sign = **s == '-' ? -1 : 1, hours, minutes;

	*ret = 0;
	if (!take_char(s, "Zz+-"))
		return false;
	if ((*s)[-1] != '+' && (*s)[-1] != '-')
		return true;
	if (!take_digits(s, 2, &hours) || !take_char(s, ":") || !take_digits(s, 2, &minutes) ||
	    hours > 23 || minutes > 59)
		return false;
	*ret = sign * (hours * 3600 + minutes * 60);
	return true;
}

int calendar_parse_rfc3339(const char *s, int64_t *ret)
{
	int year, month, day, hour, minute, second, east;

	if (!take_digits(&s, 4, &year) || !take_char(&s, "-") || !take_digits(&s, 2, &month) ||
	    !take_char(&s, "-") || !take_digits(&s, 2, &day) || !take_char(&s, "Tt ") ||
	    !take_digits(&s, 2, &hour) || !take_char(&s, ":") || !take_digits(&s, 2, &minute) ||
	    !take_char(&s, ":") || !take_digits(&s, 2, &second))
		return -EINVAL;
	if (*s == '.') {
		s++;
		if (!isdigit((unsigned char)*s))
			return -EINVAL;
		s += strspn(s, "0123456789");
	}
	if (!take_offset(&s, &east) || *s || year < 1970 || month < 1 || month > 12 || day < 1 ||
	    day > days_of_month(year, month) || hour > 23 || minute > 59 || second > 60)
		return -EINVAL;
	*ret = days_since_1970(year, month, day) * 86400 + hour * 3600 + minute * 60 + second -
	       east;
	return 0;
}

const char *calendar_rfc3339(int64_t s, char *buf, size_t n)
{
	int64_t days = s / 86400, rest = s % 86400;
	int year = 1970, month = 1;

	while (days >= 365 + (days_of_month(year, 2) == 29)) {
		days -= 365 + (days_of_month(year, 2) == 29);
		year++;
	}
	while (days >= days_of_month(year, month))
		days -= days_of_month(year, month++);
	(void)snprintf(buf, n, "%04d-%02d-%02dT%02d:%02d:%02dZ", year, month, (int)days + 1,
		       (int)(rest / 3600), (int)(rest / 60 % 60), (int)(rest % 60));
	return buf;
}
