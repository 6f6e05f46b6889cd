/* SPDX-License-Identifier: MIT */
/* store: the state and the place of an engine's image store, by the engine's answers. Pure. */
#pragma once

#include "json.h"

enum store_word {
	STORE_SILENT,	/* no sign of damage */
	STORE_DOUBTFUL, /* a torn layer looks like this, and so does a bad image */
	STORE_DAMAGED,	/* the engine says that it cannot read its store */
};

/* Judges an engine's message about a call or a container that failed. exit_code: the container's, or 0. */
enum store_word store_judge(const char *said, int exit_code);

/* The directory of the images, by the answer to GET /info; NULL: unknown. Borrowed from info. */
const char *store_directory(const json_t *info);
