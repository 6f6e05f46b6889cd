/* SPDX-License-Identifier: MIT */
/* unpack: a layer in zstd (RFC 8878) becomes a plain tar, for engines that cannot unpack it. */
#pragma once

#include <signal.h>

#include "error.h"

struct unpacking {
	int in, out;  /* files: in is read from its beginning, out is emptied first */
	uint64_t max; /* bytes of out */
	const volatile sig_atomic_t *cancel;		     /* NULL: never */
	void (*on_progress)(void *userdata, uint64_t bytes); /* of out; each 20 s. NULL: none */
	void *userdata;
};

/* Unpacks all frames, and skips skippable ones; out is on disk then. *ret_size: bytes of out. -EKEYREJECTED: a frame needs
 * a window over 8 MiB, more memory than a helper may take. -EBADMSG: not zstd, damaged or cut. -EFBIG: over max, or over
 * what gzip could make of as many bytes (1032 times). -ECANCELED; -errno of a file. */
int unpack_zstd(const struct unpacking *u, uint64_t *ret_size, struct error *ret_error) warn_unused;
