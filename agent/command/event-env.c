/* SPDX-License-Identifier: MIT */
#include "event-env.h"

#include <ctype.h>
#include <stdio.h>

/* systemd removes a backslash in quotes before these. The line ends between lines are ours: no other control character
 * gets through. */
static void put_text(FILE *f, const char *text)
{
	_cleanup_free_ char *safe = text_printable(xstrdup(text ? text : ""));

	for (const char *c = safe; *c; c++) {
		if (strchr("\"\\`$", *c))
			(void)fputc('\\', f);
		(void)fputc(*c, f);
	}
}

char *event_environment(json_t *event)
{
	const char *key;
	const json_t *value, *line;
	char *text = NULL;
	size_t len, i;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		abort();
	json_object_foreach (event, key, value) {
		if (strspn(key, LOWER) != strlen(key))
			continue;
		(void)fputs("PULLET_", f);
		for (const char *c = key; *c; c++)
			(void)fputc(toupper((unsigned char)*c), f);
		(void)fputs("=\"", f);
		put_text(f, json_string_value(value));
		json_array_foreach (value, i, line) {
			(void)fputs(i ? "\n" : "", f);
			put_text(f, json_string_value(line));
		}
		(void)fputs("\"\n", f);
	}
	if (fclose(f) < 0)
		abort();
	return text;
}
