/* SPDX-License-Identifier: MIT */
/* fetch: asks the network half one question. */
#pragma once

#include <sys/types.h>

#include "protocol.h"

struct fetch_options {
	const char *socket; /* of a socket-activated pullet-fetch; NULL: start one as a child */
	const char *config; /* path given to the child */
	bool publish;	    /* a child that may write, too */
};

/* A socket to the network half; what is written there is up to the caller. Does not block. *ret_pid is that
 * of the child, or 0 when there is none. */
int fetch_open(const struct fetch_options *o, pid_t *ret_pid, struct error *ret_error) warn_unused;

/* Codes of the network half's error, or -EPIPE when it died without an answer. ret->retry_after_s
 * is set on failure too. */
int fetch_ask(const struct fetch_options *o, const struct fetch_request *request,
	      struct fetch_reply *ret, struct error *ret_error) warn_unused;
/* The answer as it is, but for errors. */
int fetch_ask_publish(const struct fetch_options *o, const json_t *question, json_t **ret,
		      struct error *ret_error) warn_unused;
int fetch_ask_rollout(const struct fetch_options *o, const struct rollout_request *request,
		      struct rollout_reply *ret, struct error *ret_error) warn_unused;
