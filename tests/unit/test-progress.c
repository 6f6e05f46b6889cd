/* SPDX-License-Identifier: MIT */
#include "progress.h"
#include "test.h"

#define MB ((uint64_t)1000 * 1000)

static void expect_bar(const struct progress *p, const char *name, size_t width,
		       const char *expected)
{
	_cleanup_free_ char *bar = progress_bar(p, name, width);

	assert_string_equal(bar, expected);
	assert_true(strlen(bar) <= width);
}

static void test_bar(void **state)
{
	struct progress p = {0};

	progress_note(&p, 0, 20 * MB, 1000);
	expect_bar(
		&p, "app", 80,
		"app  [......................................]    0%  0 B of 20.0 MB  0 B/s  -:--");
	progress_note(&p, 5 * MB, 20 * MB, 6000);
	expect_bar(
		&p, "app", 79,
		"app  [#######........................]   25%  5.0 MB of 20.0 MB  1.0 MB/s  0:15");
	/* Narrower: the bar goes first, then the name, then what cannot stand. */
	expect_bar(&p, "app", 50, "app   25%  5.0 MB of 20.0 MB  1.0 MB/s  0:15");
	expect_bar(&p, "application", 46, "appli   25%  5.0 MB of 20.0 MB  1.0 MB/s  0:15");
	expect_bar(&p, "app", 20, " 25%  5.0 MB of 20.0");
	progress_note(&p, 20 * MB, 20 * MB, 21000);
	expect_bar(&p, "app", 60, "app  [###########]  100%  20.0 MB of 20.0 MB  1.0 MB/s  0:00");
}

static void test_fits_whatever_the_numbers(void **state)
{
	static const uint64_t numbers[] = {0, 1, 999, 12345, 99 * MB, UINT64_MAX / 2, UINT64_MAX};

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		for (size_t k = 0; k < ARRAY_SIZE(numbers); k++) {
			for (size_t width = 1; width < 130; width++) {
				struct progress p = {0};
				_cleanup_free_ char *bar = NULL;

				progress_note(&p, 0, numbers[k], 0);
				progress_note(&p, numbers[i], numbers[k], 1000);
				bar = progress_bar(&p, "a-long-name-of-a-container", width);
				assert_true(strlen(bar) <= width);
			}
		}
	}
}

static void test_rate_follows_the_link(void **state)
{
	struct progress p = {0};
	uint64_t t = 0, bytes = 0;

	progress_note(&p, 0, 1000 * MB, t);
	for (int i = 0; i < 100; i++)
		progress_note(&p, bytes += MB / 10, 1000 * MB, t += 100);
	assert_true(p.rate > 0.99e6 && p.rate < 1.01e6);
	/* A stall is believed slowly, and in the end. */
	progress_note(&p, bytes, 1000 * MB, t += 1000);
	assert_true(p.rate > 0.8e6 && p.rate < 0.9e6);
	for (int i = 0; i < 60; i++)
		progress_note(&p, bytes, 1000 * MB, t += 1000);
	assert_true(p.rate < 1000);
	/* The next image is another one. */
	progress_note(&p, 5, 100, t += 1000);
	assert_true(p.rate == 0 && p.bytes == 5 && p.total == 100);
	/* A total that is not known yet is never less than what is here. */
	progress_note(&p, 500, 100, t += 1000);
	assert_true(p.total == 500);
}

static void test_lines_now_and_then(void **state)
{
	struct progress p = {0};
	unsigned int lines = 0;

	for (uint64_t t = 0; t <= 60000; t += 250) {
		_cleanup_free_ char *line = NULL;

		progress_note(&p, t * 1000, 7200 * MB, t);
		line = progress_line(&p, "app", t);
		lines += line != NULL;
		if (line && lines == 2)
			assert_string_equal(line, "app: 10.2 MB of 7.2 GB (0%), 1.0 MB/s, "
						  "1:59:50 to go");
	}
	assert_int_equal(lines, 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bar),
		cmocka_unit_test(test_fits_whatever_the_numbers),
		cmocka_unit_test(test_rate_follows_the_link),
		cmocka_unit_test(test_lines_now_and_then),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
