/* SPDX-License-Identifier: MIT */
#include "connection.h"

#include <errno.h>

#define REQUEST_TIMEOUT_MS 60000u

int registry_open_http(const struct registry *r, bool tls, const char *session_key,
		       struct http **ret, struct error *ret_error)
{
	const struct http_options options = {
		.ca_file = r->o->ca_file,
		.allow_plain = !tls,
		.cancel = r->o->cancel,
		.session_key = session_key,
		.session_dir = r->o->cache_dir,
	};

	return http_new(&options, ret, ret_error);
}

int registry_time_left(const struct registry *r, unsigned int *ret, struct error *ret_error)
{
	uint64_t now = now_ms();

	if (now >= r->deadline)
		return error_set(ret_error, -ETIMEDOUT, "the registry took too long in all");
	*ret = r->deadline - now < REQUEST_TIMEOUT_MS ? (unsigned int)(r->deadline - now)
						      : REQUEST_TIMEOUT_MS;
	return 0;
}

void registry_fail(struct call *c, const struct error *e)
{
	http_response_free(&c->result->response);
	*c->result = (struct http_result){.code = e->code, .error = *e};
	c->waiting = c->pending = false;
}
