/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>

#include "calendar.h"
#include "test.h"

#define SECOND	  ((uint64_t)1000)
#define MINUTE	  (60 * SECOND)
#define HOUR	  (60 * MINUTE)
#define DAY	  (24 * HOUR)
#define UNTOUCHED 4711

static const struct {
	const char *text;
	int result;
	uint64_t ms;
} spans[] = {
	{"15min", 0, 15 * MINUTE},
	{"1h 30min", 0, 90 * MINUTE},
	{"1h30min", 0, 90 * MINUTE},
	{"500ms", 0, 500},
	{"500 msec", 0, 500},
	{"1millisecond 2milliseconds", 0, 3},
	{"2 days", 0, 2 * DAY},
	{"1d", 0, DAY},
	{"1day", 0, DAY},
	{"1w", 0, 7 * DAY},
	{"1week 1weeks", 0, 14 * DAY},
	{"45s", 0, 45 * SECOND},
	{"1sec 1second 1seconds", 0, 3 * SECOND},
	{"1m 1minute 1minutes", 0, 3 * MINUTE},
	{"1hr 1hour 1hours", 0, 3 * HOUR},
	{"30", 0, 30 * SECOND},
	{"1min 30", 0, 90 * SECOND},
	{" \t 7s \t", 0, 7 * SECOND},
	{"0", 0, 0},
	{"007s", 0, 7 * SECOND},
	{"3650d", 0, 3650 * DAY},
	{"315360000000ms", 0, 3650 * DAY},
	{"", -EINVAL, UNTOUCHED},
	{"  ", -EINVAL, UNTOUCHED},
	{"min", -EINVAL, UNTOUCHED},
	{"15 min utes", -EINVAL, UNTOUCHED},
	{"15mins", -EINVAL, UNTOUCHED},
	{"15 MIN", -EINVAL, UNTOUCHED},
	{"1M", -EINVAL, UNTOUCHED}, /* systemd's month: not one of ours, and not a minute */
	{"1y", -EINVAL, UNTOUCHED},
	{"1us", -EINVAL, UNTOUCHED},
	{"-5s", -EINVAL, UNTOUCHED},
	{"+5s", -EINVAL, UNTOUCHED},
	{"1.5h", -EINVAL, UNTOUCHED},
	{"1h,30min", -EINVAL, UNTOUCHED},
	{"5s;", -EINVAL, UNTOUCHED},
	{"0x10", -EINVAL, UNTOUCHED},
	{"infinity", -EINVAL, UNTOUCHED},
	{"3651d", -ERANGE, UNTOUCHED},
	{"3650d 1ms", -ERANGE, UNTOUCHED},
	{"315360000001ms", -ERANGE, UNTOUCHED},
	{"18446744073709551615", -ERANGE, UNTOUCHED},
	{"18446744073709551616", -ERANGE, UNTOUCHED},
	{"18446744073709551615999999999999999999999999w", -ERANGE, UNTOUCHED},
};

static void test_spans(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(spans); i++) {
		uint64_t ms = UNTOUCHED;

		if (calendar_parse_span(spans[i].text, &ms) != spans[i].result || ms != spans[i].ms)
			fail_msg("'%s': got %ju ms", spans[i].text, (uintmax_t)ms);
	}
}

static const struct {
	const char *text;
	struct window w;
} windows[] = {
	{"Mon..Fri 02:00-04:00", {0x1f, 120, 240}},
	{"Sat,Sun 22:00-06:00", {0x60, 1320, 360}},
	{"03:00-05:00", {0x7f, 180, 300}},
	{"  03:00-05:00\t", {0x7f, 180, 300}},
	{"Mon \t 3:5-3:06", {0x01, 185, 186}},
	{"Mon..Mon 00:00-00:00", {0x01, 0, 0}},
	{"Fri..Mon 00:00-24:00", {0x71, 0, 1440}}, /* over the end of the week */
	{"Sun,Wed,Sun 23:59-00:00", {0x44, 1439, 0}},
	{"Mon..Tue,Thu,Sat..Sun 01:00-02:00", {0x6b, 60, 120}},
};

static void test_windows(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(windows); i++) {
		struct window w = {0};

		if (calendar_parse_window(windows[i].text, &w) != 0 ||
		    w.weekdays != windows[i].w.weekdays || w.start != windows[i].w.start ||
		    w.end != windows[i].w.end)
			fail_msg("'%s': %x %d-%d", windows[i].text, w.weekdays, w.start, w.end);
	}
}

static void test_no_windows(void **state)
{
	static const char *const texts[] = {
		"",
		" ",
		"Mon",
		"Mon..Fri",
		"Mon..Fri ",
		"Mon..Fri02:00-04:00",
		"Mon.Fri 02:00-04:00",
		"Mon.. 02:00-04:00",
		"Mon, 02:00-04:00",
		"Mon ,Tue 02:00-04:00",
		",Mon 02:00-04:00",
		"..Fri 02:00-04:00",
		"Mon..Wed..Fri 02:00-04:00",
		"mon 02:00-04:00",
		"Monday 02:00-04:00",
		"Foo 02:00-04:00",
		"02:00",
		"02:00-",
		"-04:00",
		"02:00 - 04:00",
		"02:00..04:00",
		"02-04",
		"02.00-04.00",
		"0200-0400",
		"02:-04:00",
		":00-04:00",
		"25:00-04:00",
		"02:60-04:00",
		"02:00-24:01",
		"24:00-04:00",
		"02:00-04:00:00",
		"02:00-04:00 Mon",
		"02:00-04:00,05:00-06:00",
		"Mon 02:00-04:00 x",
		"-2:00-04:00",
		"02:00-18446744073709551616:00",
		"02:18446744073709551617-04:00",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct window w = {0x55, 1, 2};

		if (calendar_parse_window(texts[i], &w) != -EINVAL)
			fail_msg("'%s' is accepted", texts[i]);
		assert_true(w.weekdays == 0x55 && w.start == 1 && w.end == 2);
	}
}

static const struct {
	const char *window;
	const char *time; /* weekday from Monday = 0, hour and minute */
	bool inside;
} moments[] = {
	{"Mon..Fri 02:00-04:00", "0 02:00", true},
	{"Mon..Fri 02:00-04:00", "0 01:59", false},
	{"Mon..Fri 02:00-04:00", "0 02:30", true},
	{"Mon..Fri 02:00-04:00", "0 04:30", false},
	{"Mon..Fri 02:00-04:00", "4 03:59", true},
	{"Mon..Fri 02:00-04:00", "4 04:00", false},
	{"Mon..Fri 02:00-04:00", "5 03:00", false},
	{"Mon..Fri 02:00-04:00", "6 03:00", false},
	/* The day of the window is the one it begins on. */
	{"Sat 22:00-06:00", "5 21:59", false},
	{"Sat 22:00-06:00", "5 22:00", true},
	{"Sat 22:00-06:00", "5 23:59", true},
	{"Sat 22:00-06:00", "6 00:00", true},
	{"Sat 22:00-06:00", "6 05:59", true},
	{"Sat 22:00-06:00", "6 06:00", false},
	{"Sat 22:00-06:00", "5 05:00", false},
	{"Sat 22:00-06:00", "6 22:00", false},
	{"Sun 22:00-06:00", "6 23:00", true}, /* over the end of the week */
	{"Sun 22:00-06:00", "0 05:59", true},
	{"Sun 22:00-06:00", "6 05:00", false},
	{"22:00-06:00", "3 05:00", true},
	{"22:00-06:00", "3 12:00", false},
	{"Wed 22:00-00:00", "2 23:59", true},
	{"Wed 22:00-00:00", "3 00:00", false},
	{"Wed 22:00-24:00", "2 23:59", true},
	{"Wed 22:00-24:00", "3 00:00", false},
	{"Wed 00:00-00:00", "2 00:00", true},
	{"Wed 00:00-00:00", "2 23:59", true},
	{"Wed 00:00-00:00", "3 00:00", false},
	{"Wed 00:00-24:00", "1 23:59", false},
	/* start = end: a whole day from there */
	{"Wed 12:00-12:00", "2 11:59", false},
	{"Wed 12:00-12:00", "2 12:00", true},
	{"Wed 12:00-12:00", "3 11:59", true},
	{"Wed 12:00-12:00", "3 12:00", false},
};

static void test_moments(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(moments); i++) {
		struct tm tm = {.tm_sec = 60};
		struct window w;

		assert_int_equal(calendar_parse_window(moments[i].window, &w), 0);
		assert_int_equal(
			sscanf(moments[i].time, "%d %d:%d", &tm.tm_wday, &tm.tm_hour, &tm.tm_min),
			3);
		tm.tm_wday = (tm.tm_wday + 1) % 7;
		if (calendar_in_window(&w, &tm) != moments[i].inside)
			fail_msg("%s in %s", moments[i].time, moments[i].window);
	}
}

/* Minutes of a week inside a window: as many as its days times its length, whatever it crosses. */
static void test_week(void **state)
{
	static const struct {
		const char *window;
		int minutes;
	} rows[] = {{"02:00-04:00", 7 * 120},	   {"Mon..Fri 22:00-06:00", 5 * 480},
		    {"Sat,Sun 00:00-24:00", 2880}, {"12:00-12:00", 7 * CALENDAR_MINUTES_PER_DAY},
		    {"Sun 23:59-00:01", 2},	   {"Tue 03:05-03:06", 1},
		    {"Tue 00:01-00:00", 1439}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct window w;
		int n = 0;

		assert_int_equal(calendar_parse_window(rows[i].window, &w), 0);
		for (int m = 0; m < 7 * CALENDAR_MINUTES_PER_DAY; m++) {
			struct tm tm = {.tm_wday = m / CALENDAR_MINUTES_PER_DAY,
					.tm_hour = m / 60 % 24,
					.tm_min = m % 60};

			n += calendar_in_window(&w, &tm);
		}
		assert_int_equal(n, rows[i].minutes);
	}
}

static void test_rfc3339(void **state)
{
	static const struct {
		const char *text;
		int64_t s; /* -1: none */
	} rows[] = {
		{"1970-01-01T00:00:00Z", 0},
		{"2026-12-01T12:00:00Z", 1796126400},
		{"2026-12-01t12:00:00.999z", 1796126400},
		{"2026-12-01 14:00:00+02:00", 1796126400},
		{"2026-12-01T04:30:00-07:30", 1796126400},
		{"2000-02-29T23:59:60Z", 951868800},
		{"2038-01-19T03:14:08Z", 2147483648},
		{"9999-12-31T23:59:59Z", 253402300799},
		{"", -1},
		{"2026-12-01", -1},
		{"2026-12-01T12:00:00", -1},
		{"2026-12-01T12:00Z", -1},
		{"2026-12-01T12:00:00.Z", -1},
		{"2026-12-01T12:00:00ZZ", -1},
		{"2026-12-01T12:00:00Z ", -1},
		{" 2026-12-01T12:00:00Z", -1},
		{"2026-13-01T12:00:00Z", -1},
		{"2026-00-01T12:00:00Z", -1},
		{"2026-02-29T12:00:00Z", -1},
		{"2100-02-29T12:00:00Z", -1},
		{"2026-12-01T24:00:00Z", -1},
		{"2026-12-01T12:60:00Z", -1},
		{"2026-12-01T12:00:61Z", -1},
		{"2026-12-01T12:00:00+24:00", -1},
		{"2026-12-01T12:00:00+2:00", -1},
		{"2026-12-01T12:00:00+0200", -1},
		{"1969-12-31T23:59:59Z", -1},
		{"+026-12-01T12:00:00Z", -1},
		{"2026-12-01T12:00: 0Z", -1},
		{"2026-02-30T12:00:00Z", -1},
		{"2026-12-32T12:00:00Z", -1},
		{"2026-12-00T12:00:00Z", -1},
		{"2026-12-01T12:00:00+02:60", -1},
	};
	char text[32];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct timespec t, again;
		int r = calendar_parse_rfc3339(rows[i].text, &t);

		if (r != (rows[i].s < 0 ? -EINVAL : 0) || (r == 0 && t.tv_sec != rows[i].s))
			fail_msg("%s: %d, %lld", rows[i].text, r, (long long)t.tv_sec);
		if (r < 0)
			continue;
		(void)calendar_rfc3339(t.tv_sec, text, sizeof(text));
		assert_int_equal(calendar_parse_rfc3339(text, &again), 0);
		assert_int_equal(again.tv_sec, t.tv_sec);
	}
	assert_string_equal(calendar_rfc3339(1796126400, text, sizeof(text)),
			    "2026-12-01T12:00:00Z");
}

/* As engines write them. */
static void test_parse_time(void **state)
{
	static const struct {
		const char *text;
		int64_t ns;
	} rows[] = {
		{"1970-01-01T00:00:01.5Z", 1500000000},
		{"2026-12-01T12:00:00.123456789Z", 1796126400123456789},
		{"2026-12-01T14:00:00.1234567891+02:00", 1796126400123456789},
		{"2262-04-11T00:00:00Z", 9223286400000000000},
		{"2263-01-01T00:00:00Z", 0},
		{"0001-01-01T00:00:00Z", 0}, /* Go's zero time: never */
		{"1970-01-01T00:00:00+02:00", 0},
		{"2026-12-01T12:00:00", 0},
		{"", 0},
		{NULL, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (calendar_parse_time(rows[i].text) != rows[i].ns)
			fail_msg("%s: %lld", rows[i].text,
				 (long long)calendar_parse_time(rows[i].text));
	}
}

/* From Wednesday, 2026-11-25 12:00:00 on, in Berlin, where the clock is put forward on 2027-03-28. */
static void test_until(void **state)
{
	static const struct {
		const char *text;
		int result;
		int64_t at_s;
	} rows[] = {
		{"3d", 0, 1795604400 + 3 * 86400},
		{"+90min", 0, 1795604400 + 5400},
		{"18:00", 0, 1795604400 + 6 * 3600},
		{"12:00:01", 0, 1795604401},
		{"today 23:59:59", 0, 1795604400 + 43199},
		{"tomorrow", 0, 1795604400 + 43200},
		{"tomorrow 18:00", 0, 1795604400 + 30 * 3600},
		{"2026-12-24", 0, 1798066800},
		{"2026-12-24 18:00", 0, 1798131600},
		{"2027-04-01", 0, 1806530400},
		{"2026-12-24T18:00:00Z", 0, 1798135200},
		{"12:00", -ERANGE, 0},
		{"today", -ERANGE, 0},
		{"2026-11-25", -ERANGE, 0},
		{"2020-01-01T00:00:00Z", -ERANGE, 0},
		{"", -EINVAL, 0},
		{"3", -EINVAL, 0},
		{"2026", -EINVAL, 0},
		{"-3d", -EINVAL, 0},
		{"24:00", -EINVAL, 0},
		{"18:60", -EINVAL, 0},
		{"18", -EINVAL, 0},
		{"18:00 x", -EINVAL, 0},
		{"2027-02-30", -EINVAL, 0},
		{"2026-12-24 25:00", -EINVAL, 0},
		{"2026-12-24x", -EINVAL, 0},
		{"tomorrows", -EINVAL, 0},
		{"monday", -EINVAL, 0},
	};
	char text[CALENDAR_LOCAL_MAX];
	int64_t at_s;

	setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
	tzset();
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int r = calendar_parse_until(rows[i].text, 1795604400, &at_s);

		if (r != rows[i].result || (r == 0 && at_s != rows[i].at_s))
			fail_msg("%s: %d %lld", rows[i].text, r, (long long)at_s);
	}
	assert_string_equal(calendar_local(1798131600, text), "2026-12-24 18:00");
	unsetenv("TZ");
	tzset();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spans),	   cmocka_unit_test(test_windows),
		cmocka_unit_test(test_no_windows), cmocka_unit_test(test_moments),
		cmocka_unit_test(test_week),	   cmocka_unit_test(test_rfc3339),
		cmocka_unit_test(test_parse_time), cmocka_unit_test(test_until),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
