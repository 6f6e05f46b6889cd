/* SPDX-License-Identifier: MIT */
/* unit: the table of managed containers and their registries: the state that pulletd keeps beside the records, and
 * when each is polled. Plain data: the agent writes it, the bus and the reporter show it. */
#pragma once

#include "config.h"
#include "job.h"
#include "record.h"
#include "report.h"

/* A registry that asks for no request is left alone for all its containers. Times are those of now_ms(). */
struct registry_state {
	char *host;		 /* as in struct ref */
	uint64_t retry_after_ms; /* it accepts no request before that time */
	uint64_t back_off_ms;	 /* rounds leave it out until that time */
	unsigned int failures;	 /* rounds in a row */
	bool polled, failed;	 /* in this round */
};

struct unit {
	const struct container_config *config;
	struct registry_state *registry;
	const char *operation;	 /* that runs now ("update", "check", ...); "": none */
	bool under_way;		 /* in this operation an update left phase idle */
	bool half_way;		 /* that update failed */
	uint64_t next_check_ms;	 /* of now_ms(); 0: not known */
	uint64_t current, total; /* bytes of the image while it is pulled; else 0, 0 */
	char *last_result;	 /* the contract's object as text; NULL: none yet */
	char *error;		 /* what is wrong now; "": nothing; NULL: as the record says */
	uint64_t checked_ms;	 /* when the registry gave that result; 0: it was not asked */
	char *available;	 /* digest of a candidate that was not taken; NULL: none */
	struct tally tally;
};

struct unit_table {
	struct config *config;
	char *fault;	    /* of the configuration, which was read again; NULL: none */
	uint64_t device;    /* its number, for the schedule */
	struct unit *units; /* in the order of config->containers */
	size_t n;
	struct registry_state *registries;
	size_t n_registries;
};

/* Takes config over. Registries are asked anew; a container that still follows the same image keeps what is known of
 * it, and any container keeps the operation that runs. */
void unit_table_load(struct unit_table *t, struct config *config);
void unit_table_clear(struct unit_table *t);

/* NULL: there is none. */
struct unit *unit_find(const struct unit_table *t, const char *name);
struct registry_state *unit_find_registry(const struct unit_table *t, const char *host);

/* When rounds ask the registry again; 0: in the next one. */
uint64_t registry_held_until(const struct registry_state *r);

/* A record that is missing or unreadable is an empty one; errors as record_read(). */
int unit_read_record(const struct unit *u, const char *state_dir, struct record *ret);

/* "" while nothing is wrong with the container, as far as is known now; r is its record. Borrowed. */
const char *unit_error(const struct unit_table *t, const struct unit *u, const struct record *r);
/* The version that an update leads to, or that waits; "": none. Borrowed. */
const char *unit_target(const struct unit *u, const struct record *r);

/* Notes the result of an operation that took pass_ms. True: it differs from the last one. */
bool unit_take_result(struct unit *u, const json_t *result, enum operation operation,
		      uint64_t now_ms, uint64_t pass_ms);

/* Rounds: each device has its own place in the interval; a registry that failed or sent Retry-After is left out,
 * and no other. Times are those of now_ms(). */

/* Appends jobs for interrupted updates. A record that is missing or unreadable counts as one. */
void round_queue_unfinished(const struct unit_table *t, const char *state_dir, struct job_queue *q);
/* Appends one job that polls all containers whose registry may be asked, if there are any. */
void round_queue_poll(struct unit_table *t, uint64_t now_ms, struct job_queue *q);
/* Appends jobs for the updates that failed half way. */
void round_queue_half_way(const struct unit_table *t, uint64_t now_ms, struct job_queue *q);

/* Ends the round: registries that failed in several rounds in a row back off. */
void round_end(struct unit_table *t, uint64_t now_ms);
/* When the next round is due. */
uint64_t round_next(const struct unit_table *t, uint64_t now_ms);
