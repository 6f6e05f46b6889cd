/* SPDX-License-Identifier: MIT */
/* save-tar: reads a tar as it arrives, in pieces of any size, and tells of its regular files. Pure; the bytes are untrusted. */
#pragma once

#include "error.h"
#include "tar-header.h"

struct save_tar {
	/* on_file, any number of on_data, on_end for each regular file; a negative result ends the reading and is
	 * returned. name: at most 99 bytes of it; longer ones are cut. */
	int (*on_file)(void *userdata, const char *name, uint64_t size);
	int (*on_data)(void *userdata, const char *data, size_t n);
	int (*on_end)(void *userdata);
	void *userdata;
	/* Of the reader's own: zero at first. */
	char block[TAR_BLOCK]; /* a header that has not arrived as a whole */
	size_t have;
	uint64_t left, padding; /* bytes of the file's content, and behind it */
	bool in_file;		/* the content is a regular file's */
	bool ended;
};

/* Takes n more bytes. -EBADMSG: not a tar. Directories, links, devices, and extended headers (long names, pax) are passed over;
 * a file over 8 GiB whose size stands only in a pax header cannot be read. */
int save_tar_push(struct save_tar *t, const char *data, size_t n,
		  struct error *ret_error) warn_unused;
/* All bytes were taken. -EBADMSG: the tar has no end. */
int save_tar_end(const struct save_tar *t, struct error *ret_error) warn_unused;
