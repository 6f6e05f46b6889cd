/* SPDX-License-Identifier: MIT */
#include "collector.h"

#include <errno.h>

#include "http.h"

#define TIMEOUT_MS 20000u
#define ANSWER_MAX ((size_t)64 * 1024)

static int ignore(void *userdata, const char *data, size_t n)
{
	(void)userdata, (void)data, (void)n;
	return 0;
}

static int post(struct http *http, const char *base, const char *path, const char *body,
		struct error *ret_error)
{
	_cleanup_free_ char *url = xasprintf("%s%s", base, path);
	_cleanup_http_response_ struct http_response response = {0};
	struct http_request request = {
		.method = "POST",
		.url = url,
		.body = body,
		.body_max = ANSWER_MAX,
		.timeout_ms = TIMEOUT_MS,
		.on_data = ignore,
	};
	int r;

	if (!body)
		return 0;
	r = http_perform(http, &request, &response, ret_error);
	if (r < 0)
		return error_prefix(ret_error, "%s", url);
	return response.status / 100 == 2 ? 0
					  : error_set(ret_error, -EREMOTEIO, "%s: HTTP status %ld",
						      url, response.status);
}

int collector_post(const struct report_config *config, const char *metrics, const char *logs,
		   const volatile sig_atomic_t *cancel, struct error *ret_error)
{
	struct http_options options = {
		.ca_file = config->ca, .allow_plain = true, .cancel = cancel};
	_cleanup_http_ struct http *http = NULL;
	struct error other;
	int r;

	if (!config->url)
		return error_set(ret_error, -EPERM, "no [report] url is configured");
	r = http_new(&options, &http, ret_error);
	if (r < 0)
		return r;
	r = post(http, config->url, "/v1/metrics", metrics, ret_error);
	if (r == 0)
		return post(http, config->url, "/v1/logs", logs, ret_error);
	/* Some take the one and some the other. */
	if (r == -EREMOTEIO)
		(void)!post(http, config->url, "/v1/logs", logs, &other);
	return r;
}
