/* SPDX-License-Identifier: MIT */
/* cohort: the position of a device in the rollout of a digest. Pure. */
#pragma once

#include "rollout.h"

/* From 0 to COHORT_ALL - 1: the first 32 bits of SHA-256("DEVICE DIGEST"), times COHORT_ALL, divided by 2^32, as
 * pullet-rollout(5) documents it. With the digest in the hash, other devices go first each time. */
uint32_t cohort_position(const char *device, const struct digest *d);
