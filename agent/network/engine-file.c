/* SPDX-License-Identifier: MIT */
#include "engine-file.h"

#include <fcntl.h>

#include "json.h"
#include "url.h"

#define PATH	 "/etc/docker/daemon.json"
#define FILE_MAX ((size_t)256 * 1024)

static json_t *read_json(void)
{
	_cleanup_free_ char *data = NULL;
	json_t *j = NULL;
	struct error ignored;
	size_t n = 0;

	if (read_file_at(AT_FDCWD, PATH, FILE_MAX, &data, &n) == 0)
		(void)!json_parse(data, n, PATH, &j, &ignored);
	return j;
}

char *engine_file_mirror(void)
{
	_cleanup_json_ json_t *j = read_json();
	const char *mirror =
		json_string_value(json_array_get(json_object_get(j, "registry-mirrors"), 0));
	_cleanup_(url_free) struct url url = {0};

	return mirror && url_parse(mirror, &url) == 0 ? url_origin(&url) : NULL;
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

		if (value && *value)
			(void)setenv(keys[i][1], value, 1);
	}
}
