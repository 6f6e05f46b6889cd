/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "budget.h"
#include "test.h"

#define DAY ((int64_t)86400)

static const struct config limits = {.budget_day = 1000, .budget_month = 5000};

/* Local time of the time zone that main() sets. */
static int64_t at(int year, int month, int day, int hour)
{
	struct tm tm = {.tm_year = year - 1900,
			.tm_mon = month - 1,
			.tm_mday = day,
			.tm_hour = hour,
			.tm_isdst = -1};

	return (int64_t)mktime(&tm);
}

static void expect(const struct budget *b, const char *day, uint64_t day_bytes, const char *month,
		   uint64_t month_bytes)
{
	assert_string_equal(b->day, day);
	assert_string_equal(b->month, month);
	assert_int_equal(b->day_bytes, day_bytes);
	assert_int_equal(b->month_bytes, month_bytes);
}

static bool add(struct budget *b, const char *id, uint64_t bytes, int64_t now_s)
{
	struct traffic t = {.bytes = bytes};

	copy_text(t.id, sizeof(t.id), id);
	return budget_add(b, &t, now_s);
}

static void test_days_and_months(void **state)
{
	struct budget b = {0};
	int64_t t = at(2026, 11, 29, 23);

	assert_true(add(&b, "one", 300, t));
	expect(&b, "2026-11-29", 300, "2026-11", 300);
	assert_false(add(&b, "one", 300, t));
	assert_true(add(&b, "one", 500, t + 1800));
	expect(&b, "2026-11-29", 500, "2026-11", 500);
	assert_true(add(&b, "one", 600, t + 3600));
	expect(&b, "2026-11-30", 100, "2026-11", 600);
	/* A day begins without a byte, too. */
	assert_true(add(&b, "one", 600, t + 3600 + DAY));
	expect(&b, "2026-12-01", 0, "2026-12", 0);
	assert_true(add(&b, "one", 700, at(2027, 1, 1, 0)));
	expect(&b, "2027-01-01", 100, "2027-01", 100);
}

/* The counter lies in memory: after a boot it starts anew under another id. */
static void test_another_counter_counts_whole(void **state)
{
	struct budget b = {0};
	int64_t t = at(2026, 11, 29, 12);

	(void)add(&b, "one", 300, t);
	assert_true(add(&b, "two", 50, t));
	assert_true(add(&b, "two", 70, t));
	/* One that shrank is another one. */
	assert_true(add(&b, "two", 10, t));
	expect(&b, "2026-11-29", 380, "2026-11", 380);
	/* There was no reply yet. */
	assert_false(add(&b, "", 1000, t));
	assert_true(add(&b, "three", 0, t));
	expect(&b, "2026-11-29", 380, "2026-11", 380);
}

static void test_clock(void **state)
{
	struct budget b = {0};
	int64_t t = at(2026, 12, 1, 12);

	/* Bytes from before the clock was set count for the first day that is known. */
	assert_true(add(&b, "a", 100, 0));
	expect(&b, "", 100, "", 100);
	assert_true(add(&b, "a", 150, t));
	expect(&b, "2026-12-01", 150, "2026-12", 150);
	/* A clock that is not set begins no day, and one that steps back gives nothing twice. */
	assert_true(add(&b, "b", 10, 0));
	assert_true(add(&b, "b", 20, t - DAY));
	expect(&b, "2026-12-01", 170, "2026-12", 170);
	assert_false(add(&b, "b", 20, t));
	assert_true(add(&b, "b", 30, t + DAY));
	expect(&b, "2026-12-02", 10, "2026-12", 180);
	/* A day ahead by mistake: its bytes stay until it is over. */
	assert_true(add(&b, "b", 40, t + 3 * DAY));
	assert_false(add(&b, "b", 40, t + 2 * DAY));
	expect(&b, "2026-12-04", 10, "2026-12", 190);
	/* Years ahead by mistake: no update until then would be worse. */
	assert_true(add(&b, "b", 50, at(2037, 3, 1, 0)));
	expect(&b, "2037-03-01", 10, "2037-03", 10);
	assert_true(add(&b, "b", 60, t + 4 * DAY));
	expect(&b, "2026-12-05", 20, "2026-12", 20);
	assert_true(add(&b, "b", 60, t + 5 * DAY));
	expect(&b, "2026-12-06", 0, "2026-12", 20);
	/* A time that no calendar has. */
	assert_false(add(&b, "b", 60, INT64_MAX));
	assert_false(add(&b, "b", 60, -DAY));
}

/* A day of 23 hours and one of 25 end at midnight, and no hour begins one anew. */
static void test_summer_time(void **state)
{
	static const struct {
		int month, day;
		const char *first, *second;
		int hours;
	} rows[] = {{3, 29, "2026-03-29", "2026-03-30", 23},
		    {10, 25, "2026-10-25", "2026-10-26", 25}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int64_t midnight = at(2026, rows[i].month, rows[i].day, 0);
		struct budget b = {0};

		for (int hour = 0; hour < rows[i].hours; hour++)
			(void)add(&b, "a", (uint64_t)hour + 1, midnight + (int64_t)hour * 3600);
		assert_string_equal(b.day, rows[i].first);
		assert_int_equal(b.day_bytes, rows[i].hours);
		(void)add(&b, "a", 100, midnight + (int64_t)rows[i].hours * 3600);
		assert_string_equal(b.day, rows[i].second);
	}
}

static void test_left(void **state)
{
	static const struct {
		uint64_t day, month, left;
		const char *spent;
	} rows[] = {
		{0, 0, 1000, NULL},
		{999, 999, 1, NULL},
		{1000, 1000, 0, "the budget of the day is used up (1.0 kB)"},
		{2000, 4000, 0, "the budget of the day is used up (1.0 kB)"},
		{0, 4900, 100, NULL},
		{0, 5000, 0, "the budget of the month is used up (5.0 kB)"},
		{1000, UINT64_MAX, 0, "the budget of the month is used up (5.0 kB)"},
	};
	char buf[100];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct budget b = {.day_bytes = rows[i].day, .month_bytes = rows[i].month};
		const char *spent = budget_spent(&b, &limits, buf, sizeof(buf));

		assert_int_equal(budget_left(&b, &limits), rows[i].left);
		assert_true(!spent == !rows[i].spent);
		if (spent)
			assert_string_equal(spent, rows[i].spent);
		assert_true(budget_left(&b, &(struct config){0}) == UINT64_MAX);
		assert_null(budget_spent(&b, &(struct config){0}, buf, sizeof(buf)));
	}
}

static void test_sums_do_not_overflow(void **state)
{
	struct budget b = {0}, read;
	_cleanup_json_ json_t *j = NULL;
	struct error e;

	(void)add(&b, "a", UINT64_MAX, 0);
	(void)add(&b, "b", 1000, 0);
	assert_int_equal(budget_left(&b, &limits), 0);
	b.counter = 5;
	j = budget_to_json(&b);
	assert_int_equal(budget_from_json(j, &read, &e), 0);
	assert_memory_equal(&read, &b, sizeof(b));
}

static void test_files(void **state)
{
	static const char *const broken[] = {
		"[]",
		"{}",
		"{\"id\":\"a\",\"counter\":-1,\"day\":\"\",\"month\":\"\",\"day_bytes\":0,\"month_"
		"bytes\":0}",
		"{\"id\":\"a\",\"counter\":1,\"day\":\"\",\"month\":\"\",\"day_bytes\":-5,\"month_"
		"bytes\":0}",
		"{\"id\":\"a\",\"counter\":1,\"day\":\"\",\"month\":\"\",\"day_bytes\":0,\"month_"
		"bytes\":1.5}",
		"{\"id\":\"a\",\"counter\":1,\"day\":\"today\",\"month\":\"\",\"day_bytes\":0,"
		"\"month_bytes\":0}",
		"{\"id\":\"a\",\"counter\":1,\"day\":\"2026-12-01\",\"month\":\"2026-12-01\",\"day_"
		"bytes\":0,"
		"\"month_bytes\":0}",
		"{\"id\":\"0123456789012345678901234567890123456789\",\"counter\":1,\"day\":\"\","
		"\"month\":\"\","
		"\"day_bytes\":0,\"month_bytes\":0}",
	};
	int64_t t = at(2026, 12, 1, 12);
	struct budget b = {0}, read;
	_cleanup_json_ json_t *good = NULL;
	struct error e;

	(void)add(&b, "one", 300, t);
	good = budget_to_json(&b);
	assert_int_equal(budget_from_json(good, &read, &e), 0);
	assert_memory_equal(&read, &b, sizeof(b));
	for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
		_cleanup_json_ json_t *j = json_loads(broken[i], 0, NULL);

		assert_non_null(j);
		assert_int_equal(budget_from_json(j, &read, &e), -EBADMSG);
		/* Nothing more comes today, and tomorrow all is well again. */
		(void)add(&read, "one", 300, t);
		assert_int_equal(budget_left(&read, &limits), 0);
		(void)add(&read, "one", 300, t + DAY);
		assert_int_equal(budget_left(&read, &limits), 1000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_days_and_months),
		cmocka_unit_test(test_another_counter_counts_whole),
		cmocka_unit_test(test_clock),
		cmocka_unit_test(test_summer_time),
		cmocka_unit_test(test_left),
		cmocka_unit_test(test_sums_do_not_overflow),
		cmocka_unit_test(test_files),
	};

	assert_int_equal(setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1), 0);
	tzset();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
