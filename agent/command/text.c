/* SPDX-License-Identifier: MIT */
#include "text.h"

#include <stdio.h>
#include <wchar.h>

#define ELLIPSIS "\xe2\x80\xa6"

/* One character of s: its bytes, and its columns; what is not printable takes one, as '?'. */
struct glyph {
	size_t bytes, columns;
	bool printable;
};

static struct glyph next_glyph(const char *s)
{
	mbstate_t state = {0};
	wchar_t c;
	size_t n = mbrtowc(&c, s, strlen(s), &state);
	int columns;

	if (n == 0 || n > strlen(s))
		return (struct glyph){1, 1, false};
	columns = wcwidth(c);
	return columns < 0 ? (struct glyph){n, 1, false} : (struct glyph){n, (size_t)columns, true};
}

size_t text_columns(const char *s)
{
	size_t columns = 0;

	while (*s) {
		struct glyph g = next_glyph(s);

		columns += g.columns;
		s += g.bytes;
	}
	return columns;
}

/* How many bytes of s fit into so many columns. */
static size_t bytes_that_fit(const char *s, size_t columns)
{
	size_t bytes = 0;

	while (s[bytes]) {
		struct glyph g = next_glyph(s + bytes);

		if (g.columns > columns)
			break;
		columns -= g.columns;
		bytes += g.bytes;
	}
	return bytes;
}

static char *append_printable(char *to, const char *s, size_t bytes)
{
	for (size_t i = 0; i < bytes;) {
		struct glyph g = next_glyph(s + i);

		if (g.printable)
			memcpy(to, s + i, g.bytes);
		else
			*to = '?';
		to += g.printable ? g.bytes : 1;
		i += g.bytes;
	}
	*to = '\0';
	return to;
}

char *text_cut(const char *s, size_t columns)
{
	char *cut = xmalloc(strlen(s) + sizeof(ELLIPSIS));
	size_t whole = strlen(s);

	if (columns == 0)
		*cut = '\0';
	else if (bytes_that_fit(s, columns) == whole)
		append_printable(cut, s, whole);
	else
		strcpy(append_printable(cut, s, bytes_that_fit(s, columns - 1)), ELLIPSIS);
	return cut;
}

char *text_fit(const char *s, size_t columns)
{
	_cleanup_free_ char *cut = text_cut(s, columns);

	return xasprintf("%s%*s", cut, (int)(columns - text_columns(cut)), "");
}

/* Where to break what does not fit: behind the last blank, else in the midst of a word. */
static size_t line_end(const char *s, size_t columns)
{
	size_t fits = bytes_that_fit(s, columns), end = fits;

	if (!s[fits] || s[fits] == ' ')
		return fits;
	while (end > 0 && s[end - 1] != ' ')
		end--;
	if (end == 0)
		end = fits;
	return end ? end : next_glyph(s).bytes;
}

char *text_wrap(const char *s, size_t columns, size_t indent)
{
	char *all = xstrdup("");

	while (*s) {
		size_t n = line_end(s, *all && columns > indent ? columns - indent : columns);
		_cleanup_free_ char *line = xmalloc(n + 1), *before = all;
		size_t shown = n;

		while (shown > 0 && s[shown - 1] == ' ')
			shown--;
		append_printable(line, s, shown);
		all = *before ? xasprintf("%s\n%*s%s", before, (int)indent, "", line)
			      : xstrdup(line);
		s += n;
		s += strspn(s, " ");
	}
	return all;
}

char *text_bytes(uint64_t n)
{
	static const char units[][3] = {"kB", "MB", "GB", "TB", "PB"};
	double v = (double)n / 1000;
	size_t i = 0;

	if (n < 1000)
		return xasprintf("%u B", (unsigned int)n);
	while (v >= 999.95 && i + 1 < ARRAY_SIZE(units)) {
		v /= 1000;
		i++;
	}
	return xasprintf("%.1f %s", v, units[i]);
}
