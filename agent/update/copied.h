/* SPDX-License-Identifier: MIT */
/* copied: files that docker compose copied into a container's own file system (the content of a config or secret).
 * A successor would not have them. */
#pragma once

#include "error.h"
#include "json.h"

struct engine;

/* 0, or -EKEYREJECTED, which names such a file. container, image: inspect answers; image may be NULL.
 *
 * compose copies between create and start, with times in whole seconds (Go's archive/tar), and without write bits
 * unless the operator says otherwise. Times of files that a program writes have nanoseconds, and files of the image are
 * older than the container: a changed file with a whole second within seconds of the creation, or up to the start if it
 * is read-only, looks copied. Missed: a copy that the program replaced, and a config where a look would do harm
 * (can_look()). Refused needlessly: a file that a program unpacked from an archive just then; hence copied = ignore. */
int copied_refuse(struct engine *e, const json_t *container, const json_t *image,
		  struct error *ret_error) warn_unused;
