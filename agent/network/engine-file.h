/* SPDX-License-Identifier: MIT */
/* engine-file: what dockerd's daemon.json says about the way to registries, so that polls go the way of pulls. A file that
 * is missing, unreadable or invalid says nothing: it is not ours to judge. */
#pragma once

#include "util.h"

/* The first registry-mirrors, which are for Docker Hub, max at most. Returns their number; caller frees each. */
size_t engine_file_mirrors(char **ret, size_t max) warn_unused;
/* Sets the environment's proxies to those of the engine, unless it has some. */
void engine_file_use_proxies(void);
