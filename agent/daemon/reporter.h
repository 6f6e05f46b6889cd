/* SPDX-License-Identifier: MIT */
/* reporter: reports the state of this device as [report] says: to a collector through the network half, and to a
 * file for node_exporter. Lossy and never waited for: one report is on its way at a time, none is sent again,
 * and nothing is kept on disk. All functions but reporter_open() accept NULL for none. */
#pragma once

#include "helper.h"
#include "unit.h"

/* table and options are borrowed. */
struct reporter *reporter_open(sd_event *event, const struct unit_table *table,
			       const struct helper_options *options);
void reporter_close(struct reporter *r);

/* An event of report_phase() or report_result(). Takes record over. */
void reporter_event(struct reporter *r, json_t *record);
/* The queue is empty: the metrics are up to date. They go out soon. */
void reporter_flush(struct reporter *r);
/* The table was loaded again. */
void reporter_reload(struct reporter *r);
