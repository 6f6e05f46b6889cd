/* SPDX-License-Identifier: MIT */
#include "text.h"

#include <stdio.h>

char *text_printable(const char *s)
{
	char *copy = xstrdup(s);

	for (char *p = copy; *p; p++) {
		if (*p < 0x20 || *p >= 0x7f)
			*p = '?';
	}
	return copy;
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
