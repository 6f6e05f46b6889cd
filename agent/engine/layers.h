/* SPDX-License-Identifier: MIT */
/* layers: whose they are. Engines write layers without syncing them, and believe what they find. */
#pragma once

#include "json.h"

struct engine;

/* Whether the layers of an image that a pull found there belong to another image, too: what no image has can
 * be the rest of a pull that a power cut ended. */
bool layers_are_trusted(struct engine *e, const json_t *image, size_t found);
