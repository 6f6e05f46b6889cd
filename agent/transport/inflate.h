/* SPDX-License-Identifier: MIT */
/* inflate: a file in gzip (RFC 1952), zstd (RFC 8878) or neither, by its first bytes, becomes what it was, in a stream. Pure; the
 * bytes are untrusted. */
#pragma once

#include "oci.h"

struct inflate {
	/* Takes what comes out, at least one byte; a negative result ends the file and is returned. */
	int (*on_data)(void *userdata, const char *data, size_t n);
	void *userdata;
	bool generous; /* a zstd window may have 128 MiB, and what comes out any size: for a publisher's machine */
	/* Of its own: zero at first. */
	struct z_stream_s *gzip; /* made when they are needed, and used for all files */
	struct ZSTD_DCtx_s *zstd;
	char *out;
	char head[4]; /* the first bytes */
	size_t n_head;
	enum oci_compression compression; /* once four bytes are there */
	bool whole;			  /* no member or frame is open */
	bool too_wide;			  /* some file needed a larger zstd window */
	uint64_t in_bytes, out_bytes;
	uint64_t size; /* of the file, for the caller to set behind inflate_begin(); 0: not known */
};

/* Begins a file. What compression it has is known once four bytes of it were pushed. */
void inflate_begin(struct inflate *i);
/* Takes n more bytes. -EBADMSG: they are not what the first ones promise, a zstd frame needs a window over 8 MiB, or more came out
 * than 1032 times what went in, or the file has: gzip makes no more of it. Neither if it is generous. */
int inflate_push(struct inflate *i, const char *data, size_t n) warn_unused;
/* -EBADMSG: the file ends in the middle. */
int inflate_end(struct inflate *i) warn_unused;
void inflate_free(struct inflate *i);
