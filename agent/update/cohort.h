/* SPDX-License-Identifier: MIT */
/* cohort: where a device stands among all devices when a version comes. Pure. */
#pragma once

#include "rollout.h"

/* From 0 to COHORT_ALL - 1: the first 32 bits of SHA-256("DEVICE DIGEST"), times COHORT_ALL, divided by
 * 2^32. The digest is in it, so that it is not always the same device that goes first; whoever knows the
 * device's name can compute it: pullet-rollout(5). */
uint32_t cohort_position(const char *device, const struct digest *d);
