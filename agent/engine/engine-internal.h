/* SPDX-License-Identifier: MIT */
/* engine-internal: shared by the files of engine; only they include it. */
#pragma once

#include "engine.h"
#include "http.h"
#include "json-filter.h"
#include "url.h"

/* Of what is used of an answer, and of what the engine may send: a neighbour's labels, or the ports of an image, take
 * time only. */
#define ANSWER_MAX	 ((size_t)1024 * 1024)
#define ANSWER_SENT	 ((size_t)64 * 1024 * 1024)
#define IMAGE_MEMORY_MAX ((uint64_t)768 * 1024)
#define SHORT_CALL_MS	 (60u * 1000)

struct engine {
	struct http *http; /* calls */
	/* A second connection, cancellable: pulls and waits must not block the first. */
	struct http *stream;
	struct version version;
	int disks[2]; /* directories on the file systems that the engine writes to; -1: unknown */
};

/* Percent-encodes what may not stand in a path segment or query value. Caller frees. */
static inline char *engine_escape(const char *s)
{
	return url_encode(s, ":@/");
}

struct call {
	const char *method;
	const char *path; /* behind /v1.NN, or behind own; escaped */
	const char *what; /* for messages */
	const char *own;  /* podman's own API instead of Docker's */
	const char *header;
	const json_t *body;
	unsigned int timeout_ms, stall_s; /* neither: SHORT_CALL_MS */
	struct json_filter_rules rules;	  /* what is needed of an answer in JSON */
	/* As in http.h. With it the call goes over the second connection. */
	int (*on_data)(void *userdata, const char *data, size_t n);
	void *userdata;
};

/* One call with an answer in JSON, or with none that matters: ret may be NULL. */
int engine_call(struct engine *e, struct call c, json_t **ret, struct error *ret_error);
