/* SPDX-License-Identifier: MIT */
/* tar-header: what precedes each file of a tar: tar(5). */
#pragma once

#include "util.h"

#define TAR_BLOCK 512u

struct tar_header {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type,
		link_name[100], magic[8], rest[247];
};
_Static_assert(sizeof(struct tar_header) == TAR_BLOCK, "a tar has blocks of 512 bytes");
