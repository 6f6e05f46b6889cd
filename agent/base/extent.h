/* SPDX-License-Identifier: MIT */
/* extent: where the layers of an image lie in a file. */
#pragma once

#include <stdint.h>

#define OCI_LAYERS_MAX 512 /* of an image */

/* A patch's OLD is put together from such parts of one file, in order; parts may repeat. */
struct patch_extent {
	uint64_t offset, size; /* bytes */
};
