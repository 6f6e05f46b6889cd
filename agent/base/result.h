/* SPDX-License-Identifier: MIT */
/* result: the outcome of an operation on one container. */
#pragma once

#include "digest.h"
#include "json.h"
#include "operation.h"
#include "record.h"

/* Reasons that a poll and a pass both give. */
#define RESULT_HELD_CONFIG     "hold = yes"
#define RESULT_TELL	       "update = tell: "
#define RESULT_REJECTED_PREFIX "this digest was rejected before: "
/* The prefix of a refusal for want of a signature that counts: it is asked for again, and the digest is not rejected. */
#define RESULT_SIGNATURE "signature"
/* before-unit deferred it for the last time; nothing was rolled back. */
#define RESULT_GAVE_UP	     "given up: "
#define RESULT_REJECTED	     RESULT_REJECTED_PREFIX "%s"
#define RESULT_CLOCK_NOT_SET "the clock is not set"
#define RESULT_RETRY_AFTER   "registry %s accepts no request for another %" PRIu64 " s"

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

/* What a download waits for. */
#define WAITS_WINDOW "window"
#define WAITS_BUDGET "budget"
#define WAITS_LINK   "link"

/* How far the download of an image has come that a pass stopped, or that goes on. Bytes are those of its layers that the
 * engine lacks. */
struct download_state {
	uint64_t bytes, of; /* of 0: there is none */
	uint64_t bytes_s;   /* 0: not known */
	const char *waits;  /* WAITS_*; NULL: for nothing */
	bool again;	    /* it goes on as soon as the others had their turn */
	uint64_t plain;	    /* of the layers for which a delta comes; 0: they come themselves */
};

struct result {
	const char *container;
	const char *image;
	enum outcome outcome;
	struct digest from;
	struct digest to;
	char reason[768];    /* empty: none */
	int64_t downtime_ms; /* -1: none */
	/* Of from and to, as the images say; empty: not known. */
	char from_version[VERSION_TEXT_MAX], to_version[VERSION_TEXT_MAX];
	struct download_state download;
};

extern const char outcome_names[OUTCOME_MAX][12];

/* The contract's object, with "version_from" and "version_to" as far as they are known. Caller owns it. */
json_t *result_to_json(const struct result *r);
/* That of an operation that pullet-update did not carry out; to may be NULL. */
json_t *result_make(const char *container, const char *image, enum outcome outcome, const char *to,
		    const char *reason);

/* "hello: updated sha256:0123456789ab -> sha256:..." for a result object; with versions
 * "hello: updated 1.4.1 -> 1.4.2 (sha256:..., down 12 ms)". Caller frees. */
char *result_text(const json_t *result);

/* The same; of an operation that only writes the record, which checks no image, the reason alone. Caller frees. */
char *result_sentence(const json_t *result, enum operation operation);

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

/* Names the versions of from and to that the record has. */
void result_set_versions(struct result *r, const struct record *record);

/* OUTCOME_NONE for any other text, and NULL. */
enum outcome outcome_from_name(const char *name);
/* OUTCOME_NONE for an invalid object. */
enum outcome result_outcome(const json_t *result);

/* Whether the exit status is a failure: failed, refused, rolled-back, or an invalid object. */
bool result_is_bad(const json_t *result);

/* Reads the download of a result object; of is 0 if there is none. */
struct download_state result_download(const json_t *result);

/* "downloading 41 %, 12.4 of 30.1 MB, 7.9 kB/s, 38 min to go, waits for its window at 02:00". detail, which may be NULL:
 * when the window opens ("02:00"), the sentence of budget_spent(), or what is wrong with the link. Caller frees. */
char *download_text(const struct download_state *d, const char *detail);
/* Seconds until the rest has come, at its rate; -1: not known. */
int64_t download_eta_s(const struct download_state *d);
/* {"bytes", "of", "bytes_s", "eta_s", "waits", "delta", "plain"}; NULL: there is none. The caller owns it. */
json_t *download_to_json(const struct download_state *d);
/* The WAITS_* that is text; NULL: none is. */
const char *download_waits(const char *text);
