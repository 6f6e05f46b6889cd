/* SPDX-License-Identifier: MIT */
/* engine-file: what dockerd's daemon.json says about the way to registries, so that polls go the way of pulls. A file that
 * is missing, unreadable or invalid says nothing: it is not ours to judge. */
#pragma once

#include "util.h"

/* The first of registry-mirrors, which are for Docker Hub, or NULL. Caller frees. */
char *engine_file_mirror(void);
/* Sets the environment's proxies to those of the engine, unless it has some. */
void engine_file_use_proxies(void);
