/* SPDX-License-Identifier: MIT */
/* blob: brings one blob of a registry into a file, from where it stopped, over as many requests as it takes (RFC 9110,
 * 14: range requests). */
#pragma once

#include "message.h"
#include "ref.h"
#include "session.h"

/* Appends b's missing bytes to b->fd, which is one of the descriptors of the session, and tells the caller how far it
 * has come. Its file is synced at the end, and each 256 KiB. ret->bytes is set after an error too. Errors: as
 * fetch_bring(). */
int blob_bring(struct session *s, const struct ref *ref, const struct fetch_blob *b,
	       struct fetched *ret, struct error *ret_error) warn_unused;

/* A Content-Range with all its numbers, "bytes FIRST-LAST/SIZE". */
bool blob_parse_range(const char *value, uint64_t *ret_first, uint64_t *ret_last,
		      uint64_t *ret_size);
