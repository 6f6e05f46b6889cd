/* SPDX-License-Identifier: MIT */
/* patch-make: makes a patch, pullet-delta(5), from the old bytes to the new ones. Pure but for the file that it writes. */
#pragma once

#include "error.h"

struct patch_making {
	const uint8_t *old, *new;
	size_t old_size, new_size;
	int out; /* gets the patch from its place on */
	/* NULL, or told how far it has come; the first time after the old bytes were sorted. */
	void (*on_progress)(void *userdata, uint64_t done, uint64_t whole);
	void *userdata;
};

/* Takes 4 x old_size bytes of memory, and what the patch takes. -EFBIG: old has over 2 GiB; -ENOMEM; -errno of the file. */
int patch_make(const struct patch_making *p, uint64_t *ret_size,
	       struct error *ret_error) warn_unused;
