/* SPDX-License-Identifier: MIT */
/* oci: manifests and indexes of the OCI image-spec and of Docker's schema 2, and the choice of a platform. Pure; every
 * byte is untrusted. */
#pragma once

#include "digest.h"
#include "error.h"
#include "platform.h"

/* Registries accept 4 MiB (distribution-spec); a helper may take 16 MB of memory in all. */
#define OCI_DOCUMENT_MAX      ((size_t)1024 * 1024)
#define OCI_INDEX_ENTRIES_MAX 256
#define OCI_LAYERS_MAX	      512

#define OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"

/* The header with all four media types. */
extern const char oci_accept[];

struct oci_entry {
	struct digest digest;
	uint64_t size;
	struct oci_platform platform; /* empty os: none given */
};

struct oci_document {
	size_t size; /* of the document itself, in bytes */
	bool is_index;
	/* index */
	struct oci_entry *entries;
	size_t n_entries;
	/* manifest */
	struct digest config;
	uint64_t layer_bytes; /* sum over the layers, checked for overflow */
	uint64_t *layers;     /* the size of each, lowest first */
	size_t n_layers;
};

/* data must hash to expected (-EBADMSG otherwise: "the registry sent something else"); its mediaType
 * must agree with content_type (parameters after ';' ignored; content_type may be NULL); a document
 * that is both index and manifest is refused (CVE-2021-41190), as is schema 1. */
int oci_parse(const char *data, size_t n, const char *content_type, const struct digest *expected,
	      struct oci_document *ret, struct error *ret_error) warn_unused;
void oci_document_free(struct oci_document *d);

/* The one layer of an artifact: its descriptor. */
struct oci_artifact {
	struct digest digest;
	uint64_t size; /* bytes */
	char *data;    /* of digest, embedded in the manifest (image-spec, descriptor); or NULL */
};

/* Parses the manifest of an artifact of that type. -EBADMSG for anything else. The caller frees ret->data. */
int oci_parse_artifact(const char *data, size_t n, const char *content_type, const char *type,
		       struct oci_artifact *ret, struct error *ret_error) warn_unused;

/* Counts the lowest layers of an image that are layers[], by its config of n bytes, which must hash to expected. */
int oci_count_shared(const char *data, size_t n, const struct digest *expected,
		     const struct digest *layers, size_t n_layers, size_t *ret,
		     struct error *ret_error) warn_unused;

/* How well a host runs images of platform p: 0 not at all, higher is better. Follows containerd's platforms.Only: arm64
 * also runs arm v8..v5, arm vN runs vN and older, amd64 also 386. Without a variant arm is v7, arm64 v8. */
unsigned int oci_platform_rank(const struct oci_platform *host, const struct oci_platform *p);

/* The entry the host runs best; first wins among equals; NULL if none. */
const struct oci_entry *oci_choose(const struct oci_document *index,
				   const struct oci_platform *host);
