/* SPDX-License-Identifier: MIT */
/* artifact: the manifest of a delta in the registry, pullet-delta(5). Pure. */
#pragma once

#include "digest.h"
#include "extent.h"
#include "json.h"

#define ARTIFACT_DATA_MAX ((size_t)2048) /* bytes of a patch that its manifest embeds */

struct artifact {
	struct digest from, to; /* ChainIDs */
	struct digest digest;	/* of the patch */
	uint64_t size;
	size_t shared, n_sizes;
	uint64_t sizes[OCI_LAYERS_MAX]; /* of the new tars, from number shared up */
};

/* What the delta leads to: the new image's manifest. */
struct artifact_subject {
	struct digest digest;
	uint64_t size;
	const char *media_type;
};

/* data: the patch, if it is to be embedded; else NULL. The caller owns the result. */
json_t *artifact_to_json(const struct artifact *a, const char *data,
			 const struct artifact_subject *subject);

/* -EBADMSG: it is no delta, or not a valid one. */
int artifact_parse(const char *text, struct artifact *ret, struct error *ret_error) warn_unused;

/* Where a delta is, and the image that it leads to. */
struct artifact_place {
	const char *tag;
	const struct digest *to; /* ChainID */
	size_t n_layers;
	uint64_t plain; /* compressed bytes of the layers from number shared up */
};

/* -EBADMSG: a device would refuse it there. */
int artifact_check(const struct artifact *a, const struct artifact_place *p,
		   struct error *ret_error) warn_unused;
