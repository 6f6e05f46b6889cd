/* SPDX-License-Identifier: MIT */
#include "error.h"

#include <stdarg.h>
#include <stdio.h>

int error_set(struct error *e, int code, const char *fmt, ...)
{
	va_list ap;

	e->code = code;
	va_start(ap, fmt);
	(void)vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	/* Plain ASCII: these texts end in journals, terminals and JSON, cut at any byte. */
	for (char *s = e->text; *s; s++) {
		if ((unsigned char)*s < 0x20 || (unsigned char)*s >= 0x7f)
			*s = '?';
	}
	return code;
}

int error_prefix(struct error *e, const char *fmt, ...)
{
	_cleanup_free_ char *rest = xstrdup(e->text);
	_cleanup_free_ char *prefix = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&prefix, fmt, ap) < 0)
		abort();
	va_end(ap);
	return error_set(e, e->code, "%s: %s", prefix, rest);
}
