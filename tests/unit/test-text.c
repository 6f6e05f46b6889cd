/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <locale.h>
#include <stdio.h>

#include "text.h"

#define DOTS "\xe2\x80\xa6"

static const struct {
	const char *text;
	size_t columns; /* it takes */
	size_t width;
	const char *cut;
} cuts[] = {
	{"", 0, 5, ""},
	{"hello", 5, 5, "hello"},
	{"hello", 5, 4, "hel" DOTS},
	{"hello", 5, 1, DOTS},
	{"hello", 5, 0, ""},
	{"gr\xc3\xbc\xc3\x9f"
	 "e",
	 5, 5,
	 "gr\xc3\xbc\xc3\x9f"
	 "e"},
	{"gr\xc3\xbc\xc3\x9f"
	 "e",
	 5, 4, "gr\xc3\xbc" DOTS},
	/* Two columns a character: one more would stand over. */
	{"\xe6\xbc\xa2\xe5\xad\x97", 4, 4, "\xe6\xbc\xa2\xe5\xad\x97"},
	{"\xe6\xbc\xa2\xe5\xad\x97", 4, 3, "\xe6\xbc\xa2" DOTS},
	{"\xe6\xbc\xa2\xe5\xad\x97", 4, 2, DOTS},
	/* A combining accent goes with its letter. */
	{"e\xcc\x81x", 2, 2, "e\xcc\x81x"},
	/* What could steer a terminal, and what is no UTF-8. */
	{"a\033[31mb\n", 8, 8, "a?[31mb?"},
	{"a\xc3", 2, 2, "a?"},
	{"\xff\xfe", 2, 2, "??"},
	{"\xff\xfe\xfd", 3, 2, "?" DOTS},
	{"\xc2\x9b"
	 "31m",
	 4, 4, "?31m"}, /* CSI in one character */
};

static void test_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cuts); i++) {
		_cleanup_free_ char *cut = text_cut(cuts[i].text, cuts[i].width);
		_cleanup_free_ char *fit = text_fit(cuts[i].text, cuts[i].width);

		assert_int_equal(text_columns(cuts[i].text), cuts[i].columns);
		assert_string_equal(cut, cuts[i].cut);
		assert_int_equal(text_columns(fit), cuts[i].width);
		assert_non_null(after_prefix(fit, cut));
	}
}

static const struct {
	const char *text;
	size_t columns, indent;
	const char *wrapped;
} wraps[] = {
	{"", 10, 2, ""},
	{"one two", 10, 2, "one two"},
	{"one two three", 7, 0, "one two\nthree"},
	{"one two three", 8, 2, "one two\n  three"},
	{"one twothreefour five", 6, 0, "one\ntwothr\neefour\nfive"},
	{"abcdefgh", 4, 2, "abcd\n  ef\n  gh"},
	{"a   b", 1, 0, "a\nb"},
	{"a\nb", 9, 0, "a?b"},
};

static void test_wrap(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wraps); i++) {
		_cleanup_free_ char *s =
			text_wrap(wraps[i].text, wraps[i].columns, wraps[i].indent);

		assert_string_equal(s, wraps[i].wrapped);
	}
}

static void test_bytes(void **state)
{
	static const struct {
		uint64_t n;
		const char *text;
	} rows[] = {
		{0, "0 B"},
		{999, "999 B"},
		{1000, "1.0 kB"},
		{1234567, "1.2 MB"},
		{999949, "999.9 kB"},
		{999950, "1.0 MB"},
		{45600000000, "45.6 GB"},
		{UINT64_MAX, "18446.7 PB"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *s = text_bytes(rows[i].n);

		assert_string_equal(s, rows[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_wrap),
		cmocka_unit_test(test_bytes),
	};

	(void)setlocale(LC_CTYPE, "C.UTF-8");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
