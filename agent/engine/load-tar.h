/* SPDX-License-Identifier: MIT */
/* load-tar: an image as the tar of POST /images/load: a layout of OCI (image-spec, image-layout.md) for containerd and
 * podman, and beside it docker's manifest.json for the graph drivers, over the same blobs. Pure, but for pread(2). */
#pragma once

#include "engine.h"

struct load_file {
	char name[96];
	const char *text; /* borrowed; NULL: fd */
	int fd;
	uint64_t size;
};

struct load_tar {
	struct load_file *files;
	size_t n_files;
	uint64_t size; /* bytes of the whole tar */
	char *index, *names;
};

/* The caller frees ret with load_tar_free(); it borrows from l and local. local: the text of local-manifest.h, which has the tag
 * then; NULL: none. one_name: for podman, which takes no image that has two names; it then has no tag. */
void load_tar_make(const struct load *l, const char *local, bool one_name, struct load_tar *ret);
void load_tar_free(struct load_tar *t);

/* Fills buffer with bytes of the tar from offset on; their number, fewer than n only at the end. -EBADMSG: a file is
 * shorter than its size; or pread's error. */
ssize_t load_tar_read(const struct load_tar *t, uint64_t offset, char *buffer, size_t n,
		      struct error *ret_error) warn_unused;
