/* SPDX-License-Identifier: MIT */
/* signature-document: what cosign and skopeo write beside an image: manifests of signatures, lists of referrers, sigstore
 * bundles. Reads what the engine half verifies, and trusts none of it. Pure. */
#pragma once

#include "message.h"
#include "oci.h"

#define SIGNATURE_DOCUMENT_MAX ((size_t)256 * 1024) /* bytes of a manifest or of a list */
#define SIGNATURE_BUNDLE_MAX   ((size_t)64 * 1024)  /* bytes of a bundle */

/* A layer of such a manifest. */
struct signature_layer {
	enum signature_format format;
	struct oci_artifact blob; /* SIGNATURE_SIMPLE: the payload; SIGNATURE_BUNDLE: the bundle */
	char *bytes;		  /* SIGNATURE_SIMPLE: the signature, decoded; else NULL */
	size_t n_bytes;
};

struct signature_layers {
	struct signature_layer items[SIGNATURE_PAIRS_MAX]; /* newest first */
	size_t n;
	size_t left; /* more were there, or ones that are not valid or too large */
};

struct signature_referrers {
	struct oci_artifact items[SIGNATURE_PAIRS_MAX]; /* manifests, newest first */
	size_t n, left;
};

/* Appends the signatures of a manifest of n bytes, the last layer first. subject: it must be a referrer of that, and may have
 * bundles; NULL: it is at a tag of its own, and has none. -EBADMSG: it is no JSON, as the page of a proxy; -EINVAL: it is no such
 * manifest, or it is too large. One that says it is an attestation has none. */
int signature_layers_read(const char *data, size_t n, const struct digest *subject,
			  struct signature_layers *layers, struct error *ret_error) warn_unused;
void signature_layers_free(struct signature_layers *layers);

/* Reads which manifests in a list of referrers may have signatures, the last one first. -EBADMSG, -EINVAL: as
 * above. The caller frees ret with signature_referrers_free(). */
int signature_referrers_read(const char *data, size_t n, struct signature_referrers *ret,
			     struct error *ret_error) warn_unused;
void signature_referrers_free(struct signature_referrers *r);

/* Adds the signatures of a bundle of n bytes. -EBADMSG: it is none of an in-toto statement. */
int signature_bundle_read(const char *data, size_t n, struct signatures *ret,
			  struct error *ret_error) warn_unused;
