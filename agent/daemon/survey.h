/* SPDX-License-Identifier: MIT */
/* survey: answers the method Survey: one run of pullet-update, beside the job that runs, for all who ask meanwhile. */
#pragma once

#include <systemd/sd-bus.h>

#include "helper.h"

#define SURVEY_CALLS_MAX 16

struct survey {
	/* Gets the names of {"event":"unfollowed"}, borrowed. */
	void (*on_unfollowed)(void *userdata, json_t *names);
	void *userdata;

	struct helper helper;
	sd_bus_message *calls[SURVEY_CALLS_MAX]; /* that wait for the answer */
	size_t n_calls;
	char **found; /* objects of pullet-update as text; NULL-terminated, or NULL */
	size_t n_found, bytes;
	bool ended;  /* pullet-update said so */
	char *error; /* and why it found nothing; NULL: it did */
	uint64_t ended_ms;
};

/* Before it: on_unfollowed and userdata. */
void survey_init(struct survey *s);
/* Answers the call later, or with an error now, which is returned: the fault of the configuration, or too many wait, or one
 * that is not privileged comes right behind the last one. */
int survey_ask(struct survey *s, sd_event *event, const struct helper_options *o, const char *fault,
	       sd_bus_message *call, sd_bus_error *error);
void survey_close(struct survey *s);
