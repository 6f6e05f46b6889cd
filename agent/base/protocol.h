/* SPDX-License-Identifier: MIT */
/* protocol: what the programs say to each other, one JSON object a line.
 *   pullet-update -> pullet-fetch  one request, then one reply (AF_UNIX stream)
 *   pullet-update -> pulletd       events, the last of them the result (a pipe) */
#pragma once

#include "config.h"
#include "digest.h"
#include "json.h"
#include "rollout.h"

#define PROTOCOL_LINE_MAX ((size_t)256 * 1024)

/* What the network half is asked. */
struct fetch_request {
	const char *image;	  /* as in the configuration */
	const char *os;		  /* of the engine: "linux" */
	const char *architecture; /* GOARCH: "arm", "arm64", "amd64" */
	const char *variant;	  /* "v6", "v7", "v8" or "" */
	/* Digests, of an index or a manifest, that need no details: the current and the rejected. */
	const struct digest *known;
	size_t n_known;
	/* Ids of layers that are here (DiffIDs, lowest first); those on top of which the image is built
	 * are left out of layer_bytes. */
	const struct digest *layers;
	size_t n_layers;
};

/* What it answers: where the tag points now. */
struct fetch_reply {
	struct digest digest;	/* of what the tag (or the pinned reference) resolves to */
	bool known;		/* digest itself is in known[]; nothing below is set */
	struct digest manifest; /* of this platform's manifest; equals digest without an index */
	bool manifest_known;	/* manifest is in known[]; nothing below is set */
	struct digest config;	/* the image's config, its Id on a graph driver */
	uint64_t layer_bytes;	/* compressed, all layers but those of the request */
	unsigned int retry_after_s; /* with an error: what a 429 or 503 asked for, 0 if nothing */
};

/* The other question: may this device take it? The network half reads the policy that stands beside the
 * image, and what it says to one ring is the answer. */
struct rollout_request {
	const char *image;
	const char *ring; /* or NULL */
};

struct rollout_reply {
	bool found;
	struct rollout rollout;
	unsigned int retry_after_s; /* with an error */
};

/* Both take ownership of nothing. Requests and replies are bounded by PROTOCOL_LINE_MAX. */
json_t *protocol_request_to_json(const struct fetch_request *r);
json_t *protocol_reply_to_json(const struct fetch_reply *r);
json_t *protocol_error_to_json(const struct error *e, unsigned int retry_after_s);

/* A parsed request borrows from j, but for known and layers, which the caller frees. -EBADMSG. */
int protocol_request_from_json(const json_t *j, struct fetch_request *ret,
			       struct error *ret_error) warn_unused;
/* Returns the code the other side put into its error object when it sent one. */
int protocol_reply_from_json(const json_t *j, struct fetch_reply *ret,
			     struct error *ret_error) warn_unused;

json_t *protocol_rollout_request_to_json(const struct rollout_request *r);
json_t *protocol_rollout_reply_to_json(const struct rollout_reply *r);
/* 1: it is the other question. Borrows from j. */
int protocol_rollout_request_from_json(const json_t *j, struct rollout_request *ret,
				       struct error *ret_error) warn_unused;
int protocol_rollout_reply_from_json(const json_t *j, struct rollout_reply *ret,
				     struct error *ret_error) warn_unused;

/* Whether the other side sent an error; its code. */
int protocol_check_error(const json_t *j, struct error *ret_error) warn_unused;

/* The line, for who writes it bit by bit; NULL: it is too long. Caller frees. */
char *protocol_line(const json_t *j);
/* Writes one line. -errno. */
int protocol_write(int fd, const json_t *j) warn_unused;
/* Reads one line, waiting timeout_ms at most in all. -EPIPE when the other side closed before a
 * line was whole, -ETIMEDOUT, -EFBIG, -EBADMSG. */
int protocol_read(int fd, unsigned int timeout_ms, json_t **ret,
		  struct error *ret_error) warn_unused;
