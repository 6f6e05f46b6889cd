/* SPDX-License-Identifier: MIT */
/* message: what the network half is asked and replies, as lines of protocol.h.
 *
 *   request  {"op": "resolve", "image": TEXT}                  where does the tag point? One HEAD
 *   reply    {"digest": DIGEST}
 *   request  {"image": TEXT, "os": TEXT, "architecture": TEXT, "variant": TEXT,
 *             "known": [DIGEST, ...], "layers": [DIGEST, ...]} the same, and what is there for that platform
 *   reply    {"digest": DIGEST, "known": true}
 *            {"digest": DIGEST, "manifest": DIGEST, "manifest-known": true}
 *            {"digest": DIGEST, "manifest": DIGEST, "config": DIGEST, "layer-bytes": NUMBER}
 *            and in each "withheld": TEXT, if credentials were not given to a foreign token server
 *   request  {"op": "rollout", "image": TEXT, "ring": TEXT}    what does the policy say to that ring?
 *   reply    {"rollout": null}
 *            {"rollout": {"sequence": NUMBER, "target": DIGEST, "halt": BOOLEAN, "minimum-version": TEXT,
 *                         "not-before": UNIX TIME, "points": [UNIX TIME, SHARE, ...]}}
 *   request  {"op": "report", "metrics": TEXT, "logs": TEXT}   bodies for the collector, posted as they are
 *   reply    {}
 *   request  {"op": "publish", "image": TEXT, "policy": POLICY} only to pullet-fetch --publish; without "policy"
 *   reply    {"digest": DIGEST}                                 it reads:
 *            {"digest": DIGEST, "policy": POLICY or null, "fault": TEXT, why what is there is no policy}
 *
 * In every request "more": true says that the next line belongs to the same batch; the replies to a batch come in its
 * order, PROTOCOL_BATCH_MAX at most. One connection is for one registry. Unknown fields are ignored, so that either
 * half may be newer. An error in place of any reply: protocol_error_to_json(). */
#pragma once

#include "digest.h"
#include "json.h"
#include "rollout.h"

/* Where a tag points, or why that is unknown. */
struct fetch_resolved {
	int code; /* 0, or error's */
	struct digest digest;
	unsigned int retry_after_s; /* with an error: what a 429 or 503 asked for, 0 if nothing */
	struct error error;
};

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

struct fetch_reply {
	struct digest digest;	/* of what the tag (or the pinned reference) resolves to */
	bool known;		/* digest itself is in known[]; nothing below is set but withheld */
	struct digest manifest; /* of this platform's manifest; equals digest without an index */
	bool manifest_known;	/* manifest is in known[]; nothing below is set but withheld */
	struct digest config;	/* the image's config, its Id on a graph driver */
	uint64_t layer_bytes;	/* compressed, all layers but those of the request */
	/* Why the network half gave no credentials to the token server, which then must not get them from the engine
	 * either; "": it had none or gave them. */
	char withheld[256];
	unsigned int retry_after_s; /* with an error: what a 429 or 503 asked for, 0 if nothing */
};

struct rollout_request {
	const char *image;
	const char *ring; /* or NULL */
};

struct rollout_reply {
	bool found;
	struct rollout rollout;
	unsigned int retry_after_s; /* with an error */
};

/* The caller owns what *_to_json() return. What *_from_json() return borrows from j, but for known and layers,
 * which the caller frees. -EBADMSG; of a reply also the code of the other side's error. */
json_t *message_resolve_to_json(const char *image);
json_t *message_resolved_to_json(const struct digest *d);
int message_resolved_from_json(const json_t *j, struct digest *ret, unsigned int *ret_retry_after_s,
			       struct error *ret_error) warn_unused;

json_t *message_request_to_json(const struct fetch_request *r);
json_t *message_reply_to_json(const struct fetch_reply *r);
int message_request_from_json(const json_t *j, struct fetch_request *ret,
			      struct error *ret_error) warn_unused;
/* The reply to request: it calls nothing known that was not asked about. */
int message_reply_from_json(const json_t *j, const struct fetch_request *request,
			    struct fetch_reply *ret, struct error *ret_error) warn_unused;

json_t *message_rollout_request_to_json(const struct rollout_request *r);
json_t *message_rollout_reply_to_json(const struct rollout_reply *r);
int message_rollout_request_from_json(const json_t *j, struct rollout_request *ret,
				      struct error *ret_error) warn_unused;
int message_rollout_reply_from_json(const json_t *j, struct rollout_reply *ret,
				    struct error *ret_error) warn_unused;

/* Whether d is in known[]. */
bool message_is_known(const struct fetch_request *request, const struct digest *d);
