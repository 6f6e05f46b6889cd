/* SPDX-License-Identifier: MIT */
/* report: the state of this device as metrics and events of OTLP/HTTP in JSON, and as metrics in Prometheus' text.
 * Names are OpenTelemetry's where it has one. Pure. */
#pragma once

#include "device.h"
#include "json.h"
#include "result.h"

/* Counts and times of a container since pulletd loaded it. Times are of now_ms(). */
struct tally {
	uint64_t since_ms;
	uint64_t contact_ms; /* end of the last pass that did not fail; 0: there was none */
	uint64_t pulled;     /* bytes of images */
	uint64_t passes[OUTCOME_MAX];
	enum outcome last;
	/* Of the last one; -1: there was none. */
	int64_t pass_ms, update_ms, downtime_ms;
};

/* Texts may be empty, and NULL is empty too. */
struct report_container {
	const char *name, *image, *phase;
	struct digest digest;
	char version[VERSION_TEXT_MAX]; /* as the image says */
	size_t n_rejected;
	bool held;
	const struct tally *tally;
	struct download_state download;
	/* Of the version that runs, and of the newest statement seen; Unix times. 0: none. */
	uint64_t signature_seq;
	int64_t signature_expires_s, statement_s;
};

struct report_device {
	char id[DEVICE_ID_SIZE];
	const char *ring;
	uint64_t now_ms; /* of now_ms() */
	bool traffic_known;
	uint64_t traffic[2]; /* bytes of the day and of the month */
	uint64_t wall_ms;    /* the same moment since 1970; 0: the clock is not set */
};

/* An event that waits to be sent. at_ms is of now_ms(), because the wall clock may not be set yet. */
struct report_event {
	uint64_t at_ms;
	json_t *record;
};

void tally_init(struct tally *t, uint64_t now_ms);
/* Adds downloaded bytes; before: the number at the last call. A new try starts at 0. */
void tally_bytes(struct tally *t, uint64_t before, uint64_t now);
/* A pass that took pass_ms ended with that result. */
void tally_result(struct tally *t, const json_t *result, uint64_t now_ms, uint64_t pass_ms);

/* Bodies of POST /v1/metrics and /v1/logs. Caller owns them. Only when the clock is set. */
json_t *report_metrics(const struct report_device *d, const struct report_container *containers,
		       size_t n);
json_t *report_logs(const struct report_device *d, const struct report_event *events, size_t n);

/* Records of events. Caller owns them. */
json_t *report_phase(const char *container, const char *phase, const char *digest);
json_t *report_result(const json_t *result);

/* For node_exporter. Caller frees. */
char *report_text(const struct report_device *d, const struct report_container *containers,
		  size_t n);
