/* SPDX-License-Identifier: MIT */
/* repository: what one registry is asked about its repositories (OCI distribution-spec): where does a tag point, and what
 * is there; and as much of the push side as a rollout policy needs. Each ref is of that registry. */
#pragma once

#include "message.h"
#include "oci.h"
#include "ref.h"
#include "registry.h"

/* The digests behind the tags of n references, at the same time: one HEAD each; one GET where the registry cannot do
 * HEAD or says no Docker-Content-Digest (then the last document is kept and not fetched again). A pinned reference needs
 * no request, nor does one that is asked twice. */
void repository_resolve(struct registry *r, const struct ref *const *refs, size_t n,
			struct fetch_resolved *ret);

/* The document of that digest: bytes hashed before anyone parses them, then read by oci. */
int repository_document(struct registry *r, const struct ref *ref, const struct digest *d,
			struct oci_document *ret, struct error *ret_error) warn_unused;

/* How many of the lowest layers of the image with that config are layers[] (oci_count_shared). */
int repository_count_shared(struct registry *r, const struct ref *ref, const struct digest *config,
			    const struct digest *layers, size_t n_layers, size_t *ret,
			    struct error *ret_error) warn_unused;

/* The content of the artifact of that type behind a tag beside the reference's, max bytes at most, hashed
 * before it is handed out. -ENOENT: there is none. The caller frees it. */
int repository_artifact(struct registry *r, const struct ref *ref, const char *tag,
			const char *type, size_t max, char **ret, size_t *ret_n,
			struct error *ret_error) warn_unused;

/* Puts an artifact of that type behind a tag beside the reference's, data its one layer; *ret is its digest. */
int repository_push_artifact(struct registry *r, const struct ref *ref, const char *tag,
			     const char *type, const char *data, struct digest *ret,
			     struct error *ret_error) warn_unused;
