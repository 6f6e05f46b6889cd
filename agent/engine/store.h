/* SPDX-License-Identifier: MIT */
/* store: what an engine's words tell about its image store. Pure. */
#pragma once

enum store_word {
	STORE_SILENT,	/* nothing points to it */
	STORE_DOUBTFUL, /* a torn layer looks like this, and so does a bad release */
	STORE_DAMAGED,	/* the engine says itself that it cannot read what it has stored */
};

/* What an engine said about a call or a container that failed, with the container's exit status (0: none,
 * or none that counts). */
enum store_word store_judge(const char *said, int exit_code);
