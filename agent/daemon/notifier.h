/* SPDX-License-Identifier: MIT */
/* notifier: hands the events of notice.h to the starter behind pullet-unit.socket, one after another, and remembers
 * what was told in $STATE_DIRECTORY/told.json, over restarts too. A failure hurts no update. All functions but
 * notifier_open() accept NULL for none. */
#pragma once

#include "helper.h"
#include "notice.h"
#include "unit.h"

/* table and options are borrowed. NULL: there is no starter. */
struct notifier *notifier_open(sd_event *event, const struct unit_table *table,
			       const struct helper_options *options);
void notifier_close(struct notifier *n);

/* Keeps the last log lines of a version that failed for the result, which follows. */
void notifier_log(struct notifier *n, const char *container, json_t *lines);
/* again: the pass before failed, too. */
void notifier_result(struct notifier *n, const char *container, enum operation operation,
		     bool again, const json_t *result);
