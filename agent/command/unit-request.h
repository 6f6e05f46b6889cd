/* SPDX-License-Identifier: MIT */
/* unit-request: what the starter is asked for, checked against the configuration. Pure. */
#pragma once

#include "config.h"
#include "json.h"

struct unit_request {
	char *unit;	     /* of a hook; NULL: a notification */
	uint64_t timeout_ms; /* of the hook */
	json_t *event;	     /* of the notification; borrowed */
};

/* Takes one line of unit-start.h. -ENOENT: the configuration, which the message calls path, names no such container or
 * unit; -EBADMSG: no request. The caller frees ret->unit. */
int unit_request_check(const json_t *j, const struct config *c, const char *path,
		       struct unit_request *ret, struct error *ret_error) warn_unused;
