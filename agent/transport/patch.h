/* SPDX-License-Identifier: MIT */
/* patch: applies a delta of pullet-delta(5): OLD and a patch make NEW, in a stream. Every byte of the patch is untrusted. */
#pragma once

#include <signal.h>

#include "error.h"
#include "extent.h"

#define PATCH_MEDIA_TYPE  "application/vnd.pullet.delta.v1"
#define PATCH_MAGIC	  "PLD1\n\0\0" /* with its NUL 8 bytes */
#define PATCH_HEADER	  56	       /* bytes: the magic, two sizes, four lengths */
#define PATCH_WINDOW_LOG  21	       /* 2 MiB, of each of its four zstd frames */
#define PATCH_NUMBER_BITS 63	       /* of a number in its streams */

struct patching {
	int old;			    /* a file */
	const struct patch_extent *extents; /* the parts of old that OLD is put together from */
	size_t n_extents;
	int patch;    /* a file, read from its beginning whatever its offset is */
	int out;      /* takes NEW: a file, or a pipe; one that does not block is waited for */
	uint64_t max; /* bytes of NEW */
	const volatile sig_atomic_t *cancel; /* NULL: never */
};

/* Writes NEW to p->out, in pieces of 64 KiB, and takes 11 MB of memory at most, whatever the sizes are. What was written
 * before an error is no use. *ret_size: bytes of NEW. -EBADMSG: the patch is malformed, or not one for OLD; -EFBIG: NEW
 * would have more than p->max bytes, of which none was written; -EPIPE: nobody reads p->out; -ECANCELED; -errno of a
 * file. */
int patch_apply(const struct patching *p, uint64_t *ret_size, struct error *ret_error) warn_unused;
