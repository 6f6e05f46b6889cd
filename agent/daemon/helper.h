/* SPDX-License-Identifier: MIT */
/* helper: one pullet-update, from its start to its end. */
#pragma once

#include <signal.h>
#include <systemd/sd-event.h>

#include "json.h"
#include "operation.h"

struct helper_options {
	const char *config_path;
	const char *state_dir;
	const char *engine;	  /* or NULL */
	const char *fetch_socket; /* or NULL */
	bool debug;
};

struct helper {
	/* Of the owner: called with each object that the child says, and after the last one when it
	 * has ended; then it may be started again. */
	int (*on_object)(void *userdata, json_t *object);
	void (*on_end)(void *userdata, const siginfo_t *si);
	void *userdata;

	pid_t pid;	  /* 0: none runs */
	const char *name; /* of the container; borrowed */
	int pipe;
	sd_event_source *child, *output, *limit;
	struct json_stream stream;
};

int helper_start(struct helper *h, sd_event *event, const struct helper_options *o,
		 const char *name, enum operation operation, struct error *ret_error) warn_unused;

/* Asks it to come to rest where a container runs. */
void helper_stop(const struct helper *h);
