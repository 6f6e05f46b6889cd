/* SPDX-License-Identifier: MIT */
#include "schedule.h"
#include "test.h"

#define DEVICES	  1000
#define INTERVALS 10
#define INTERVAL  ((uint64_t)15 * 60 * 1000)

static const unsigned int jitters[] = {0, 1, 10, 33, 50, 99, 100};
static const uint64_t intervals[] = {1, 2, 7, 1000, INTERVAL, (uint64_t)10 * 365 * 86400 * 1000};
static const uint64_t devices[] = {0, 1, 2, 0x8000000000000000, UINT64_MAX};

/* Small, and the same everywhere. */
static uint64_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return *state >> 16;
}

/* Polls follow each other at most an interval and its jitter apart, strictly upwards. */
static void test_bounds(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(intervals); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(jitters); j++) {
			for (size_t d = 0; d < ARRAY_SIZE(devices); d++) {
				uint64_t spread = intervals[i] * jitters[j] / 100, now = 0;

				for (int n = 0; n < 200; n++) {
					uint64_t due = schedule_next_poll(now, intervals[i],
									  jitters[j], devices[d]);

					assert_true(due > now);
					assert_true(due - now <= intervals[i] + spread + 1);
					/* The first may come at once, wherever the device stands. */
					if (n > 0)
						assert_true(due - now + spread + 1 >= intervals[i]);
					now = due;
				}
			}
		}
	}
}

/* Whoever asks again before the poll is due (a reload, a poll by hand) is told the same. */
static void test_asked_again(void **state)
{
	uint64_t random = 1;

	for (size_t j = 0; j < ARRAY_SIZE(jitters); j++) {
		for (uint64_t device = 0; device < 200; device++) {
			uint64_t now = next_random(&random) % (20 * INTERVAL);
			uint64_t due = schedule_next_poll(now, INTERVAL, jitters[j], device);

			for (int n = 0; n < 20; n++) {
				uint64_t again = now + next_random(&random) % (due - now);

				assert_true(schedule_next_poll(again, INTERVAL, jitters[j],
							       device) == due);
			}
			assert_true(schedule_next_poll(due - 1, INTERVAL, jitters[j], device) ==
				    due);
			assert_true(schedule_next_poll(due, INTERVAL, jitters[j], device) > due);
		}
	}
}

/* Without jitter each poll is an interval behind the one before; with it, most are not. */
static void test_jitter_moves(void **state)
{
	for (size_t j = 0; j < ARRAY_SIZE(jitters); j++) {
		uint64_t spread = INTERVAL * jitters[j] / 100, at = 5 * INTERVAL;
		uint64_t least = UINT64_MAX, most = 0;

		at = schedule_next_poll(at, INTERVAL, jitters[j], 77);
		for (int n = 0; n < 1000; n++) {
			uint64_t due = schedule_next_poll(at, INTERVAL, jitters[j], 77);
			/* Half of it early, half of it late, about the place it has without. */
			uint64_t place = schedule_next_poll(due - spread / 2 - 1, INTERVAL, 0, 77);

			assert_true(place <= due + spread / 2 + 1);
			least = due - at < least ? due - at : least;
			most = due - at > most ? due - at : most;
			at = due;
		}
		assert_true(most - least >= spread && most - least <= 2 * spread);
	}
}

static int compare(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* A town that boots in one moment: over ten intervals no tenth of an interval, wherever it begins,
 * sees more than 1.5 times the mean; and nobody is forgotten. */
static void fleet(uint64_t boot, unsigned int jitter, uint64_t first_device, uint64_t step)
{
	static uint64_t polls[DEVICES * (INTERVALS + 2)];
	size_t n = 0, left = 0;

	for (uint64_t i = 0; i < DEVICES; i++) {
		uint64_t at = boot, device = first_device + i * step;
		size_t before = n;

		for (;;) {
			at = schedule_next_poll(at, INTERVAL, jitter, device);
			if (at >= boot + INTERVALS * INTERVAL)
				break;
			assert_true(n < ARRAY_SIZE(polls));
			polls[n++] = at;
		}
		assert_in_range(n - before, INTERVALS - 1, INTERVALS + 1);
	}
	qsort(polls, n, sizeof(polls[0]), compare);
	for (size_t right = 0; right < n; right++) {
		while (polls[right] - polls[left] >= INTERVAL / 10)
			left++;
		assert_in_range(right - left + 1, 1, DEVICES / 10 * 3 / 2);
	}
}

static void test_fleet(void **state)
{
	static const uint64_t boots[] = {0, 30000, INTERVAL / 2, INTERVAL, 123456789};

	for (size_t b = 0; b < ARRAY_SIZE(boots); b++) {
		for (size_t j = 0; j < ARRAY_SIZE(jitters); j++) {
			fleet(boots[b], jitters[j], 0, 1); /* neighbouring numbers */
			fleet(boots[b], jitters[j], 0xfeedface, 0x9e3779b97f4a7c15);
			fleet(boots[b], jitters[j], 0,
			      INTERVAL); /* all alike modulo the interval */
		}
	}
}

/* The registry is gone from the moment in which the town boots, or for some intervals in between: who asks
 * in vain and who asks again when it is back comes no closer together. */
static void outage(uint64_t boot, unsigned int jitter, unsigned int from, unsigned int to)
{
	static uint64_t polls[DEVICES * (INTERVALS + 2)];
	size_t n = 0, left = 0;

	for (uint64_t device = 0; device < DEVICES; device++) {
		uint64_t at = boot;
		unsigned int failures = 0;

		for (;;) {
			at = schedule_retry_poll(at, failures, INTERVAL, jitter, device);
			if (at >= boot + INTERVALS * INTERVAL)
				break;
			polls[n++] = at;
			failures = at >= boot + from * INTERVAL && at < boot + to * INTERVAL
					   ? failures + 1
					   : 0;
		}
	}
	qsort(polls, n, sizeof(polls[0]), compare);
	for (size_t right = 0; right < n; right++) {
		while (polls[right] - polls[left] >= INTERVAL / 10)
			left++;
		assert_in_range(right - left + 1, 1, DEVICES / 10 * 3 / 2);
	}
}

static void test_outage(void **state)
{
	for (size_t j = 0; j < ARRAY_SIZE(jitters); j++) {
		outage(30000, jitters[j], 0, 4);
		outage(30000, jitters[j], 2, 3);
		outage(30000, jitters[j], 1, 9);
	}
}

static void test_retry_poll(void **state)
{
	static const unsigned int left_out[] = {0, 0, 1, 2, 3, 3};

	for (unsigned int i = 0; i < ARRAY_SIZE(left_out); i++)
		assert_true(schedule_retry_poll(12345, i, INTERVAL, 10, 7) ==
			    schedule_next_poll(12345 + left_out[i] * INTERVAL, INTERVAL, 10, 7));
	assert_true(schedule_retry_poll(12345, UINT32_MAX, INTERVAL, 10, 7) ==
		    schedule_next_poll(12345 + 3 * INTERVAL, INTERVAL, 10, 7));
}

/* Doubling up to the interval, about that for each device, and not the same for all. */
static void test_backoff(void **state)
{
	static const struct {
		unsigned int failures;
		uint64_t interval, wait;
	} rows[] = {
		{1, 60000, 5000},  {2, 60000, 10000},
		{3, 60000, 20000}, {4, 60000, 40000},
		{5, 60000, 60000}, {6, 60000, 60000},
		{1, 3000, 3000},   {UINT32_MAX, 60000, 60000},
		{2, 10000, 10000}, {UINT32_MAX, 315360000000, 315360000000},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t least = UINT64_MAX, most = 0, sum = 0;

		for (uint64_t device = 0; device < DEVICES; device++) {
			uint64_t wait =
				schedule_backoff(rows[i].failures, rows[i].interval, device);

			least = wait < least ? wait : least;
			most = wait > most ? wait : most;
			sum += wait / 1000;
		}
		assert_true(least >= rows[i].wait / 2 && most <= rows[i].wait * 3 / 2 + 1);
		assert_true(most - least > rows[i].wait * 9 / 10);
		assert_true(sum > rows[i].wait / 1000 * DEVICES * 19 / 20 - DEVICES &&
			    sum < rows[i].wait / 1000 * DEVICES * 21 / 20 + DEVICES);
	}
}

static void test_gate(void **state)
{
	static struct window windows[] = {{0x01, 120, 240}, {0x7f, 300, 360}};
	static const struct {
		size_t windows;
		int hour;
		bool open;
	} rows[] = {
		{0, 12, true}, {1, 3, true}, {1, 5, false},
		{2, 5, true},  {2, 3, true}, {2, 4, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct container_config c = {.windows = {windows, rows[i].windows}};
		struct tm monday = {.tm_wday = 1, .tm_hour = rows[i].hour};

		assert_int_equal(schedule_is_open(&c.windows, &monday), rows[i].open);
		/* Without a clock only who needs none. */
		assert_int_equal(schedule_is_open(&c.windows, NULL), rows[i].windows == 0);
	}
}

/* When the next window opens, on a Monday at that hour. */
static void test_a_closed_window_says_when_it_opens(void **state)
{
	static struct window windows[] = {
		{0x01, 120, 240}, {0x7f, 300, 360}, {0x40, 1380, 60}, {0x03, 600, 600}};
	static const struct {
		size_t first, n;
		int hour, minute;
		const char *opens;
	} rows[] = {
		{0, 1, 1, 59, "Mon 02:00"}, {0, 1, 4, 0, "Mon 02:00"}, /* in a week */
		{0, 2, 4, 0, "Mon 05:00"},  {1, 1, 6, 0, "Tue 05:00"}, {2, 1, 12, 0, "Sun 23:00"},
		{2, 2, 9, 59, "Mon 10:00"}, {0, 4, 6, 0, "Mon 10:00"}, {1, 1, 23, 59, "Tue 05:00"},
	};
	char said[200], expected[200];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct window_list l = {windows + rows[i].first, rows[i].n};
		struct tm monday = {
			.tm_wday = 1, .tm_hour = rows[i].hour, .tm_min = rows[i].minute};

		assert_false(schedule_is_open(&l, &monday));
		schedule_explain(&l, &monday, "window", "web", said, sizeof(said));
		(void)snprintf(expected, sizeof(expected),
			       "outside its window: opens %s; pullet update --now web takes it now",
			       rows[i].opens);
		assert_string_equal(said, expected);
		schedule_explain(&l, NULL, "download-window", "web", said, sizeof(said));
		assert_string_equal(said,
				    "the clock is not set, and download-window depends on it");
	}
}

static void test_an_opening_within_a_day_needs_no_weekday(void **state)
{
	static struct window windows[] = {{0x01, 120, 240}, {0x7f, 300, 360}};
	static const struct {
		size_t first;
		int hour, minute;
		const char *opens;
	} rows[] = {{0, 1, 59, "02:00"},
		    {0, 4, 0, "Mon 02:00"},
		    {1, 6, 0, "05:00"},
		    {1, 4, 59, "05:00"}};
	char said[CALENDAR_OPENING_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct tm monday = {
			.tm_wday = 1, .tm_hour = rows[i].hour, .tm_min = rows[i].minute};

		schedule_opens(&(struct window_list){windows + rows[i].first, 1}, &monday, said);
		assert_string_equal(said, rows[i].opens);
	}
}

#define MINUTE ((uint64_t)60 * 1000)

static void test_windows_that_meet_close_together(void **state)
{
	static struct window windows[] = {
		{0x01, 120, 240},  /* Mon 02:00-04:00 */
		{0x01, 240, 300},  /* Mon 04:00-05:00 */
		{0x01, 280, 400},  /* Mon 04:40-06:40 */
		{0x7f, 1320, 360}, /* 22:00-06:00 */
		{0x7f, 0, 1440},   /* 00:00-24:00 */
		{0x40, 600, 600},  /* Sun 10:00 for a day */
	};
	static const struct {
		size_t first, n;
		int wday, hour, minute, second;
		uint64_t ms;
	} rows[] = {
		{0, 0, 1, 3, 0, 0, UINT64_MAX},
		{0, 1, 1, 2, 0, 0, 120 * MINUTE},
		{0, 1, 1, 3, 59, 59, 1000},
		{0, 1, 1, 4, 0, 0, 0},
		{0, 1, 1, 3, 59, 60, 0}, /* a leap second */
		{0, 2, 1, 3, 0, 30, 120 * MINUTE - 30000},
		{0, 3, 1, 2, 0, 0, 280 * MINUTE},
		{3, 1, 6, 23, 0, 0, 420 * MINUTE}, /* past the end of a week of struct tm */
		{4, 1, 3, 12, 0, 0, UINT64_MAX},
		{5, 1, 0, 10, 0, 0, 1440 * MINUTE},
		{5, 1, 1, 9, 59, 0, MINUTE},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct window_list l = {windows + rows[i].first, rows[i].n};
		struct tm at = {.tm_wday = rows[i].wday,
				.tm_hour = rows[i].hour,
				.tm_min = rows[i].minute,
				.tm_sec = rows[i].second};

		assert_true(schedule_closes_ms(&l, &at) == rows[i].ms);
		/* Without a clock no window is open. */
		assert_true(schedule_closes_ms(&l, NULL) == (rows[i].n ? 0 : UINT64_MAX));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_asked_again),
		cmocka_unit_test(test_jitter_moves),
		cmocka_unit_test(test_fleet),
		cmocka_unit_test(test_backoff),
		cmocka_unit_test(test_outage),
		cmocka_unit_test(test_retry_poll),
		cmocka_unit_test(test_gate),
		cmocka_unit_test(test_a_closed_window_says_when_it_opens),
		cmocka_unit_test(test_an_opening_within_a_day_needs_no_weekday),
		cmocka_unit_test(test_windows_that_meet_close_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
