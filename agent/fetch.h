/* SPDX-License-Identifier: MIT */
/* fetch: asks the network half one question. */
#pragma once

#include "protocol.h"

struct fetch_options {
	const char *socket; /* of a socket-activated pullet-fetch; NULL: start one as a child */
	const char *config; /* path given to the child */
	bool publish;	    /* a child that may write, too */
};

/* Codes of the network half's error, or -EPIPE when it died without an answer. ret->retry_after_s
 * is set on failure too. */
int fetch_ask(const struct fetch_options *o, const struct fetch_request *request,
	      struct fetch_reply *ret, struct error *ret_error) warn_unused;
/* The answer as it is, but for errors. */
int fetch_ask_publish(const struct fetch_options *o, const json_t *question, json_t **ret,
		      struct error *ret_error) warn_unused;
int fetch_ask_rollout(const struct fetch_options *o, const struct rollout_request *request,
		      struct rollout_reply *ret, struct error *ret_error) warn_unused;
