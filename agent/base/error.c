/* SPDX-License-Identifier: MIT */
#include "error.h"

#include <stdarg.h>
#include <stdio.h>

int error_set(struct error *e, int code, const char *fmt, ...)
{
	va_list ap;

	e->code = code;
	e->origin = ERROR_OTHER;
	va_start(ap, fmt);
	(void)vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	/* These texts end in journals, terminals and JSON, cut at any byte. */
	text_printable(e->text);
	return code;
}

void error_append(struct error *e, const char *fmt, ...)
{
	_cleanup_free_ char *first = xstrdup(e->text);
	_cleanup_free_ char *rest = NULL;
	enum error_origin origin = e->origin;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&rest, fmt, ap) < 0)
		abort();
	va_end(ap);
	(void)error_set(e, e->code, "%s; %s", first, rest);
	e->origin = origin;
}

int error_prefix(struct error *e, const char *fmt, ...)
{
	_cleanup_free_ char *rest = xstrdup(e->text);
	_cleanup_free_ char *prefix = NULL;
	enum error_origin origin = e->origin;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&prefix, fmt, ap) < 0)
		abort();
	va_end(ap);
	(void)error_set(e, e->code, "%s: %s", prefix, rest);
	e->origin = origin;
	return e->code;
}
