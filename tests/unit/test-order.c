/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "order.h"
#include "test.h"

#define NODES_MAX 8

/* d: "31 20": 3 comes after 1, and 2 after 0. */
static size_t read_dependencies(const char *text, struct dependency *ret)
{
	size_t n = 0;

	for (; *text; text += text[2] ? 3 : 2)
		ret[n++] = (struct dependency){(size_t)(text[0] - '0'), (size_t)(text[1] - '0')};
	return n;
}

static const struct {
	size_t n;
	const char *after, *sorted, *circle; /* sorted: NULL if there is a circle */
} rows[] = {
	{0, "", "", NULL},
	{4, "", "0123", NULL},
	{4, "01", "1023", NULL}, /* no more is moved than must be */
	{4, "10 21 32", "0123", NULL},
	{4, "01 12 23", "3210", NULL},
	{4, "03 03 13", "3012", NULL}, /* twice the same */
	{5, "01 02 13 23 34", "43120", NULL},
	{3, "02 12", "201", NULL},
	{1, "00", NULL, "00"},
	{4, "01 12 20", NULL, "0120"},
	{5, "01 12 23 31", NULL, "1231"}, /* 0 is not of it */
	{5, "40 04", NULL, "040"},
};

static void test_sort(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct dependency d[16];
		size_t n_d = read_dependencies(rows[i].after, d), order[NODES_MAX + 1],
		       n_circle = 0;
		char text[NODES_MAX + 2] = "";
		int r = order_sort(rows[i].n, d, n_d, order, &n_circle);

		for (size_t j = 0; j < (r < 0 ? n_circle : rows[i].n); j++)
			text[j] = (char)('0' + order[j]);
		assert_int_equal(r, rows[i].sorted ? 0 : -ELOOP);
		assert_string_equal(text, rows[i].sorted ? rows[i].sorted : rows[i].circle);
	}
}

/* Whatever is sorted comes after all that it comes after, also where a chain is as long as a configuration may be. */
static void test_long_chain(void **state)
{
	static struct dependency d[1023];
	static size_t order[1025];
	static bool before[1024];
	size_t n_circle;

	for (size_t i = 0; i < ARRAY_SIZE(d); i++)
		d[i] = (struct dependency){i, i + 1};
	assert_int_equal(order_sort(1024, d, ARRAY_SIZE(d), order, &n_circle), 0);
	for (size_t i = 0; i < 1024; i++)
		assert_int_equal(order[i], 1023 - i);
	order_find_before(1000, d, ARRAY_SIZE(d), before);
	for (size_t i = 0; i < 1024; i++)
		assert_int_equal(before[i], i > 1000);
}

static void test_before(void **state)
{
	struct dependency d[16];
	size_t n = read_dependencies("01 12 34 14", d);
	bool before[5] = {0};

	order_find_before(0, d, n, before);
	assert_true(!before[0] && before[1] && before[2] && !before[3] && before[4]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sort),
		cmocka_unit_test(test_long_chain),
		cmocka_unit_test(test_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
