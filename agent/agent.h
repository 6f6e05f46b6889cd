/* SPDX-License-Identifier: MIT */
/* agent: the resident part: timers, one child at a time, the watchdog. It parses nothing that comes
 * from the network or from Docker, only what pullet-update says. */
#pragma once

#include "config.h"

struct agent_options {
	const char *config_path;
	const char *state_dir;
	const char *engine;	  /* URL, or NULL: the configuration's */
	const char *fetch_socket; /* or NULL */
	bool once;		  /* one pass for each name, then end */
	bool json;		  /* results as JSON lines on standard output, else text */
	bool debug;
	const char *const *names; /* NULL-terminated; empty: all */
};

/* Runs until it is told to stop, or until one pass is done; returns the exit status. Takes config
 * over. */
int agent_run(const struct agent_options *o, struct config *config);
