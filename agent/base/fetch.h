/* SPDX-License-Identifier: MIT */
/* fetch: a session with the network half, for requests to one registry. */
#pragma once

#include <sys/types.h>

#include "message.h"
#include "protocol.h"

struct fetch_options {
	const char *socket; /* of a socket-activated pullet-fetch; NULL: start a child */
	const char *config; /* path given to the child */
	bool publish;	    /* the child may publish policies */
};

struct fetch;

/* A session for the registry host (as in struct ref). The first request connects. o is borrowed. The caller frees with
 * fetch_free(). */
struct fetch *fetch_new(const struct fetch_options *o, const char *host);
/* Closes the connection, which ends the network half. A child that has not exited a second later, or when a signal
 * comes, is killed. NULL is allowed. */
void fetch_free(struct fetch *f);

/* A socket to the network half, for a caller that uses it itself, with MSG_DONTWAIT; connecting does not block.
 * *ret_pid: the child, 0: none. */
int fetch_connect(const struct fetch_options *o, pid_t *ret_pid,
		  struct error *ret_error) warn_unused;

/* Resolves the tags of n images of this registry: ret[0..n-1]. The network half resolves PROTOCOL_BATCH_MAX at the same
 * time. Fails only if the network half itself failed. */
int fetch_resolve(struct fetch *f, const char *const *images, size_t n, struct fetch_resolved *ret,
		  struct error *ret_error) warn_unused;

/* Returns the code of the network half's error, or -EPIPE if it ended without an answer. A failure too sets
 * ret->retry_after_s. */
int fetch_ask(struct fetch *f, const struct fetch_request *request, struct fetch_reply *ret,
	      struct error *ret_error) warn_unused;
/* *ret is the answer unchanged, unless it is an error. */
int fetch_ask_publish(struct fetch *f, json_t *question, json_t **ret,
		      struct error *ret_error) warn_unused;
/* ring may be NULL. */
int fetch_ask_rollout(struct fetch *f, const char *image, const char *ring,
		      struct rollout_reply *ret, struct error *ret_error) warn_unused;

static inline void cleanup_fetch_p(struct fetch **f)
{
	fetch_free(*f);
}
#define _cleanup_fetch_ _cleanup_(cleanup_fetch_p)
