/* SPDX-License-Identifier: MIT */
/* show: shows events and results: on the terminal with --once, else on the bus, in the journal (entries with
 * PULLET_ fields and the MESSAGE_ID of a catalog text), to the reporter and in systemctl status. */
#pragma once

#include "bus.h"
#include "job.h"
#include "reporter.h"
#include "unit.h"

struct show {
	bool once, json; /* as in struct agent_options */
	struct bus *bus; /* NULL with --once */
	struct reporter *reporter;
	bool progress_shown;
};

/* Events of pullet-update. */
void show_phase(struct show *s, struct unit *u, const json_t *event);
void show_progress(struct show *s, struct unit *u, const json_t *event);
void show_step(struct show *s, struct unit *u, const json_t *event);
/* The last log lines of a version that failed, for the journal. */
void show_log(struct show *s, struct unit *u, const json_t *event);
/* Prints a result, with --once. */
void show_result(struct show *s, const json_t *result);
/* Logs and reports a result that differs from the unit's last one: a lasting failure is logged once. */
void show_new_result(struct show *s, enum operation operation, const json_t *result);

/* For systemctl status: a job that starts; no job, and the next round at due_ms of now_ms(). */
void show_job(const struct job *job);
void show_idle(const struct unit_table *t, uint64_t due_ms);
/* For systemd: a reload begins. */
void show_reloading(void);
