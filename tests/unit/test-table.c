/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <locale.h>

#include "table.h"
#include "text.h"

static struct table example(const char *name, const char *note)
{
	struct table t = {.n_columns = 3};

	table_add(&t, (const char *const[]){"NAME", "STATE", "NEXT"}, TINT_NONE);
	table_add(&t, (const char *const[]){name, "held", "12:00"}, TINT_WAIT);
	if (note)
		table_add_note(&t, note, TINT_BAD);
	return t;
}

static void expect(const char *name, const char *note, size_t width, bool colours,
		   const char *expected)
{
	struct table t = example(name, note);
	_cleanup_free_ char *text = table_text(&t, width, colours);

	assert_string_equal(text, expected);
	table_free(&t);
}

static void test_cells(void **state)
{
	(void)state;
	expect("hello", NULL, 80, false, "NAME   STATE  NEXT\nhello  held   12:00\n");
	expect("hello", "why: x", 80, false, "NAME   STATE  NEXT\nhello  held   12:00\n  why: x\n");
	/* Colours take no columns; only the state and the note have them. */
	expect("hello", "why: x", 80, true,
	       "NAME   STATE  NEXT\nhello  \033[33mheld \033[0m  12:00\n"
	       "  \033[31mwhy: x\033[0m\n");
	/* The widest one gives way; the last has no blanks behind. */
	expect("helloworld", "0123456789012345678", 20, false,
	       "NAME    STATE  NEXT\nhello\xe2\x80\xa6  held   12:00\n  "
	       "01234567890123456\xe2\x80\xa6\n");
}

static void test_fits_whatever_the_lengths(void **state)
{
	char name[300];

	(void)state;
	for (size_t n = 0; n < sizeof(name); n++) {
		memset(name, 'x', n);
		name[n] = '\0';
		for (size_t width = 10; width < 120; width += 7) {
			struct table t = example(name, name);
			_cleanup_free_ char *text = table_text(&t, width, false);
			char *rest = text;

			for (char *line = strsep(&rest, "\n"); rest; line = strsep(&rest, "\n"))
				assert_true(text_columns(line) <= width);
			table_free(&t);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cells),
		cmocka_unit_test(test_fits_whatever_the_lengths),
	};

	(void)setlocale(LC_CTYPE, "C.UTF-8");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
