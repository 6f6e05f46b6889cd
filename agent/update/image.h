/* SPDX-License-Identifier: MIT */
/* image: brings target's image into the engine, whole and the one that was checked. */
#pragma once

#include "pass.h"

/* Notes in the state whether the image can be trusted to be on the disk; an image that can never be used is noted, too. */
act_fn image_fetch;

/* The record's platform, in *ret; NULL: the machine's own. */
const struct oci_platform *image_choice(const struct pass *p, struct oci_platform *ret);
