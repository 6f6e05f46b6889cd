/* SPDX-License-Identifier: MIT */
/* traffic-file: the counter of what all processes of the network half have moved, in memory in the cache directory: a
 * poll writes nothing to a disk. Without a directory each process has a counter of its own. */
#pragma once

#include "message.h"
#include "meter.h"

struct traffic_file {
	int dir; /* -1: none */
	struct meter meter;
	struct traffic own; /* what of meter is in the file; its id is used without a file */
};

/* Adds what was moved since the last call, and tells the new sum. False: this process has moved nothing
 * at all. */
bool traffic_file_add(struct traffic_file *t, struct traffic *ret);
