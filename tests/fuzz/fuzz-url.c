/* SPDX-License-Identifier: MIT */
/* A Location header as the answer of a URL. An input is the URL on a line, and the header. */
#include "url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* No other parser reads the text as another URL. */
static void check_text(const struct url *u)
{
	_cleanup_free_ char *text = url_text(u), *again = NULL;
	struct url v;

	if (strpbrk(text, " #\\\r\n\t") || strpbrk(u->host, "/?#@\\ "))
		abort();
	if (strlen(text) > URL_MAX)
		return;
	if (url_parse(text, &v) < 0 || !url_same_origin(u, &v))
		abort();
	again = url_text(&v);
	if (!streq(text, again))
		abort();
	url_free(&v);
}

static void resolve(const struct url *base, const char *location)
{
	struct url u, absolute;

	if (url_resolve(base, location, &u) < 0)
		return;
	check_text(&u);
	/* A path stays at its host. */
	if (location[0] == '/' && location[1] != '/' && !url_same_origin(base, &u))
		abort();
	if (url_parse(location, &absolute) == 0) {
		if (!url_same_origin(&absolute, &u))
			abort();
		url_free(&absolute);
	}
	url_free(&u);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_free_ char *text = xstrndup((const char *)data, n);
	char *location = text, *line = strsep(&location, "\n");
	struct url base;

	if (url_parse(line, &base) < 0)
		return 0;
	check_text(&base);
	resolve(&base, location ? location : "/v2/");
	url_free(&base);
	return 0;
}
