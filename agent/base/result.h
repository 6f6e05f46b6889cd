/* SPDX-License-Identifier: MIT */
/* result: what one pass came to, as scripts and people read it. */
#pragma once

#include "digest.h"
#include "json.h"

/* How a reason begins, and last_error with it, that tells of the engine's own store: no release is to be
 * blamed for that. */
#define RESULT_STORE_DAMAGED "engine-store-damaged"

enum outcome {
	OUTCOME_NONE, /* nothing to tell: there was nothing to finish */
	OUTCOME_UP_TO_DATE,
	OUTCOME_UPDATED,
	OUTCOME_ROLLED_BACK,
	OUTCOME_DEFERRED,
	OUTCOME_REFUSED,
	OUTCOME_FAILED,
};
#define OUTCOME_MAX (OUTCOME_FAILED + 1)

/* Reason of a pass that a signal ended; whoever waits for it waits on. */
#define RESULT_STOPPED "stopped by a signal"

struct result {
	const char *container;
	const char *image;
	enum outcome outcome;
	struct digest from;
	struct digest to;
	char reason[768];    /* empty: none */
	int64_t downtime_ms; /* -1: none */
};

const char *outcome_name(enum outcome outcome);

/* The contract's object. Caller owns it. */
json_t *result_to_json(const struct result *r);

/* "hello: updated sha256:0123456789ab -> sha256:..." for a result object. Caller frees. */
char *result_text(const json_t *result);

/* OUTCOME_NONE for what is no result. */
enum outcome result_outcome(const json_t *result);

/* Whether it counts as failure in exit statuses: failed, refused, rolled-back, or not a result. */
bool result_is_bad(const json_t *result);
