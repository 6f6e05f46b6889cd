/* SPDX-License-Identifier: MIT */
/* helper: one run of another program of Pullet, from its start to its end: a unit behind a socket, or a child.
 * One line and the answers go over one stream socket; shutting our direction down asks the program to end. */
#pragma once

#include <signal.h>
#include <systemd/sd-event.h>

#include "job.h"
#include "json.h"

struct helper_options {
	const char *config_path;
	const char *state_dir;
	const char *engine;	   /* or NULL */
	const char *fetch_socket;  /* or NULL */
	const char *update_socket; /* of a pullet-update unit; NULL: start a child */
	/* Of the starter of units; NULL: the usual one for hooks, and nobody is notified. */
	const char *unit_socket;
	bool debug;
};

struct helper {
	/* Set by the owner. program: for messages. on_object: a line of the program, borrowed. on_end: after the last
	 * line; exit_status of a child that exited, else -1; how: "exit status 1", or empty. Either may start again. */
	const char *program;
	int (*on_object)(void *userdata, json_t *object);
	void (*on_end)(void *userdata, int exit_status, const char *how);
	void *userdata;

	bool running, late; /* late: it was stopped at its time limit */
	pid_t pid;	    /* of a child, else 0 */
	int fd;
	sd_event_source *child, *output, *limit;
	struct json_stream stream;
};

/* Sends the line to the program behind h->fd and follows it, and its process h->pid if there is one, which is
 * killed on an error. */
int helper_follow(struct helper *h, sd_event *event, const char *line, uint64_t limit_us,
		  struct error *ret_error) warn_unused;
/* Starts pullet-update for a job, of which nothing is kept. */
int helper_start(struct helper *h, sd_event *event, const struct helper_options *o,
		 const struct job *job, struct error *ret_error) warn_unused;

/* Asks the program to end; pullet-update first reaches a state in which the container runs. */
void helper_stop(const struct helper *h);
/* Kills a child, and calls nothing more. */
void helper_close(struct helper *h);
