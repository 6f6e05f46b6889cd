/* SPDX-License-Identifier: MIT */
/* message: requests to the network half and their replies, as lines of protocol.h.
 *
 *   request  {"op": "resolve", "image": TEXT}                  the digest of a tag: one HEAD
 *   reply    {"digest": DIGEST}
 *   request  {"image": TEXT, "os": TEXT, "architecture": TEXT, "variant": TEXT,
 *             "known": [DIGEST, ...], "layers": [DIGEST, ...], "read-config": BOOLEAN}
 *                                                             the same, and the image for that platform
 *   reply    {"digest": DIGEST, "known": true}
 *            {"digest": DIGEST, "manifest": DIGEST, "manifest-known": true}
 *            {"digest": DIGEST, "manifest": DIGEST, "config": DIGEST, "layer-bytes": NUMBER, "zstd": BOOLEAN}
 *            with "read-config" "os": TEXT, "architecture": TEXT, "variant": TEXT, "chain": DIGEST as well,
 *            and in each "withheld": TEXT, if credentials were not sent to a token server
 *   request  {"op": "rollout", "image": TEXT, "ring": TEXT}    the policy for that ring
 *   reply    {"rollout": null}
 *            {"rollout": {"sequence": NUMBER, "document": DIGEST of the policy's text, "clear": true}}
 *            {"rollout": {"sequence": NUMBER, "document": DIGEST, "target": DIGEST, "halt": BOOLEAN,
 *                         "minimum-version": TEXT, "not-before": UNIX TIME, "points": [UNIX TIME, SHARE, ...]}}
 *   request  {"op": "check", "image": TEXT}                    whether the files of its registry can be used
 *   reply    {}
 *   request  {"op": "report", "metrics": TEXT, "logs": TEXT}   bodies for the collector, not parsed
 *   reply    {}
 *   request  {"op": "publish", "image": TEXT, "policy": POLICY} only to pullet-fetch --publish; without "policy"
 *   reply    {"digest": DIGEST}                                 it reads:
 *            {"digest": DIGEST, "policy": POLICY or null, "fault": TEXT, why it is no valid policy}
 *
 * In every request "more": true says that the next line belongs to the same batch; the replies to a batch come in its
 * order, PROTOCOL_BATCH_MAX at most. One connection is for one registry. Unknown fields are ignored, so that either
 * half may be newer. Any request may fail: protocol_error_to_json(). Beside EKEYREJECTED "digest": DIGEST, and maybe
 * "manifest": DIGEST, say that this can never be used. */
#pragma once

#include "digest.h"
#include "json.h"
#include "platform.h"
#include "rollout.h"

/* The digest of a tag, or the error. */
struct fetch_resolved {
	struct digest digest;
	unsigned int retry_after_s; /* with an error: of a 429 or 503; 0: none */
	struct error error;	    /* code 0: none */
};

struct fetch_request {
	const char *image;	      /* as in the configuration */
	struct oci_platform platform; /* of the engine */
	/* Digests of indexes or manifests that need no details: the current and the rejected. */
	const struct digest *known;
	size_t n_known;
	/* Layers in the engine, by DiffID, lowest first. Those that the image shares do not count in layer_bytes. */
	const struct digest *layers;
	size_t n_layers;
	bool read_config; /* what cannot be used by its config is refused; with layers it is read anyway */
};

struct fetch_reply {
	struct digest digest;	/* of the tag, or of the pinned reference */
	bool known;		/* digest itself is in known[]; nothing below is set but withheld */
	struct digest manifest; /* of this platform's manifest; equals digest without an index */
	bool manifest_known;	/* manifest is in known[]; nothing below is set but withheld */
	struct digest config;	/* the image's config, its Id on a graph driver */
	uint64_t layer_bytes;	/* compressed, all layers but those of the request */
	bool zstd;		/* a layer is compressed by zstd */
	/* By the config, if it was read. */
	struct oci_platform platform; /* of the image; words that it lacks are "" */
	struct digest chain;	      /* ChainID of all its layers; empty: it has none */
	/* Why the network half sent no credentials to the token server. The engine must not send them either. "": it
	 * has none or sent them. */
	char withheld[512];
	unsigned int retry_after_s; /* with an error: of a 429 or 503; 0: none */
};

struct rollout_reply {
	bool found;
	struct rollout rollout;
	unsigned int retry_after_s; /* with an error */
};

/* The caller owns the result of *_to_json(). The result of *_from_json() borrows from j, except known and layers, which
 * the caller frees. -EBADMSG; a reply may also carry an error, whose code is returned. */
json_t *message_resolve_to_json(const char *image);
json_t *message_resolved_to_json(const struct digest *d);
int message_resolved_from_json(const json_t *j, struct digest *ret, unsigned int *ret_retry_after_s,
			       struct error *ret_error) warn_unused;

json_t *message_request_to_json(const struct fetch_request *r);
json_t *message_reply_to_json(const struct fetch_reply *r);
/* The digest, and the manifest if it is set, can never be used. */
json_t *message_refused_to_json(const struct fetch_reply *r, const struct error *e);
int message_request_from_json(const json_t *j, struct fetch_request *ret,
			      struct error *ret_error) warn_unused;
/* The reply to request. Only a digest that the request lists can be known, and a pinned image has its own digest.
 * -EKEYREJECTED with ret->digest: the image can never be used; without: another refusal. */
int message_reply_from_json(const json_t *j, const struct fetch_request *request,
			    struct fetch_reply *ret, struct error *ret_error) warn_unused;

json_t *message_rollout_request_to_json(const char *image, const char *ring /* or NULL */);
json_t *message_rollout_reply_to_json(const struct rollout_reply *r);
int message_rollout_reply_from_json(const json_t *j, struct rollout_reply *ret,
				    struct error *ret_error) warn_unused;

/* -EBADMSG: image is pinned to another digest than d, so the answer is not about it. */
int message_check_pinned(const char *image, const struct digest *d,
			 struct error *ret_error) warn_unused;
/* Whether request lists d as known. */
bool message_is_known(const struct fetch_request *request, const struct digest *d);
