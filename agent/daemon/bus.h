/* SPDX-License-Identifier: MIT */
/* bus: org.pullet.Agent1 on the system bus; systemd/org.pullet.Agent1.xml describes it. Properties mirror the
 * records and the table of units; methods are requests to the agent. The agent works without a bus, and connects
 * as soon as one appears. All functions but bus_open() accept NULL for "no bus". */
#pragma once

#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "unit.h"

struct bus;

/* Queues the operation, or answers at once: *ret_answer is a result object as text, which the bus frees; NULL:
 * it is queued. privileged: the client is root or our own user. hold: of OPERATION_HOLD, taken over. -EBUSY,
 * -ESHUTDOWN. */
typedef int bus_request_fn(void *userdata, const struct unit *u, enum operation operation,
			   bool privileged, json_t *hold, char **ret_answer,
			   struct error *ret_error);

/* Answers a call of Survey, as a method handler of sd-bus. */
typedef int bus_survey_fn(void *userdata, sd_bus_message *call, sd_bus_error *error);

/* Never fails: a failed connection is tried again. table and state_dir are borrowed. */
struct bus *bus_open(sd_event *event, const struct unit_table *table, const char *state_dir,
		     bus_request_fn *request, bus_survey_fn *survey, void *userdata);
void bus_close(struct bus *b);

/* Drops the record that was read last: call it before the process sleeps. */
void bus_drop_cache(struct bus *b);

/* Signals changed properties of a container, by name. */
#define bus_changed(b, u, ...) bus_emit_changed(b, u, (const char *const[]){__VA_ARGS__, NULL})
void bus_emit_changed(struct bus *b, const struct unit *u, const char *const *names);
/* Signals that the configuration has another fault, or none any more. */
void bus_fault_changed(struct bus *b);
/* Signals that others are not followed. */
void bus_unfollowed_changed(struct bus *b);
/* Signals that bytes were moved. */
void bus_traffic_changed(struct bus *b);
/* Signals all that an operation may have changed, and its end. result: the contract's object as text. */
void bus_job_ended(struct bus *b, const struct unit *u, enum operation operation,
		   const char *result);

/* Signals that all containers were removed, before the table is loaded again, or added, after it. */
void bus_emit_objects(struct bus *b, bool added);
