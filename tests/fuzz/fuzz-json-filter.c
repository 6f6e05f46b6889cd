/* SPDX-License-Identifier: MIT */
#include "json-filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})
#define MAX	  65536

/* What is left, in pieces of size bytes; NULL: refused. Caller frees. */
static char *filter(const struct json_filter_rules *rules, const char *data, size_t n, size_t size)
{
	struct json_filter f = {.rules = *rules, .text_max = MAX, .total_max = 2 * MAX};
	struct error e;
	char *text = NULL;
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i += size)
		r = json_filter_push(&f, data + i, n - i < size ? n - i : size, "fuzz", &e);
	if (r == 0)
		text = xstrndup(f.text ?: "", f.len);
	(void)json_filter_largest(&f);
	json_filter_free(&f);
	return text;
}

/* Pieces do not matter, and a valid document without rules stays the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const struct json_filter_rules none = {0}, some = {.keep = LIST("a", "*.Id", "Config"),
							   .drop = LIST("a.b", "Config.Labels"),
							   .ports = "Config.ExposedPorts"};
	const char *text = (const char *)data;
	_cleanup_free_ char *whole = filter(&some, text, n, n + 1),
			    *parts = filter(&some, text, n, 3);
	_cleanup_free_ char *same = filter(&none, text, n, 7);
	_cleanup_json_ json_t *before = NULL, *after = NULL;
	struct error e;

	if ((whole == NULL) != (parts == NULL) || (whole && !streq(whole, parts)))
		abort();
	if (n < MAX && json_parse(text, n, "fuzz", &before, &e) == 0 &&
	    (!same || json_parse(same, strlen(same), "fuzz", &after, &e) < 0 ||
	     !json_equal(before, after)))
		abort();
	return 0;
}
