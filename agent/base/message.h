/* SPDX-License-Identifier: MIT */
/* message: requests to the network half and their replies, as lines of protocol.h.
 *
 *   request  {"op": "resolve", "image": TEXT}                  the digest of a tag: one HEAD
 *   reply    {"digest": DIGEST}
 *   request  {"image": TEXT, "os": TEXT, "architecture": TEXT, "variant": TEXT,
 *             "known": [DIGEST, ...], "layers": [DIGEST, ...], "read-config": BOOLEAN,
 *             "documents": {DIGEST: TEXT, ...}}
 *                                                             the same, and the image for that platform
 *   reply    {"digest": DIGEST, "known": true}
 *            {"digest": DIGEST, "manifest": DIGEST, "manifest-known": true}
 *            {"digest": DIGEST, "manifest": DIGEST, "config": DIGEST, "layer-bytes": NUMBER, "zstd": BOOLEAN}
 *            with "read-config" "os": TEXT, "architecture": TEXT, "variant": TEXT, "chain": DIGEST as well, and
 *            "version": TEXT, if the image says one,
 *            and in each "withheld": TEXT, if credentials were not sent to a token server; and if the request has
 *            "documents", "documents": {DIGEST: TEXT, ...} of the index, the manifest and the config that were read
 *   request  {"op": "rollout", "image": TEXT, "ring": TEXT}    the policy for that ring
 *   reply    {"rollout": null}
 *            {"rollout": {"sequence": NUMBER, "document": DIGEST of the policy's text, "clear": true}}
 *            {"rollout": {"sequence": NUMBER, "document": DIGEST, "target": DIGEST, "halt": BOOLEAN,
 *                         "minimum-version": TEXT, "not-before": UNIX TIME, "points": [UNIX TIME, SHARE, ...]}}
 *            and with "with-text": true in the request "manifest": TEXT of the artifact and "policy": TEXT as well, beside
 *            an error too, as far as they were read; "manifest" is "" for one that is too large or no text
 *   request  {"op": "signatures", "image": TEXT, "digest": DIGEST, "place": "tag", "referrers" or "fallback"}
 *                                                             the signatures of an index or a manifest, unverified
 *   reply    {"signatures": [{"format": "simple" or "bundle", "payload": BASE64, "signature": BASE64}, ...],
 *             "left": NUMBER of those that are not in the reply}    newest first; none there: an empty list
 *   request  {"op": "blob", "image": TEXT, "manifest": BOOLEAN, "digest": DIGEST, "size": BYTES, "offset": BYTES,
 *             "speed": BYTES a second, "allowance": BYTES, "ms": NUMBER, "ms-whole": NUMBER of an answer that begins at
 *             the start again, else "ms"}
 *                                                             with the descriptor of the file that takes it; alone in
 *   reply    {"progress": BYTES}                              its batch. Any number of these, one each 20 s at least,
 *            {"bytes": BYTES, "end": "whole", "time" or "allowance"}
 *            and beside an error "bytes": BYTES in the file as well
 *   request  {"op": "check", "image": TEXT}                    whether the files of its registry can be used
 *   reply    {}
 *   request  {"op": "report", "metrics": TEXT, "logs": TEXT}   bodies for the collector, not parsed
 *   reply    {}
 *   request  {"op": "unpack", "max": BYTES}, with two descriptors: a layer in zstd, and the file for its plain tar. The
 *            first request of a connection, and the only one
 *   reply    {"progress": BYTES}, any number of times, then
 *            {"bytes": NUMBER}                                 of the tar
 *   request  {"op": "delta", "image": TEXT, "from": DIGEST, "to": DIGEST}
 *                                                             the delta between two ChainIDs, beside the image
 *   reply    {"delta": null}
 *            {"delta": {"digest": DIGEST, "size": BYTES, "data": HEX of a small one, "shared": NUMBER of layers,
 *                       "sizes": [BYTES, ...] of the other layers, as tars}}
 *   request  {"op": "patch", "old": [[OFFSET, SIZE], ...], "max": BYTES}, with three descriptors: the old data, of which
 *            OLD is those parts, the patch, and a pipe for NEW. The first request of a connection, and the only one
 *   reply    {"bytes": NUMBER}                                 of NEW, once the pipe is closed
 *   request  {"op": "publish", "image": TEXT, "policy": POLICY} only to pullet-fetch --publish; without "policy"
 *   reply    {"digest": DIGEST}                                 it reads:
 *            {"digest": DIGEST, "policy": POLICY or null, "fault": TEXT, why it is no valid policy}
 *   request  {"op": "push-delta", "image": TEXT, "from": DIGEST, "to": DIGEST, "manifest": MANIFEST}, with the descriptor of
 *            the patch; only to pullet-fetch --publish, as the next two
 *   reply    {"progress": BYTES}, any number of times, then
 *            {"digest": DIGEST}                                of the manifest
 *   request  {"op": "find-deltas", "image": TEXT, "to": DIGEST} a ChainID
 *   reply    {"tags": [TEXT, ...]}                             a hundred at most
 *   request  {"op": "read-manifest", "image": TEXT}            a manifest, an index or an artifact, unparsed
 *   reply    {"digest": DIGEST, "document": TEXT}
 *
 * In every reply "traffic": {"id": TEXT, "bytes": BYTES} says what was moved to and from all hosts since the counter got
 * its id, if this process moved anything.
 *
 * In every request "more": true says that the next line belongs to the same batch; the replies to a batch come in its
 * order, PROTOCOL_BATCH_MAX at most. One connection is for one registry. Unknown fields are ignored, so that either
 * half may be newer. Any request may fail: protocol_error_to_json(). Beside EKEYREJECTED "digest": DIGEST, and maybe
 * "manifest": DIGEST, say that this can never be used. */
#pragma once

#include "digest.h"
#include "extent.h"
#include "json.h"
#include "platform.h"
#include "protocol.h"
#include "record.h"
#include "rollout.h"

#define SIGNATURE_PAIRS_MAX   16 /* of one place */
#define SIGNATURE_PAYLOAD_MAX ((size_t)16 * 1024)
#define SIGNATURE_BYTES_MAX   ((size_t)1536) /* decoded; base64 of it is 2 KiB */

enum signature_format {
	SIGNATURE_SIMPLE, /* the payload is what is signed: "simple signing" of containers/image and cosign */
	SIGNATURE_BUNDLE, /* its PAE is: DSSE, with the payload type application/vnd.in-toto+json */
};

/* Signed bytes and a signature, both unchecked. */
struct signature_pair {
	enum signature_format format;
	char *payload;
	size_t n_payload;
	char *bytes;
	size_t n_bytes;
};

/* The digest of a tag, or the error. */
struct fetch_resolved {
	struct digest digest;
	unsigned int retry_after_s; /* with an error: of a 429 or 503; 0: none */
	struct error error;	    /* code 0: none */
};

/* The most bytes that documents take as JSON: what else is in the line has as much room again. */
#define MESSAGE_DOCUMENTS_MAX (PROTOCOL_LINE_MAX / 2)

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
	/* {DIGEST: TEXT}: index, manifest and config that are here and need not be read again. Those of a reply are added
	 * to it, and nobody has hashed them. NULL: they are not wanted. Borrowed. */
	json_t *documents;
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
	struct oci_platform platform;	/* of the image; words that it lacks are "" */
	struct digest chain;		/* ChainID of all its layers; empty: it has none */
	char version[VERSION_TEXT_MAX]; /* as the image says; empty: it says none */
	/* Why the network half sent no credentials to the token server. The engine must not send them either. "": it
	 * has none or sent them. */
	char withheld[512];
	unsigned int retry_after_s; /* with an error: of a 429 or 503; 0: none */
};

#define ROLLOUT_MANIFEST_MAX ((size_t)64 * 1024) /* bytes of the artifact's manifest */

struct rollout_reply {
	bool found;
	struct rollout rollout;
	unsigned int retry_after_s; /* with an error */
	/* If they were wanted, beside an error too: the artifact's manifest and the policy, as the registry has them; NULL: not
	 * read. Nobody has hashed them here. rollout_reply_free() */
	char *manifest, *policy;
};

#define SIGNATURE_PAYLOADS_MAX \
	((size_t)128 * 1024) /* bytes of all of a reply, so that it fits into a line */

/* What a registry has at one place. Nobody has verified it. */
struct signatures {
	struct signature_pair pairs[SIGNATURE_PAIRS_MAX]; /* newest first */
	size_t n;
	size_t left; /* more were there than were carried */
};

/* The network half syncs the file of a blob at each multiple of that many bytes before it writes on; the engine half cuts it
 * back to one after a power cut. */
#define FETCH_SYNC_BYTES ((uint64_t)256 * 1024)

struct fetch_blob {	   /* one blob, or a document by its digest */
	const char *image; /* whose repository */
	bool manifest;	   /* it is a manifest or an index, not a blob */
	struct digest digest;
	uint64_t size;	 /* bytes, as its descriptor says */
	uint64_t offset; /* that the file has already */
	int fd;		 /* the file, open for reading and writing */
	uint64_t speed;	 /* bytes a second at most; 0: any */
	uint64_t
		allowance; /* bytes on the wire, both ways, after which it stops; UINT64_MAX: any */
	uint64_t ms;	   /* after which it stops */
	uint64_t
		ms_whole; /* the same for an answer that begins at the start, whose bytes would come again; at least ms */
	void (*on_progress)(void *userdata,
			    uint64_t bytes); /* in the file; four times a second at most */
	void *userdata;
};

enum fetch_end { FETCH_WHOLE, FETCH_TIME, FETCH_ALLOWANCE };

struct fetched {
	uint64_t bytes;		    /* in the file now, after an error too */
	enum fetch_end end;	    /* FETCH_WHOLE: it is hashed */
	unsigned int retry_after_s; /* with an error: of a 429 or 503; 0: none */
};

#define FETCH_DELTA_DATA_MAX 2048		  /* bytes of a patch that comes with its answer */
#define FETCH_DELTA_NEW_MAX  ((uint64_t)16 << 30) /* bytes that a delta makes */
#define FETCH_DELTA_TAG_SIZE (sizeof("delta--") + 2 * 32) /* of its tag, with a NUL */

/* A delta beside an image: pullet-delta(5). */
struct fetch_delta {
	struct digest digest; /* of the patch */
	uint64_t size;	      /* bytes, at least one */
	char *data;	      /* these bytes, if they came along; or NULL. fetch_delta_free() */
	size_t shared;	      /* layers that both images have, lowest first */
	size_t n_sizes;	      /* layers that it makes, at least one */
	uint64_t sizes[OCI_LAYERS_MAX]; /* bytes of each as a tar */
};

/* What this network half has moved, both ways: a counter that only grows under one id. */
struct traffic {
	char id[40]; /* "": none yet */
	uint64_t bytes;
};

/* Adds a document of n bytes, with a NUL behind it, to documents (NULL: does nothing). One that is no text in UTF-8, which
 * JSON cannot carry, or with which they would take more than MESSAGE_DOCUMENTS_MAX, is left out. */
void message_add_document(json_t *documents, const struct digest *d, const char *text, size_t n);

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
/* The reply to request, to whose documents it adds. Only a digest that the request lists can be known, and a pinned image
 * has its own digest. -EKEYREJECTED with ret->digest: the image can never be used; without: another refusal. */
int message_reply_from_json(const json_t *j, const struct fetch_request *request,
			    struct fetch_reply *ret, struct error *ret_error) warn_unused;

/* Without fd and on_progress. */
json_t *message_blob_to_json(const struct fetch_blob *b);
int message_blob_from_json(const json_t *j, struct fetch_blob *ret,
			   struct error *ret_error) warn_unused;
json_t *message_fetched_to_json(const struct fetched *f);
/* Whether j is only progress: ret->bytes alone is set. */
bool message_is_progress(const json_t *j, struct fetched *ret);
/* What a reply says of a blob of size bytes. ret->bytes is set by an error too; it is size if j does not say it. */
int message_fetched_from_json(const json_t *j, uint64_t size, struct fetched *ret,
			      struct error *ret_error) warn_unused;

json_t *message_traffic_to_json(const struct traffic *t);
/* Leaves ret as it is if the reply j has no traffic, or if it is not valid. */
void message_get_traffic(const json_t *j, struct traffic *ret);

json_t *message_rollout_request_to_json(const char *image, const char *ring /* or NULL */,
					bool with_text);
json_t *message_rollout_reply_to_json(const struct rollout_reply *r);
/* Adds the texts of r to its reply, or to an error. One that is no text in UTF-8, which JSON cannot carry, is left out. */
void message_add_rollout_text(json_t *reply, const struct rollout_reply *r);
/* The caller frees ret with rollout_reply_free(), after an error too: with_text, it has the texts, if they are in the reply. */
int message_rollout_reply_from_json(const json_t *j, bool with_text, struct rollout_reply *ret,
				    struct error *ret_error) warn_unused;
void rollout_reply_free(struct rollout_reply *r);

json_t *message_signatures_request_to_json(const char *image, const struct digest *d,
					   enum signature_place place);
int message_signatures_request_from_json(const json_t *j, struct digest *ret_digest,
					 enum signature_place *ret_place,
					 struct error *ret_error) warn_unused;
json_t *message_signatures_to_json(const struct signatures *s);
/* The caller frees ret with signatures_free(). */
int message_signatures_from_json(const json_t *j, struct signatures *ret,
				 struct error *ret_error) warn_unused;
/* Adds a copy behind the others. A repeated pair is not added again, and one that exceeds a bound is left. */
void signatures_add(struct signatures *s, const struct signature_pair *pair);
void signatures_free(struct signatures *s);

json_t *message_delta_request_to_json(const char *image, const struct digest *from,
				      const struct digest *to);
int message_delta_request_from_json(const json_t *j, struct digest *ret_from, struct digest *ret_to,
				    struct error *ret_error) warn_unused;
/* d NULL: there is none. */
json_t *message_delta_to_json(const struct fetch_delta *d);
/* -ENOENT: there is none. The caller frees ret with fetch_delta_free(). */
int message_delta_from_json(const json_t *j, struct fetch_delta *ret,
			    struct error *ret_error) warn_unused;
/* What exceeds the bounds of a delta, or NULL. */
const char *message_delta_fault(const struct fetch_delta *d);
void fetch_delta_free(struct fetch_delta *d);
/* The tag of the delta between two ChainIDs. */
void message_delta_tag(const struct digest *from, const struct digest *to,
		       char ret[FETCH_DELTA_TAG_SIZE]);

json_t *message_patch_to_json(const struct patch_extent *extents, size_t n, uint64_t max);
/* The caller frees *ret. */
int message_patch_from_json(const json_t *j, struct patch_extent **ret, size_t *ret_n,
			    uint64_t *ret_max, struct error *ret_error) warn_unused;

/* -EBADMSG: image is pinned to another digest than d, so the answer is not about it. */
int message_check_pinned(const char *image, const struct digest *d,
			 struct error *ret_error) warn_unused;
/* Whether request lists d as known. */
bool message_is_known(const struct fetch_request *request, const struct digest *d);
