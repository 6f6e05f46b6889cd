/* SPDX-License-Identifier: MIT */
/* reporter: tells others how this device is, as [report] says: a collector through the network half, and a
 * file for node_exporter. Lossy and never waited for: one report is on its way at a time, none is sent again,
 * and nothing of it is kept on disk. All functions take NULL for none. */
#pragma once

#include "agent.h"

struct reporter *reporter_open(struct agent *agent, sd_event *event);
void reporter_close(struct reporter *r);

/* What is worth an event of its own. */
void reporter_phase(struct reporter *r, const struct unit *s, const char *phase,
		    const char *digest);
void reporter_result(struct reporter *r, const json_t *result);
/* All that was to do is done: the metrics have news. */
void reporter_flush(struct reporter *r);
/* The configuration is another. */
void reporter_reload(struct reporter *r);
