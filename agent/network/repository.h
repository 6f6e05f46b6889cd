/* SPDX-License-Identifier: MIT */
/* repository: the repositories of one registry (OCI distribution-spec): digests of tags, manifests, blobs, rollout
 * policies. Each ref is of that registry. */
#pragma once

#include "image-config.h"
#include "message.h"
#include "oci.h"
#include "ref.h"
#include "registry.h"

/* Resolves the tags of n references at the same time: one HEAD each, or one GET if the registry does not support HEAD
 * or sends no Docker-Content-Digest (the last document is kept for repository_document()). A pinned reference needs
 * no request, nor does a repeated one. */
void repository_resolve(struct registry *r, const struct ref *const *refs, size_t n,
			struct fetch_resolved *ret);

/* The document of that digest, from r->documents or the registry. Its bytes are hashed before they are parsed. */
int repository_document(struct registry *r, const struct ref *ref, const struct digest *d,
			struct oci_document *ret, struct error *ret_error) warn_unused;

/* What is at ref, whatever it is, unparsed but hashed: an artifact, too. -ENOENT. The caller frees ret. */
int repository_text(struct registry *r, const struct ref *ref, struct http_response *ret,
		    struct digest *ret_digest, struct error *ret_error) warn_unused;

/* The config of the manifest *d (image_config_parse), which may embed it, from r->documents or the registry. Its bytes are
 * bounded by its descriptor, and hashed before they are parsed. */
int repository_config(struct registry *r, const struct ref *ref, const struct oci_document *d,
		      const struct digest *layers, size_t n_layers, struct image_config *ret,
		      struct error *ret_error) warn_unused;

/* The rollout policy at a tag in ref's repository, of ROLLOUT_BYTES_MAX at most, with its hash checked. -ENOENT:
 * there is no such tag. *ret_manifest (which may be NULL): the artifact's manifest, with a NUL behind it, after an error too if it
 * was read; of ROLLOUT_MANIFEST_MAX at most. The caller frees both. */
int repository_policy(struct registry *r, const struct ref *ref, const char *tag, char **ret,
		      size_t *ret_n, char **ret_manifest, struct error *ret_error) warn_unused;

/* The delta between two ChainIDs in ref's repository (pullet-delta(5)), not the patch itself unless its manifest has it.
 * -ENOENT: there is none; -EBADMSG: it is not valid. The caller frees ret with fetch_delta_free(). */
int repository_delta(struct registry *r, const struct ref *ref, const struct digest *from,
		     const struct digest *to, struct fetch_delta *ret,
		     struct error *ret_error) warn_unused;

/* signatures.c: the signatures of d, an index or a manifest in ref's repository, that are at one place; none there is no
 * error. What is not valid, too large or gone is left out. The caller frees ret with signatures_free(). */
int repository_signatures(struct registry *r, const struct ref *ref, const struct digest *d,
			  enum signature_place place, struct signatures *ret,
			  struct error *ret_error) warn_unused;

/* push.c: a blob goes to the registry, unless it has it. */
struct push {
	struct digest digest;
	uint64_t size;
	const char *data; /* its bytes, or NULL: those of the file */
	int fd;
	/* Called as bytes are sent, and each second; NULL: it is not. */
	void (*on_progress)(void *userdata, uint64_t bytes);
	void *userdata;
};
int push_blob(struct registry *r, const struct ref *ref, const struct push *p,
	      struct error *ret_error) warn_unused;
/* Pushes an artifact's manifest, and the empty config that it refers to, and sets the tag to it. */
int push_manifest(struct registry *r, const struct ref *ref, const char *tag,
		  const json_t *manifest, struct digest *ret, struct error *ret_error) warn_unused;

/* publish-delta.c: the operator makes deltas. A device never does. Each is the answer to a request of message.h. */
struct session;
int publish_delta(struct session *s, const struct ref *ref, const json_t *question, json_t **ret,
		  struct error *ret_error) warn_unused;
int publish_find_deltas(struct registry *r, const struct ref *ref, const char *to, json_t **ret,
			struct error *ret_error) warn_unused;
int publish_read_manifest(struct registry *r, const struct ref *ref, json_t **ret,
			  struct error *ret_error) warn_unused;

/* publish.c: the operator reads and writes the rollout policy beside a tag. A device never does. */

/* The tag of the policy; NULL for a pinned reference and for a tag too long for the suffix. Caller frees. */
char *publish_tag(const struct ref *ref);

/* Pushes policy unless it is invalid: {"digest": of the pushed policy}. With policy NULL, reads: {"digest": of the tag,
 * "policy": the policy or null, "fault": why the policy is not valid}. */
int publish(struct registry *r, const struct ref *ref, const json_t *policy, json_t **ret,
	    struct error *ret_error) warn_unused;
