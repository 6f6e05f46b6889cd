/* SPDX-License-Identifier: MIT */
/* agent: the resident part: timers, one pullet-update at a time, the watchdog. It parses only the events of
 * pullet-update, nothing from the network or from Docker. */
#pragma once

#include "config.h"
#include "helper.h"

struct agent_options {
	struct helper_options helper;
	bool once;		  /* one round for names, then end; no D-Bus */
	bool now;		  /* with once: updates past windows, min-age, speed and budget */
	bool json;		  /* results as JSON lines on standard output, else text */
	const char *const *names; /* NULL-terminated; empty: all */
};

/* Runs until SIGTERM, or until the round is done; returns the exit status. Takes config over.
 * fault: why config is empty, and no file's; NULL: none. It is read again at each round and reload. */
int agent_run(const struct agent_options *o, struct config *config, const char *fault);
