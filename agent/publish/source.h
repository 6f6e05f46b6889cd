/* SPDX-License-Identifier: MIT */
/* source: an image in the registry, as the publisher of a delta reads it: its platforms, and the layers of each. */
#pragma once

#include "fetch.h"
#include "image-config.h"
#include "oci.h"
#include "ref.h"

/* An image, or an index of images. */
struct source {
	struct ref ref;
	char *repository;     /* "host/path" */
	struct digest digest; /* of what the reference names */
	struct oci_entry *images;
	size_t n_images;
};

/* One image of it. */
struct source_image {
	struct digest digest; /* of its manifest */
	struct oci_document manifest;
	struct image_config config;
	struct digest
		diffs[OCI_LAYERS_MAX]; /* DiffIDs, lowest first; as many as manifest.n_layers */
};

/* Reads a manifest, an index or an artifact: its text, and its digest. -ENOENT. The caller frees *ret. */
int source_read_text(struct fetch *f, const char *image, char **ret, struct digest *ret_digest,
		     struct error *ret_error) warn_unused;

/* -ENOENT; -EBADMSG: it is no image. The caller frees *ret with source_free(), after an error too. */
int source_read(struct fetch *f, const char *image, struct source *ret,
		struct error *ret_error) warn_unused;
void source_free(struct source *s);

/* Reads the image of s with that manifest. old: of whose layers it may share the lowest ones (config.shared), or NULL. The
 * caller frees *ret with source_image_free(). */
int source_read_image(struct fetch *f, const struct source *s, const struct digest *manifest,
		      const struct source_image *old, struct source_image *ret,
		      struct error *ret_error) warn_unused;
void source_image_free(struct source_image *i);

/* The image for exactly that platform, where arm64 is v8 and arm v7; NULL: there is none. */
const struct oci_entry *source_find(const struct source *s, const struct oci_platform *p);

/* Brings one blob into a file of its own without a name, in $TMPDIR. Returns the descriptor or a negative errno.
 * on_progress may be NULL. */
int source_bring(struct fetch *f, const struct source *s, const struct digest *d, uint64_t size,
		 void (*on_progress)(void *userdata, uint64_t bytes), void *userdata,
		 struct error *ret_error) warn_unused;

/* A file without a name in $TMPDIR, or /tmp. */
int source_temporary(struct error *ret_error) warn_unused;
