/* SPDX-License-Identifier: MIT */
/* engine-internal: shared by the files of engine; only they include it. */
#pragma once

#include "engine.h"
#include "http.h"
#include "url.h"

#define ANSWER_MAX    ((size_t)4 * 1024 * 1024)
#define SHORT_CALL_MS (60u * 1000)

struct engine {
	struct http *http; /* calls */
	struct http *
		stream; /* a second connection, cancellable: pulls and waits must not block the first */
	struct version version;
	int disks[2]; /* directories on the file systems that the engine writes to; -1: unknown */
};

/* Percent-encodes what may not stand in a path segment or query value. Caller frees. */
static inline char *engine_escape(const char *s)
{
	return url_encode(s, ":@/");
}

/* Asks podman's own API. 1, 0, or a negative errno. */
int engine_podman_stopped_by_user(struct engine *e, const char *id);

/* Sets the error of an answer that is a refusal, with the engine's message. */
int engine_refusal(const struct http_response *r, const char *what, struct error *ret_error);
