/* SPDX-License-Identifier: MIT */
/* registry-internal: for registry.c and repository*.c only. */
#pragma once

#include "connection.h"

/* Performs n requests at the same time, with redirects, and with one token for all if the server grants it. A failure
 * too sets response.retry_after_s. The caller frees each response. */
void registry_request_all(struct registry *r, const struct registry_ask *asks, size_t n,
			  struct http_result *ret);
/* Performs one, whose status must be want. The caller frees *ret. */
int registry_request(struct registry *r, const struct registry_ask *ask, long want,
		     struct http_response *ret, struct error *ret_error) warn_unused;
/* The failure of result, or an error for any status but want. */
int registry_check_status(const struct registry *r, const struct http_result *result, long want,
			  struct error *ret_error) warn_unused;
