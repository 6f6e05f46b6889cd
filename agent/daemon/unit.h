/* SPDX-License-Identifier: MIT */
/* unit: the table of managed containers: what pulletd knows of each beside its record, and of the registries
 * that they come from. Plain data: the agent writes it, the bus and the reporter show it. */
#pragma once

#include "config.h"
#include "operation.h"
#include "report.h"

/* A registry is left alone as a whole: one container's answer speaks for all that come from there. Times are
 * those of now_ms(). */
struct registry_state {
	char *host;		 /* as in struct ref */
	uint64_t retry_after_ms; /* it asked for no request before that */
	uint64_t back_off_ms;	 /* rounds leave it out until then */
	unsigned int failures;	 /* rounds in a row */
	bool polled, failed;	 /* in this round */
};

struct unit {
	const struct container_config *config;
	struct registry_state *registry;
	const char *operation;	 /* that runs now ("update", "check", ...); "": none */
	bool under_way;		 /* in this operation an update left phase idle */
	bool half_way;		 /* it failed there */
	uint64_t next_check_ms;	 /* of now_ms(); 0: not known */
	uint64_t current, total; /* bytes of the image while it is pulled; else 0, 0 */
	char *last_result;	 /* the contract's object as text; NULL: none yet */
	uint64_t checked_ms;	 /* when the registry gave that result; 0: it was not asked */
	bool failing;		 /* last_result is bad */
	char *available;	 /* digest of a candidate that was not taken; NULL: none */
	struct tally tally;
};

struct unit_table {
	struct config *config;
	struct unit *units; /* in the order of config->containers */
	size_t n;
	struct registry_state *registries;
	size_t n_registries;
};

/* Takes config over. All that was known of the containers before is dropped. */
void unit_table_load(struct unit_table *t, struct config *config);
void unit_table_clear(struct unit_table *t);

/* NULL: there is none. */
struct unit *unit_find(const struct unit_table *t, const char *name);
struct registry_state *unit_find_registry(const struct unit_table *t, const char *host);

/* When rounds ask the registry again; 0: in the next one. */
uint64_t registry_held_until(const struct registry_state *r);

/* An operation that took pass_ms ended with that result. True: it is not the same as the last one. */
bool unit_take_result(struct unit *u, const json_t *result, enum operation operation,
		      uint64_t now_ms, uint64_t pass_ms);
