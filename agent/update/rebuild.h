/* SPDX-License-Identifier: MIT */
/* rebuild: layers of a new image, made by a patch (pullet-delta(5)) out of the layers of one that the engine has. */
#pragma once

#include "engine.h"
#include "fetch.h"

struct rebuilding {
	struct engine *engine;
	const struct fetch_options *fetch;
	const char *host; /* registry, as in struct ref */
	int spool;	  /* whose file system takes the temporary files, which have no names */
	const char *
		basis; /* the image that has the old layers, as the engine knows it; NULL: there are none */
	const struct digest *old; /* DiffIDs of its layers from number shared on, lowest first */
	size_t n_old;
	size_t shared;		  /* number of the lowest layers that both images have */
	const struct digest *new; /* DiffIDs of the new image, from number shared on */
	const uint64_t *sizes;	  /* of each of the new ones as tar, in bytes */
	size_t n_new;
	int patch; /* file */
	bool zstd; /* the engine takes layers in zstd: they are compressed */
	void (*progress)(void *userdata, uint64_t current,
			 uint64_t total); /* bytes of the new layers */
	void *userdata;
};

/* Makes the layers ret[0..n_new-1], each checked by its DiffID; the caller closes their fd, after an error as well.
 * *ret_shared: the descriptors of the old image's layers as the engine has them, or NULL; the caller owns it. -EBADMSG: the patch is
 * to blame; -ENODATA: the engine does not have all of the old layers; -ENOSPC; other codes of engine_save() and
 * fetch_patch(). */
int rebuild_layers(const struct rebuilding *b, struct load_layer *ret, json_t **ret_shared,
		   struct error *ret_error) warn_unused;
