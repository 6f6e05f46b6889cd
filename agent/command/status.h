/* SPDX-License-Identifier: MIT */
/* status: the state of a container, from pulletd or from its record, and how it is shown: as the contract's
 * object, as a row of a table, in detail. Pure. */
#pragma once

#include "config.h"
#include "json.h"
#include "record.h"

struct status_rejected {
	char *digest, *reason;
};

/* Texts are never NULL; an empty one means none. */
struct status {
	char *name, *image, *phase, *operation;
	char *current, *target, *previous;
	char *last_result, *last_error;
	struct status_rejected *rejected; /* newest last */
	size_t n_rejected;
	bool held;
	uint64_t next_check_us; /* since 1970; 0: unknown, or a pass is running */
	uint64_t bytes, total;	/* of the image that is being pulled; 0, 0: none */
};

struct status_list {
	struct status *items; /* in the order of their names */
	size_t n;
};

struct view {
	size_t width;
	bool colours;
	uint64_t now_us; /* since 1970 */
};

/* The container of this name; it is added if there is none. */
struct status *status_list_get(struct status_list *l, const char *name);
struct status *status_list_find(const struct status_list *l, const char *name);
void status_list_clear(struct status_list *l);

/* Takes both texts over. */
void status_reject(struct status *s, char *digest, char *reason);
void status_forget_rejected(struct status *s);

/* Fills s from the configuration and the record. */
void status_take_record(struct status *s, const struct container_config *c, const struct record *r);

/* The contract's object, and an array of them; only, if not NULL, names the one to show. Caller owns it. */
json_t *status_to_json(const struct status *s);
json_t *status_list_to_json(const struct status_list *l, const char *only);

/* Whole lines. Caller frees. */
char *status_table(const struct status_list *l, const struct view *v);
char *status_details(const struct status *s, const struct view *v);
