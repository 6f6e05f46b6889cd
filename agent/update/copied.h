/* SPDX-License-Identifier: MIT */
/* copied: files that docker compose put into a container's own file system (the content of a config or
 * a secret), where a successor would not have them. */
#pragma once

#include "error.h"
#include "json.h"

struct engine;

/* 0, or -EKEYREJECTED naming such a file. container: its inspect answer.
 *
 * compose copies between create and start, and its archive (Go's archive/tar) has whole seconds only;
 * what a program writes has nanoseconds, and what came with the image is older than the container. So
 * a changed file with a whole second that is not older was copied. Not seen: a file that the program
 * replaced itself; a config where looking would do harm (see can_look). Taken for a copy: a file
 * that the program gave a whole second of the container's life, as wget does. */
int copied_refuse(struct engine *e, const json_t *container, struct error *ret_error) warn_unused;
