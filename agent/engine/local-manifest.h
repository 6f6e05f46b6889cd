/* SPDX-License-Identifier: MIT */
/* local-manifest: the manifest (image-spec, manifest.md) under which containerd's store has the content of an image with
 * rebuilt layers: the registry's manifest names other files. Pure. */
#pragma once

#include "engine.h"

/* Whether a layer of the load is rebuilt, or left out and known to the engine by another file than the registry's. */
bool local_manifest_is_needed(const struct load *l);
/* Its text. manifest: the registry's, of as many layers as l has. The caller frees it. */
char *local_manifest_make(const struct load *l, const struct oci_document *manifest);
