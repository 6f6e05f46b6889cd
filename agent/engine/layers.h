/* SPDX-License-Identifier: MIT */
/* layers: which layers two images share. Engines write layers without syncing them, and use any that they find. */
#pragma once

#include "json.h"

struct engine;

/* Whether the layers that a pull found in the engine belong to another image, too. A layer of no image may be
 * the rest of a pull that a power cut ended. */
bool layers_are_trusted(struct engine *e, const json_t *image, size_t found);
