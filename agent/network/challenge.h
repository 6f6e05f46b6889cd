/* SPDX-License-Identifier: MIT */
/* challenge: what a 401 asks for (RFC 9110 11.6.1 and distribution's token specification). Pure. */
#pragma once

#include "util.h"

struct challenge {
	bool basic;
	char *realm; /* of Bearer; NULL: Bearer is not on offer */
	char *service;
};

/* value: of all WWW-Authenticate headers, joined by commas. What it does not understand it skips; of several Bearer
 * challenges the first counts. A scope is ignored: no registry gets to choose what is asked for. The caller owns ret;
 * challenge_free. */
void challenge_parse(const char *value, struct challenge *ret);
void challenge_free(struct challenge *c);
