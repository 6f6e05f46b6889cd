/* SPDX-License-Identifier: MIT */
#include "engine-file.h"

#include <fcntl.h>

#include "json.h"
#include "url.h"

#define PATH	 "/etc/docker/daemon.json"
#define FILE_MAX ((size_t)256 * 1024)

static json_t *read_json(void)
{
	static const char mark[] = "\xef\xbb\xbf";
	_cleanup_free_ char *data = NULL;
	json_t *j = NULL;
	struct error ignored;
	size_t n = 0, skip;

	if (read_file_at(AT_FDCWD, PATH, FILE_MAX, &data, &n) < 0)
		return NULL;
	/* dockerd skips the mark that editors write before UTF-8. */
	skip = n >= strlen(mark) && memcmp(data, mark, strlen(mark)) == 0 ? strlen(mark) : 0;
	(void)!json_parse(data + skip, n - skip, PATH, &j, &ignored);
	return j;
}

size_t engine_file_mirrors(char **ret, size_t max)
{
	_cleanup_json_ json_t *j = read_json();
	const json_t *list = json_object_get(j, "registry-mirrors"), *value;
	size_t n = 0, i;

	json_array_foreach (list, i, value) {
		const char *mirror = json_string_value(value);
		_cleanup_(url_free) struct url url = {0};

		if (n < max && mirror && url_parse(mirror, &url) == 0)
			ret[n++] = url_origin(&url);
	}
	return n;
}

/* Go's no_proxy for libcurl, which knows neither "*.example.com" nor ports nor brackets. Caller frees. */
static char *translate_no_proxy(const char *list)
{
	_cleanup_free_ char *copy = xstrdup(list);
	char *out = xstrdup(""), *rest = copy, *item;

	while ((item = strsep(&rest, ", "))) {
		_cleanup_free_ char *before = out;
		const char *port = strchr(item, ':');
		size_t n = port && !strchr(port + 1, ':') ? (size_t)(port - item) : strlen(item);

		if (*item == '[') /* IPv6, which has more than one colon */
			n = strcspn(++item, "]");
		else if (after_prefix(item, "*."))
			item++, n--;
		out = xasprintf("%s%s%.*s", before, *before ? "," : "", (int)n, item);
	}
	return out;
}

void engine_file_use_proxies(void)
{
	/* The names that libcurl reads, those that forbid a proxy too. */
	static const char *const variables[] = {"http_proxy", "https_proxy", "HTTPS_PROXY",
						"all_proxy",  "ALL_PROXY",   "no_proxy",
						"NO_PROXY"};
	static const char *const keys[][2] = {{"http-proxy", "http_proxy"},
					      {"https-proxy", "https_proxy"},
					      {"no-proxy", "no_proxy"}};
	_cleanup_json_ json_t *j = NULL;
	const json_t *proxies;

	for (size_t i = 0; i < ARRAY_SIZE(variables); i++) {
		if (getenv(variables[i]))
			return;
	}
	j = read_json();
	proxies = json_object_get(j, "proxies");
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const char *value = json_get_string(proxies, keys[i][0]);
		_cleanup_free_ char *direct =
			value && streq(keys[i][0], "no-proxy") ? translate_no_proxy(value) : NULL;

		if (value && *value)
			(void)setenv(keys[i][1], direct ? direct : value, 1);
	}
}
