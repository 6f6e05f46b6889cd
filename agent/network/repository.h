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

/* The document of that digest. Its bytes are hashed before they are parsed. */
int repository_document(struct registry *r, const struct ref *ref, const struct digest *d,
			struct oci_document *ret, struct error *ret_error) warn_unused;

/* The config of the manifest *d (image_config_parse). Its bytes are bounded by its descriptor, and hashed before they are
 * parsed. */
int repository_config(struct registry *r, const struct ref *ref, const struct oci_document *d,
		      const struct digest *layers, size_t n_layers, struct image_config *ret,
		      struct error *ret_error) warn_unused;

/* The rollout policy at a tag in ref's repository, of ROLLOUT_BYTES_MAX at most, with its hash checked. -ENOENT:
 * there is no such tag. Caller frees. */
int repository_policy(struct registry *r, const struct ref *ref, const char *tag, char **ret,
		      size_t *ret_n, struct error *ret_error) warn_unused;

/* publish.c: the operator reads and writes the rollout policy beside a tag. A device never does. */

/* The tag of the policy; NULL for a pinned reference and for a tag too long for the suffix. Caller frees. */
char *publish_tag(const struct ref *ref);

/* Pushes policy unless it is invalid: {"digest": of the pushed policy}. With policy NULL, reads: {"digest": of the tag,
 * "policy": the policy or null, "fault": why the policy is not valid}. */
int publish(struct registry *r, const struct ref *ref, const json_t *policy, json_t **ret,
	    struct error *ret_error) warn_unused;
