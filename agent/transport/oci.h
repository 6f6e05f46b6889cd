/* SPDX-License-Identifier: MIT */
/* oci: manifests and indexes of the OCI image-spec and of Docker's schema 2, and the choice of a platform. Pure; every
 * byte is untrusted, and hashed before it is parsed. */
#pragma once

#include "digest.h"
#include "error.h"
#include "extent.h"
#include "json.h"
#include "platform.h"
#include "record.h"

/* Registries accept 4 MiB (distribution-spec); a helper may take 16 MB of memory in all. */
#define OCI_DOCUMENT_MAX      ((size_t)1024 * 1024)
#define OCI_INDEX_ENTRIES_MAX 256
/* The most bytes of content that a descriptor embeds ("data", image-spec descriptor.md); more is ignored. */
#define OCI_DATA_MAX ((size_t)16 * 1024)

#define OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
/* The config of an artifact (manifest.md, "Guidance for an Empty Descriptor"). */
#define OCI_EMPTY      "{}"
#define OCI_EMPTY_TYPE "application/vnd.oci.empty.v1+json"

/* The header with all four media types. */
extern const char oci_accept[];

struct oci_entry {
	struct digest digest;
	uint64_t size;
	struct oci_platform platform; /* empty os: none given */
};

enum oci_compression {
	OCI_PLAIN,
	OCI_GZIP,
	OCI_ZSTD,
};

struct oci_layer {
	struct digest digest; /* of the bytes in the registry */
	uint64_t size;
	enum oci_compression
		compression; /* by its media type; a layer without one counts as gzip */
	char *data;	     /* its size bytes, embedded in the manifest; or NULL */
};

struct oci_document {
	size_t size; /* of the document itself, in bytes */
	bool is_index;
	/* Its own, else the one that it was sent with, else OCI's. */
	char media_type[80];
	/* index */
	struct oci_entry *entries;
	size_t n_entries;
	/* manifest */
	struct digest config;
	uint64_t config_size;
	char *config_data;	  /* its config_size bytes, embedded in the manifest; or NULL */
	uint64_t layer_bytes;	  /* sum over the layers, checked for overflow */
	struct oci_layer *layers; /* lowest first */
	size_t n_layers;
	char version[VERSION_TEXT_MAX]; /* by its annotation; empty: none */
};

/* The most bytes of an image's config. The engine's answers about its containers and images repeat most of it. */
#define OCI_CONFIG_MAX ((size_t)256 * 1024)

/* -EBADMSG if data does not hash to expected, or the type is only content_type's (NULL allowed; parameters ignored) and
 * not an image's, or contradicts mediaType: that says nothing about the digest. -EKEYREJECTED if the document itself
 * can never be used: not valid, both index and manifest (CVE-2021-41190), of schema 1, no image (an artifact), with a
 * key that Go's JSON reads and we do not, too large a config, or a layer that is foreign, encrypted, elsewhere ("urls")
 * or of an unknown type. */
int oci_parse(const char *data, size_t n, const char *content_type, const struct digest *expected,
	      struct oci_document *ret, struct error *ret_error) warn_unused;
void oci_document_free(struct oci_document *d);

/* A descriptor, as of the one layer of an artifact. */
struct oci_artifact {
	struct digest digest;
	uint64_t size; /* bytes */
	char *data;    /* of digest, embedded in the manifest (image-spec, descriptor); or NULL */
};

/* Parses the manifest of an artifact of that type. -EBADMSG for anything else. The caller frees ret->data. */
int oci_parse_artifact(const char *data, size_t n, const char *content_type, const char *type,
		       struct oci_artifact *ret, struct error *ret_error) warn_unused;

/* Reads a descriptor. -EKEYREJECTED: not valid. The caller frees ret->data. */
int oci_read_descriptor(const json_t *j, struct oci_artifact *ret,
			struct error *ret_error) warn_unused;

/* Precedes all parsing: -EBADMSG unless data hashes to expected. */
int oci_check_hash(const char *data, size_t n, const struct digest *expected,
		   struct error *ret_error) warn_unused;
/* Reads the os, architecture and variant of a platform, or of an image's config; missing ones are "". -EKEYREJECTED. */
int oci_read_platform(const json_t *j, struct oci_platform *ret,
		      struct error *ret_error) warn_unused;

/* The entry the host runs best; first wins among equals; NULL if none. */
const struct oci_entry *oci_choose(const struct oci_document *index,
				   const struct oci_platform *host);
