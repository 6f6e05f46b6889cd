/* SPDX-License-Identifier: MIT */
/* helper: one pullet-update, from its start to its end: a unit behind a socket, or a child. Either way the job
 * and its events go over one stream socket, and closing our direction of it asks pullet-update to come to rest. */
#pragma once

#include <signal.h>
#include <systemd/sd-event.h>

#include "job.h"
#include "json.h"

struct helper_options {
	const char *config_path;
	const char *state_dir;
	const char *engine;	  /* or NULL */
	const char *fetch_socket; /* or NULL */
	const char *
		update_socket; /* of a socket-activated pullet-update; NULL: start one as a child */
	bool debug;
};

struct helper {
	/* Set by the owner. on_object: an event, borrowed. on_end: after the last event; how: for people,
	 * "exit status 1"; empty for a unit. exit_status: of a child that exited, else -1. The helper may be started again then. */
	int (*on_object)(void *userdata, json_t *object);
	void (*on_end)(void *userdata, int exit_status, const char *how);
	void *userdata;

	bool running;
	pid_t pid; /* of a child, else 0 */
	int fd;
	sd_event_source *child, *output, *limit;
	struct json_stream stream;
};

/* Nothing of job is kept. */
int helper_start(struct helper *h, sd_event *event, const struct helper_options *o,
		 const struct job *job, struct error *ret_error) warn_unused;

/* Asks it to come to rest: where a container runs. */
void helper_stop(const struct helper *h);
