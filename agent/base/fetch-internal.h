/* SPDX-License-Identifier: MIT */
/* fetch-internal: what fetch.c and fetch-files.c share. */
#pragma once

#include "fetch.h"

#define FETCH_TIMEOUT_MS (5u * 60 * 1000) /* the network half's own limits are shorter */

struct fetch {
	const struct fetch_options *options;
	char *host;
	struct protocol_reader reader; /* fd -1: not connected */
	pid_t pid;		       /* 0: no child */
	struct traffic traffic;
};

int fetch_open_session(struct fetch *f, struct error *ret_error) warn_unused;
void fetch_hang_up(struct fetch *f);
/* Whether more came than the answers to the last batch. */
bool fetch_has_more(const struct fetch *f);
/* The next line. The caller owns *ret. */
int fetch_read_reply(struct fetch *f, uint64_t deadline, json_t **ret,
		     struct error *ret_error) warn_unused;
