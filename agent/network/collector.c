/* SPDX-License-Identifier: MIT */
#include "collector.h"

#include <errno.h>

#include "http.h"
#include "ref.h"

#define TIMEOUT_MS 20000u
#define ANSWER_MAX ((size_t)64 * 1024)

static int ignore(void *userdata, const char *data, size_t n)
{
	(void)userdata, (void)data, (void)n;
	return 0;
}

int collector_load_credential(const struct report_config *config, struct credential *ret,
			      struct error *ret_error)
{
	_cleanup_free_ char *host = NULL;
	const char *after;
	int r;

	if (!config->url)
		return error_set(ret_error, -EPERM, "no [report] url is configured");
	after = strstr(config->url, "://") + strlen("://");
	host = xstrndup(after, strcspn(after, "/"));
	r = credential_load(config->credentials, host, ret, ret_error);
	if (r < 0 || !config->credentials)
		return r;
	if (!ret->username)
		return error_set(ret_error, -ENOKEY, "%s has no user and password for %s",
				 config->credentials, host);
	if (!after_prefix(config->url, "https://") && !ref_host_is_loopback(host))
		return error_set(ret_error, -EPERM,
				 "%s: a password is sent over https only, or to this machine",
				 config->url);
	return 0;
}

static int post(struct http *http, const struct report_config *config, const char *authorization,
		const char *path, const char *body, struct error *ret_error)
{
	const char *headers[] = {authorization, NULL};
	_cleanup_free_ char *url = xasprintf("%s%s", config->url, path);
	_cleanup_http_response_ struct http_response response = {0};
	struct http_request request = {
		.method = "POST",
		.url = url,
		.headers = headers,
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

int collector_post(const struct session *s, const char *metrics, const char *logs,
		   struct error *ret_error)
{
	const struct report_config *config = &s->config->report;
	const struct http_options options = {.ca_file = s->options.ca_file,
					     .allow_plain = true,
					     .cancel = s->options.cancel,
					     .session_dir = -1};
	_cleanup_(credential_wipep) char *basic = credential_basic(&s->options.credential),
					 *authorization = NULL;
	_cleanup_http_ struct http *http = NULL;
	struct error other;
	int r = http_new(&options, &http, ret_error);

	if (r < 0)
		return r;
	authorization = basic ? xasprintf("Authorization: %s", basic) : NULL;
	r = post(http, config, authorization, "/v1/metrics", metrics, ret_error);
	if (r == 0)
		return post(http, config, authorization, "/v1/logs", logs, ret_error);
	/* Some collectors accept only one of the two. */
	if (r == -EREMOTEIO)
		(void)!post(http, config, authorization, "/v1/logs", logs, &other);
	return r;
}
