/* SPDX-License-Identifier: MIT */
/* agent: the resident part: timers, one child at a time, the watchdog. It parses nothing that comes
 * from the network or from Docker, only what pullet-update says. */
#pragma once

#include "config.h"
#include "helper.h"
#include "report.h"

struct agent_options {
	struct helper_options helper;
	bool once;		  /* one pass for each name, then end; no D-Bus */
	bool json;		  /* results as JSON lines on standard output, else text */
	const char *const *names; /* NULL-terminated; empty: all */
};

/* Runs until it is told to stop, or until one pass is done; returns the exit status. Takes config
 * over. */
int agent_run(const struct agent_options *o, struct config *config);

/* The rest is for bus.c and reporter.c: what they show and what they are asked for. */
struct agent;

/* What the process knows of a container beside its record. */
struct unit {
	struct agent *agent;
	const struct container_config *config;
	uint64_t not_before_ms;	 /* its registry asked for that */
	uint64_t current, total; /* bytes of its image on their way; 0, 0: none are */
	char *last_result;	 /* the contract's object as text; NULL: none yet */
	bool in_trouble;	 /* says that result */
	char *available;	 /* digest that was seen and not taken; NULL: none */
	struct tally tally;
};

size_t agent_units(struct agent *a, struct unit **ret);
struct bus *agent_bus(const struct agent *a);
const struct config *agent_config(const struct agent *a);
const struct helper_options *agent_helper_options(const struct agent *a);
const char *agent_state_dir(const struct agent *a);
/* What runs for the container now ("update", "check", ...), "" when nothing does. */
const char *agent_operation(const struct unit *s);
/* When it is looked at next, in ms of now_ms(); 0: not known. */
uint64_t agent_next_check(const struct unit *s);
/* Queues a pass. The same that waits or runs already is enough. -EBUSY, -ESHUTDOWN. */
int agent_request(struct unit *s, enum operation operation, struct error *ret_error) warn_unused;
