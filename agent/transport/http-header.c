/* SPDX-License-Identifier: MIT */
#include <curl/curl.h>

#include "http.h"

/* The value of header i of that name, or NULL. */
static char *get_header(const struct http_response *r, const char *name, size_t i)
{
	struct curl_header *header;

	if (curl_easy_header(r->handle, name, i, CURLH_HEADER, -1, &header) != CURLHE_OK)
		return NULL;
	/* libcurl 7.88 leaves the CR in an empty value. */
	return xstrdup(streq(header->value, "\r") ? "" : header->value);
}

char *http_header(const struct http_response *r, const char *name)
{
	return get_header(r, name, 0);
}

char *http_header_all(const struct http_response *r, const char *name)
{
	char *all = get_header(r, name, 0), *next;

	for (size_t i = 1; (next = get_header(r, name, i)); i++) {
		_cleanup_free_ char *before = all, *value = next;

		all = xasprintf("%s, %s", before, value);
	}
	return all;
}
