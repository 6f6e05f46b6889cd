/* SPDX-License-Identifier: MIT */
/* verify: decides whether a digest may run. Only this module makes a struct verified; pulling needs one. Pure. */
#pragma once

#include "config.h"
#include "digest.h"

struct verified;

/* Without a key every digest passes. With any key none does (-EKEYREJECTED): this version cannot
 * check signatures, and a key that is not checked must not look as if it were. The caller frees *ret. */
int verify_image(const struct container_config *c, const struct digest *digest,
		 struct verified **ret, struct error *ret_error) warn_unused;
const struct digest *verified_digest(const struct verified *v);
