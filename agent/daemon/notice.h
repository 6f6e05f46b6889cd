/* SPDX-License-Identifier: MIT */
/* notice: which results an operator is told of: each change of a container, each trouble once and its end, and a
 * version that waits for long. pullet-notify(5) has the rules. Pure. */
#pragma once

#include "json.h"
#include "operation.h"
#include "record.h"

struct notice_facts {
	enum operation operation; /* that gave the result */
	bool again;		  /* the pass before failed too */
	int64_t now_s;		  /* Unix time; 0: the clock is not set */
	const char *host;	  /* name of this device */
};

/* The event that the result makes, NULL: none; the caller owns it. state is an object with what was told of the
 * container, empty at first and whenever all is well. */
json_t *notice_take(json_t *state, const json_t *result, const struct notice_facts *f);
/* The same for the signature of the version that runs: it has expired. result says of which container. */
json_t *notice_take_expiry(json_t *state, const json_t *result, const struct release *current,
			   const struct notice_facts *f);
