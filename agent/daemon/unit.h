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
	const char *operation;	  /* that runs now ("update", "check", ...); "": none */
	bool under_way;		  /* in this operation an update left phase idle */
	bool half_way;		  /* that update failed */
	bool urgent;		  /* it was ordered past its window */
	uint64_t next_check_ms;	  /* of now_ms(); 0: not known */
	uint64_t current, total;  /* bytes of the image while it comes; else 0, 0 */
	uint64_t plain;		  /* of the layers, if a delta comes; else 0 */
	uint64_t began_ms, began; /* when progress was first told, of now_ms(), and current then */
	struct download_state download; /* as the last result says */
	bool continued;			/* that download goes on in slices */
	char *step; /* what the operation does, STEP_* of operation.h; NULL: not known */
	uint64_t step_began_ms, step_ms; /* of now_ms(), and how long at most; 0: not known */
	char *last_result;		 /* the contract's object as text; NULL: none yet */
	char *error;		 /* what is wrong now; "": nothing; NULL: as the record says */
	uint64_t checked_ms;	 /* when the registry gave that result; 0: it was not asked */
	char *available;	 /* digest of a candidate that was not taken; NULL: none */
	char *available_version; /* as its image says; NULL: not known */
	bool is_new;		 /* a reload brought it, and no operation looked at it yet */
	char *refusal;	     /* the result that refused a candidate's signature last; NULL: none */
	uint64_t refused_ms; /* of now_ms(), when that candidate was refused first */
	uint64_t refused_until_ms; /* the schedule asks nobody for its signature before that time */
	struct tally tally;
};

struct unit_table {
	struct config *config;
	char *fault;	    /* of the configuration, which was read again; NULL: none */
	json_t *unfollowed; /* names that pullet-update saw in the last round; NULL: it saw none yet */
	bool traffic_known;		     /* the two below are */
	uint64_t traffic_day, traffic_month; /* bytes that Pullet moved, both ways */
	uint64_t device;		     /* its number, for the schedule */
	struct unit *units;		     /* in the order of config->containers */
	size_t n;
	struct registry_state *registries;
	size_t n_registries;
};

/* Takes config over. Registries are asked anew; a container that still follows the same image keeps what is known of
 * it, and any container keeps the operation that runs. */
void unit_table_load(struct unit_table *t, struct config *config);
void unit_table_clear(struct unit_table *t);
/* Notes an event "traffic". */
void unit_table_take_traffic(struct unit_table *t, const json_t *event);

/* NULL: there is none. */
struct unit *unit_find(const struct unit_table *t, const char *name);
struct registry_state *unit_find_registry(const struct unit_table *t, const char *host);

/* When rounds ask the registry again; 0: in the next one. */
uint64_t registry_held_until(const struct registry_state *r);

/* Notes an event "retry-after": of the unit's registry, or of the one that it names if u is NULL. */
void registry_hold(const struct unit_table *t, const struct unit *u, const json_t *event,
		   uint64_t now_ms);

/* A record that is missing or unreadable is an empty one; errors as record_read(). */
int unit_read_record(const struct unit *u, const char *state_dir, struct record *ret);

/* Why the operator holds updates back; NULL: they are not held. Caller frees. */
char *unit_held(const struct unit *u, const char *state_dir);

/* "" while nothing is wrong with the container, as far as is known now; r is its record. Borrowed. */
const char *unit_error(const struct unit_table *t, const struct unit *u, const struct record *r);
/* The version that an update leads to, or that waits; "": none. Borrowed. */
const char *unit_target(const struct unit *u, const struct record *r);
/* What its image says of itself; NULL or "": not known. Borrowed. */
const char *unit_target_version(const struct unit *u, const struct record *r);

/* text: NULL, or copied. */
void unit_set_step(struct unit *u, const char *text, uint64_t began_ms, uint64_t ms);

/* Notes how many bytes have come. */
void unit_set_progress(struct unit *u, uint64_t current, uint64_t total, uint64_t now_ms);
/* How far its download has come; of is 0 if there is none. */
struct download_state unit_download(const struct unit *u, uint64_t now_ms);
/* Whether the download of this result goes on now. A slice that ended at once without a new byte waits for the next poll:
 * it would start processes without end. */
bool unit_goes_on(const struct unit *u, const json_t *result, uint64_t pass_ms);
/* Notes a slice of a download that goes on after the other jobs. True: it is the first one. */
bool unit_take_slice(struct unit *u, const json_t *result, uint64_t now_ms);

/* Notes whether an update, which is under way, failed or lost the link: it goes on before the next round. */
void unit_note_half_way(struct unit *u, const json_t *result);
/* Notes the result of an operation that took pass_ms. True: it differs from the last one. */
bool unit_take_result(struct unit *u, const json_t *result, enum operation operation,
		      uint64_t now_ms, uint64_t pass_ms);

/* Notes the result of a pass. A candidate that is refused for want of a signature is asked for less and less often, at least once
 * an hour: each time costs several requests. */
void unit_note_refusal(struct unit *u, const json_t *result, uint64_t now_ms);
/* The result of the schedule's pass for a candidate whose signature is not asked for now; NULL: the pass must run. Caller
 * frees. */
json_t *unit_repeat_refusal(const struct unit *u, const struct job *job, uint64_t now_ms);

/* The result of a check or update that needs no registry: the registry sent Retry-After, or it was checked just now and
 * the client is not root. Only an update by root asks nevertheless. NULL: the registry must be asked. Caller frees. */
char *unit_answer(const struct unit *u, enum operation operation, bool privileged, uint64_t now_ms);

/* Rounds: each device has its own place in the interval; a registry that failed or sent Retry-After is left out,
 * and no other. Times are those of now_ms(). */

/* Appends jobs for interrupted updates. A record that is missing or unreadable counts as one. */
void round_queue_unfinished(const struct unit_table *t, const char *state_dir, struct job_queue *q);
/* Appends one job that polls all containers whose registry may be asked, if there are any. */
void round_queue_poll(struct unit_table *t, uint64_t now_ms, struct job_queue *q);
/* Appends what pulletd --once does for names, or for all; now: past windows. */
void round_queue_once(struct unit_table *t, const char *const *names, bool now,
		      struct job_queue *q);
/* Appends one job that checks what a reload brought: nobody waits for the next round to see it. */
void round_queue_new(const struct unit_table *t, struct job_queue *q);
/* Appends jobs for the updates that failed half way. */
void round_queue_half_way(const struct unit_table *t, uint64_t now_ms, struct job_queue *q);

/* Ends the round: registries that failed in several rounds in a row back off. */
void round_end(struct unit_table *t, uint64_t now_ms);
/* When the next round is due. */
uint64_t round_next(const struct unit_table *t, uint64_t now_ms);
