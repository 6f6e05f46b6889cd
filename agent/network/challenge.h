/* SPDX-License-Identifier: MIT */
/* challenge: WWW-Authenticate of a 401 (RFC 9110 11.6.1 and distribution's token specification). Pure. */
#pragma once

#include "util.h"

struct challenge {
	bool basic;
	char *realm; /* of Bearer; NULL: Bearer is not on offer */
	char *service;
};

/* value: all WWW-Authenticate headers, joined by commas. Unknown schemes are skipped; the first Bearer counts. A scope
 * is ignored, so that no registry chooses what is requested. The caller owns ret; challenge_free. */
void challenge_parse(const char *value, struct challenge *ret);
void challenge_free(struct challenge *c);
