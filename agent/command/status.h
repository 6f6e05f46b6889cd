/* SPDX-License-Identifier: MIT */
/* status: the state of a container, from pulletd or from its record, and how it is shown: as the contract's
 * object, as a row of a table, in detail. Pure. */
#pragma once

#include <stdio.h>

#include "config.h"
#include "json.h"
#include "record.h"
#include "result.h"
#include "terminal.h"

/* Texts are never NULL; an empty one means none. */
struct status {
	char *name, *image, *phase, *operation;
	char *current, *target, *previous;
	char *version, *target_version;	 /* of current and target, as the images say */
	char *step;			 /* what the operation does now */
	uint64_t step_began_ms, step_ms; /* of now_ms(), and how long at most; 0, 0: not known */
	char *last_result, *last_error;
	json_t *rejected;	       /* the contract's array, newest last */
	json_t *signed_by;	       /* names of the keys that signed current; empty: none */
	uint64_t signature_expires_us; /* since 1970; 0: never */
	char *held_by, *held_reason;
	bool held;
	uint64_t held_until_us; /* since 1970; 0: until it is released */
	bool rolled_back;	/* the last error is why the last rejected digest did not stay */
	uint64_t next_check_us; /* since 1970; 0: unknown, or a pass is running */
	uint64_t bytes, total;	/* of the image that comes, or is loaded; 0, 0: none */
	struct download_state download; /* of 0: none */
};

struct status_list {
	struct status *items; /* in the order of their names */
	size_t n;
};

/* The container of this name; it is added if there is none. */
struct status *status_list_get(struct status_list *l, const char *name);
struct status *status_list_find(const struct status_list *l, const char *name);
void status_list_clear(struct status_list *l);

/* The text that is this property of the container on the bus; NULL: none is. */
char **status_text(struct status *s, const char *property);
void status_reject(struct status *s, const char *digest, const char *reason);

/* Fills s from the configuration and the record. */
void status_take_record(struct status *s, const struct container_config *c, const struct record *r);

/* An array of the contract's objects; only, if not NULL, names the one to show. Caller owns it. */
json_t *status_list_to_json(const struct status_list *l, const char *only);

/* "on trial, 12 of 30 s", or without times as step is; "": not known. *ret_elapsed_ms is at most step_ms. Caller
 * frees. */
char *status_step(const struct status *s, uint64_t *ret_elapsed_ms);

/* Prints a line for each budget that is set. traffic: as in struct client. */
void status_print_budget(FILE *f, const uint64_t traffic[4]);

/* Prints whole lines, of the width of t. fault: of the configuration, which no container repeats; NULL: none. gone:
 * names of records without a section. */
void status_print_table(FILE *f, const struct status_list *l, const char *fault, const json_t *gone,
			const struct terminal *t, uint64_t now_us);
void status_print_details(FILE *f, const struct status *s, const struct terminal *t);
