/* SPDX-License-Identifier: MIT */
/* disk-space: whether the disk takes one more version, asked before a byte of it is pulled. A full disk
 * would hurt everything else on the device, and the container that runs first of all. */
#pragma once

#include "pass.h"

/* Bytes that an image with so many compressed bytes of layers to come takes while it is pulled. Pure. */
uint64_t disk_space_need(uint64_t layer_bytes);

/* Whether the candidate with so many bytes of layers (0: it is here) can become a container. 0: yes, or
 * unknown; -ENOSPC: no, and the text has the numbers. Layers that are here already take none.
 * Where it helps, the version before the running one is given up: room for two is what an update
 * needs. */
int disk_space_check(struct pass *p, uint64_t layer_bytes, struct error *ret_error) warn_unused;
