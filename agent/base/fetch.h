/* SPDX-License-Identifier: MIT */
/* fetch: a session with the network half: questions to one registry, over one connection. */
#pragma once

#include <sys/types.h>

#include "message.h"
#include "protocol.h"

struct fetch_options {
	const char *socket; /* of a socket-activated pullet-fetch; NULL: start one as a child */
	const char *config; /* path given to the child */
	bool publish;	    /* a child that may write, too */
};

struct fetch;

/* A session for the registry host (as in struct ref). Starts nothing: that is left to the first question.
 * o is borrowed and must live as long. The caller frees with fetch_free(). */
struct fetch *fetch_new(const struct fetch_options *o, const char *host);
/* Hangs up, which ends the network half; a child that has not ended a second later, or when a signal comes, is
 * killed. NULL is allowed. */
void fetch_free(struct fetch *f);

/* A socket to the network half; what is written there is up to the caller. Does not block. *ret_pid is that
 * of the child, or 0 when there is none. */
int fetch_connect(const struct fetch_options *o, pid_t *ret_pid,
		  struct error *ret_error) warn_unused;

/* Where the tags of n images of this registry point: ret[0..n-1], one each. The network half asks for up to
 * PROTOCOL_BATCH_MAX at the same time. Fails only when the network half itself did. */
int fetch_resolve(struct fetch *f, const char *const *images, size_t n, struct fetch_resolved *ret,
		  struct error *ret_error) warn_unused;

/* Codes of the network half's error, or -EPIPE when it died without an answer. ret->retry_after_s
 * is set on failure too. */
int fetch_ask(struct fetch *f, const struct fetch_request *request, struct fetch_reply *ret,
	      struct error *ret_error) warn_unused;
/* The answer as it is, but for errors. */
int fetch_ask_publish(struct fetch *f, const json_t *question, json_t **ret,
		      struct error *ret_error) warn_unused;
int fetch_ask_rollout(struct fetch *f, const struct rollout_request *request,
		      struct rollout_reply *ret, struct error *ret_error) warn_unused;

static inline void cleanup_fetch_p(struct fetch **f)
{
	fetch_free(*f);
}
#define _cleanup_fetch_ _cleanup_(cleanup_fetch_p)
