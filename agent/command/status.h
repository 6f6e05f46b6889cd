/* SPDX-License-Identifier: MIT */
/* status: what is known of a container, wherever it was learnt, and how it is shown: as the contract's
 * object, as a row of a table, in full. Pure. */
#pragma once

#include "config.h"
#include "json.h"
#include "record.h"

struct status_rejected {
	char *digest, *reason;
};

/* Texts are never NULL; empty: there is none. */
struct status {
	char *name, *image, *phase, *operation;
	char *current, *target, *previous;
	char *last_result, *last_error;
	struct status_rejected *rejected; /* newest last */
	size_t n_rejected;
	bool held;
	uint64_t next_check_us; /* since 1970; 0: not known, or it looks now */
	uint64_t bytes, total;	/* of the image that comes in; 0, 0: none does */
};

struct status_list {
	struct status *items; /* by name */
	size_t n;
};

struct view {
	size_t width;
	bool colours;
	uint64_t now_us; /* since 1970 */
};

/* Of that name, made if it is not there. */
struct status *status_list_get(struct status_list *l, const char *name);
struct status *status_list_find(const struct status_list *l, const char *name);
void status_list_clear(struct status_list *l);

/* Takes texts over. */
void status_reject(struct status *s, char *digest, char *reason);
void status_forget_rejected(struct status *s);

/* By the configuration and the record alone, as far as they tell. */
void status_take_record(struct status *s, const struct container_config *c, const struct record *r);

/* The contract's object, and an array of them; only names one when it is not NULL. Caller owns it. */
json_t *status_to_json(const struct status *s);
json_t *status_list_to_json(const struct status_list *l, const char *only);

/* Caller frees. */
char *status_table(const struct status_list *l, const struct view *v);
char *status_details(const struct status *s, const struct view *v);
