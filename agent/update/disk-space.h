/* SPDX-License-Identifier: MIT */
/* disk-space: whether there is disk space for the candidate, checked before its image is pulled. A full disk would
 * harm everything on the device. */
#pragma once

#include "pass.h"

/* The bytes that a pull of layer_bytes of compressed layers needs. Pure. */
uint64_t disk_space_need(uint64_t layer_bytes);

/* Whether there is space for the candidate, whose layers have layer_bytes (0: its image is here). 0: yes, or
 * unknown; -ENOSPC: no, and the text has the numbers. Removes the previous image where that helps. */
int disk_space_check(struct pass *p, uint64_t layer_bytes, struct error *ret_error) warn_unused;
