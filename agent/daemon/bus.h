/* SPDX-License-Identifier: MIT */
/* bus: org.pullet.Agent1 on the system bus; systemd/org.pullet.Agent1.xml describes it. Properties
 * mirror the record and the agent's units, methods are orders to the agent. Without a bus all goes on
 * the same, and it is there as soon as one appears. All but bus_open take NULL for "no bus". */
#pragma once

#include <systemd/sd-event.h>

#include "agent.h"

struct bus;

/* Never fails: what cannot be now is tried again. */
struct bus *bus_open(struct agent *agent, sd_event *event);
void bus_close(struct bus *b);

/* Before the process sleeps: nothing that was read is kept. */
void bus_drop_cache(struct bus *b);

/* Tells of changed properties of a container, by name; NULL ends them. */
void bus_changed(struct bus *b, const struct unit *s, ...) __attribute__((sentinel));
/* Whatever a turn may have changed, and that it is over. result: the contract's object as text, NULL:
 * there is none to tell. */
void bus_job_ended(struct bus *b, const struct unit *s, enum operation operation,
		   const char *result);

/* Around a change of the configuration. */
void bus_forget_objects(struct bus *b);
void bus_announce_objects(struct bus *b);
