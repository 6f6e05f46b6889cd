/* SPDX-License-Identifier: MIT */
/* store: an engine's image store, as its answers tell of it. Pure. */
#pragma once

#include "json.h"

enum store_word {
	STORE_SILENT,	/* nothing points to it */
	STORE_DOUBTFUL, /* a torn layer looks like this, and so does a bad release */
	STORE_DAMAGED,	/* the engine says itself that it cannot read what it has stored */
};

/* What an engine said about a call or a container that failed, with the container's exit status (0: none,
 * or none that counts). */
enum store_word store_judge(const char *said, int exit_code);

/* Where the engine puts images, by its answer to GET /info; NULL when that cannot be told. Pure;
 * borrowed from info. */
const char *store_directory(const json_t *info);
