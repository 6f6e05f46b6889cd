/* SPDX-License-Identifier: MIT */
/* download-internal: what the files of download share. */
#pragma once

#include <errno.h>

#include "delta.h"
#include "download.h"

/* The image, as its documents say. */
struct image {
	int spool;
	struct load_document top, manifest, config; /* borrowed from the pass */
	struct oci_document content;		    /* of manifest */
	char top_type[80];
	size_t shared;		 /* layers, from the lowest on, that the running image has, too */
	bool by_other;		 /* or another image in the engine, which has more of them */
	bool whole;		 /* a load lacked a layer: all come */
	struct digest *diff_ids; /* of all its layers */
	struct digest *running;	 /* DiffIDs of the running image's layers */
	size_t n_running;
	bool plain;		/* a delta failed in this pass: the layers come */
	struct delta delta;	/* usable: a patch comes in place of the layers */
	struct oci_layer patch; /* that one; data is borrowed */
	char *data;		/* of the patch, if it came with the answer */
};

static inline bool image_is_by_delta(const struct image *i)
{
	return digest_is_set(&i->patch.digest);
}

/* Whether an error is the link's, which may be better later. */
static inline bool is_of_link(int code)
{
	return code == -ECONNRESET || code == -ECONNREFUSED || code == -ETIMEDOUT ||
	       code == -EHOSTUNREACH;
}

/* What comes over the link: the patch, or the layers that the running image does not have. */
static inline const struct oci_layer *image_blobs(const struct image *i, size_t *ret_n)
{
	*ret_n = image_is_by_delta(i) ? 1 : i->content.n_layers - i->shared;
	return image_is_by_delta(i) ? &i->patch : i->content.layers + i->shared;
}

/* Chooses whether a patch comes in place of the layers, for which it may ask the registry. An error is the link's, or a
 * stop. */
int delta_choose(struct pass *p, struct image *i, struct error *ret_error) warn_unused;
/* From now on the layers come. */
void delta_fail(struct pass *p, struct image *i, const struct error *why);

/* Gives the engine the image whose blobs are in the spool, unless it has it from an earlier load (again: whatever it has). Then it
 * is as after a pull by digest. Codes of engine_load(); -EBADMSG: what the disk has changed is removed from the spool. */
int load_image(struct pass *p, struct image *i, bool again, struct error *ret_error) warn_unused;
