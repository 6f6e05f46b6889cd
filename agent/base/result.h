/* SPDX-License-Identifier: MIT */
/* result: the outcome of an operation on one container. */
#pragma once

#include "digest.h"
#include "json.h"

struct record;

/* Reasons that a poll and a pass both give. */
#define RESULT_HELD	       "held by the operator"
#define RESULT_HELD_CONFIG     "hold = yes"
#define RESULT_REJECTED_PREFIX "this digest was rejected before: "
#define RESULT_REJECTED	       RESULT_REJECTED_PREFIX "%s"
#define RESULT_CLOCK_NOT_SET   "the clock is not set"
#define RESULT_RETRY_AFTER     "registry %s accepts no request for another %" PRIu64 " s"

/* The prefix of a reason, and of last_error, that comes from the engine's image store: no image is
 * rejected for it. */
#define RESULT_STORE_DAMAGED "engine-store-damaged"

enum outcome {
	OUTCOME_NONE, /* no update was under way */
	OUTCOME_UP_TO_DATE,
	OUTCOME_UPDATED,
	OUTCOME_ROLLED_BACK,
	OUTCOME_DEFERRED,
	OUTCOME_REFUSED,
	OUTCOME_FAILED,
};
#define OUTCOME_MAX (OUTCOME_FAILED + 1)

/* The reason after a signal or a hang-up; a client that waits keeps waiting. */
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

extern const char outcome_names[OUTCOME_MAX][12];

/* The contract's object. Caller owns it. */
json_t *result_to_json(const struct result *r);
/* That of an operation that pullet-update did not carry out; to may be NULL. */
json_t *result_make(const char *container, const char *image, enum outcome outcome, const char *to,
		    const char *reason);

/* "hello: updated sha256:0123456789ab -> sha256:..." for a result object. Caller frees. */
char *result_text(const json_t *result);

/* The outcome that an error makes: refused for -EKEYREJECTED, deferred for -ECANCELED, else failed. */
void result_set_error(struct result *r, const struct error *e);

/* What a result with this outcome and reason says about last_error: "" if nothing is wrong, the reason without "was
 * rejected before" if something is, and NULL if it says nothing. Borrowed. */
const char *result_error(enum outcome outcome, const char *reason);

/* Whether error, a last_error, is why the digest that was rejected last, which ran here, was rolled back. */
bool result_is_rollback(const struct record *record, const char *error);

/* Saves result_error() as last_error of the record, if it differs: once and not at every poll. Logs what cannot be
 * saved. */
void result_save_error(const struct result *r, int state_dir, struct record *record);

/* OUTCOME_NONE for an invalid object. */
enum outcome result_outcome(const json_t *result);

/* Whether the exit status is a failure: failed, refused, rolled-back, or an invalid object. */
bool result_is_bad(const json_t *result);
