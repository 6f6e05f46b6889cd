/* SPDX-License-Identifier: MIT */
/* http-driver: performs requests at the same time and prints a JSON object for each.
 *
 *     http-driver [--ca FILE] [--session DIR KEY] [--timeout MS] [--twice] METHOD URL... */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "http.h"
#include "json.h"
#include "oci.h"
#include "tls-session.h"
#include "trust.h"

#define REQUESTS_MAX 200

static volatile sig_atomic_t cancel;

static void on_signal(int number)
{
	cancel = 1;
}

static void print_result(struct http_result *r)
{
	_cleanup_free_ char *digest = http_header(&r->response, "Docker-Content-Digest");
	_cleanup_json_ json_t *j =
		json_pack("{s:i, s:i, s:s*, s:s*, s:s*}", "code", r->error.code, "status",
			  (int)r->response.status, "digest", digest, "body", r->response.body,
			  "error", r->error.code < 0 ? r->error.text : NULL);

	(void)json_dumpf(j, stdout, JSON_COMPACT);
	(void)puts("");
	(void)fflush(stdout);
	http_response_free(&r->response);
}

int main(int argc, char **argv)
{
	struct trust trust = {0};
	struct http_options options = {.cancel = &cancel, .allow_plain = true, .trust = &trust};
	struct sigaction action = {.sa_handler = on_signal};
	static struct http_request requests[REQUESTS_MAX];
	static struct http_result results[REQUESTS_MAX];
	_cleanup_http_ struct http *h = NULL;
	const char *const headers[] = {oci_accept, NULL};
	unsigned int timeout_ms = 5000;
	size_t rounds = 1, n = 0;
	struct error e;
	int i;

	for (i = 1; i < argc && after_prefix(argv[i], "--"); i++) {
		if (streq(argv[i], "--ca")) {
			if (trust_add_file(&trust, argv[++i], &e) < 0)
				return 1;
		} else if (streq(argv[i], "--timeout")) {
			timeout_ms = (unsigned int)atoi(argv[++i]);
		} else if (streq(argv[i], "--twice")) {
			rounds = 2;
		} else {
			int dir = open(argv[++i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);

			options.session = tls_session_open(dir, argv[++i]);
			if (!options.session)
				return 1;
		}
	}
	if (sigaction(SIGTERM, &action, NULL) < 0 || http_new(&options, &h, &e) < 0)
		return 1;
	for (int u = i + 1; u < argc && n < REQUESTS_MAX; u++)
		requests[n++] = (struct http_request){.method = argv[i],
						      .url = argv[u],
						      .headers = headers,
						      .body_max = (size_t)64 * 1024,
						      .timeout_ms = timeout_ms};
	for (; rounds > 0; rounds--) {
		http_perform_all(h, requests, n, results);
		for (size_t k = 0; k < n; k++)
			print_result(&results[k]);
	}
	trust_free(&trust);
	return 0;
}
