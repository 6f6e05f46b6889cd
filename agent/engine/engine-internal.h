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
	/* As in http.h: a tar. */
	ssize_t (*on_send)(void *userdata, uint64_t offset, char *buffer, size_t n);
	uint64_t send_size;
	void *userdata;
};

/* One call with an answer in JSON, or with none that matters: ret may be NULL. */
int engine_call(struct engine *e, struct call c, json_t **ret, struct error *ret_error);
/* One call over that connection with a bounded answer, unless on_data takes it; 304 (nothing to do) is success too. The
 * caller frees *ret, which is empty at first. */
int engine_perform(struct engine *e, struct http *connection, struct call c,
		   struct http_response *ret, struct error *ret_error);

/* GET /KINDs/NAME/json. own: by podman's own API. query: "" or "?...". */
int engine_inspect(struct engine *e, const char *kind, const char *name, const char *query,
		   bool own, const struct json_filter_rules *rules, json_t **ret,
		   struct error *ret_error);
/* Creates a container of the image and removes it again, never started: the engine then has all layers of the image.
 * platform as in engine_create(). command: NULL: the image's own. ret may be NULL: its Config. */
int engine_try_image(struct engine *e, const char *name, const char *image, const char *platform,
		     const char *command, json_t **ret, struct error *ret_error);
/* The annotation of a local manifest's entry: the Id of the image whose content it has. */
#define IMAGE_ANNOTATION "vnd.pullet.image"
