/* SPDX-License-Identifier: MIT */
#include "challenge.h"
#include "url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_url(const char *text)
{
	struct url u, again, next;
	_cleanup_free_ char *back = NULL, *back_again = NULL;

	if (url_parse(text, &u) < 0)
		return;
	back = url_text(&u);
	if (strpbrk(u.host, "/?#@\\ ") || strpbrk(back, "# \r\n"))
		abort();
	/* A path that was given without its slash gets one more byte. */
	if (strlen(back) <= URL_MAX) {
		if (url_parse(back, &again) < 0 || !url_same_origin(&u, &again))
			abort();
		back_again = url_text(&again);
		if (!streq(back, back_again))
			abort();
		url_free(&again);
	}
	if (url_resolve(&u, "/x", &next) < 0 || !url_same_origin(&u, &next))
		abort();
	url_free(&next);
	url_free(&u);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_free_ char *text = xstrndup((const char *)data, n);
	_cleanup_free_ char *encoded = url_encode(text, "");
	struct challenge c;

	if (strpbrk(encoded, "&=?# \r\n"))
		abort();
	challenge_parse(text, &c);
	if (c.realm)
		check_url(c.realm);
	check_url(text);
	challenge_free(&c);
	return 0;
}
