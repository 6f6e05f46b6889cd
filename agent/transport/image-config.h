/* SPDX-License-Identifier: MIT */
/* image-config: the config of an image (OCI image-spec, config.md), as far as it tells what the image needs. Pure; every
 * byte is untrusted, and hashed before it is parsed. */
#pragma once

#include "oci.h"
#include "record.h"

struct image_config {
	struct oci_platform platform;	/* of the image; an index may say something else */
	struct digest chain;		/* ChainID of all its layers; empty: it has none */
	char version[VERSION_TEXT_MAX]; /* by its label; empty: none */
	size_t shared;			/* number of its lowest layers that are layers[] */
};

/* Reads the config of a manifest with n_diffs layers. -EBADMSG if data does not hash to expected; -EKEYREJECTED if it is
 * larger than OCI_CONFIG_MAX without its list of ports, no valid config, or of other layers than the manifest. */
int image_config_parse(const char *data, size_t n, const struct digest *expected, size_t n_diffs,
		       const struct digest *layers, size_t n_layers, struct image_config *ret,
		       struct error *ret_error) warn_unused;

/* The DiffIDs of a config that was parsed before; n_diffs: as then. -EKEYREJECTED. */
int image_config_diff_ids(const char *data, size_t n, struct digest *ret, size_t n_diffs,
			  struct error *ret_error) warn_unused;

/* The ChainID (OCI image-spec, config.md) of a list of DiffIDs; empty if the list is empty or has something else. */
struct digest image_config_chain(const json_t *diff_ids);
