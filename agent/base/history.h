/* SPDX-License-Identifier: MIT */
/* history: what the record keeps of the last HISTORY_MAX results of a container. */
#pragma once

#include "result.h"

struct config;

/* Appends r, for the next record_save(), and drops the oldest entry if there are too many. A refusal or failure that
 * is in the history already is not told again. began_ms: when it began, in Unix time; 0: not known. */
void history_add(struct record *record, const struct result *r, int64_t began_ms);

/* An array of the contract's result objects, oldest first, each with "time" (RFC 3339, or null) and "duration_ms"
 * (or null). The caller owns it. */
json_t *history_to_json(const struct record *record, const char *container, const char *image);

/* The names of the records in that directory whose container the configuration does not have, in order: an array of
 * strings, empty if it cannot be read. The caller owns it. */
json_t *record_list_gone(const char *state_dir, const struct config *config);
