/* SPDX-License-Identifier: MIT */
/* session: one connection of a caller, bound to one registry or to the collector. Only its credentials are loaded, and
 * a registry that takes over the process cannot answer for another. */
#pragma once

#include "json.h"
#include "protocol.h"
#include "registry.h"
#include "traffic-file.h"

#define MIRRORS_MAX ((size_t)4)

struct session {
	const char *config_path;
	const char *cache_path; /* NULL: no cache */
	bool
	operator; /* a person's command: docker login's credentials count where there are no others */
	bool publishing; /* may write policies */
	bool login;	 /* tries a login, and reads none */

	bool asked;	    /* a question has bound it */
	bool sealed;	    /* sealed.h: it answers one question, and does not end as others do */
	struct error fault; /* the error of session_bind() */
	struct config *config;
	/* host NULL: not bound; "" is the collector. The owner sets cancel only. */
	struct registry_options options;
	struct mirror {
		struct registry_options options;
		struct registry_config config; /* its texts are borrowed from session.config */
	} mirrors[MIRRORS_MAX];		       /* in the order in which they are asked */
	size_t n_mirrors;
	struct registry *registry; /* opened by the first question */
	/* Its descriptors are those of the batch; progress is told to it. The owner sets it. */
	struct protocol_reader *caller;
	struct http_tick tick; /* of all connections of the session */
	struct traffic_file traffic;
};

/* Binds s to host, or to the collector: "". Binding it again does nothing. Reads the configuration, the credentials and
 * the certificates, before the process drops its privileges. -EPERM: s is bound to another. */
int session_bind(struct session *s, const char *host, struct error *ret_error) warn_unused;
/* Opens s->registry, that s is bound to, unless it is open. */
int session_open_registry(struct session *s, struct error *ret_error) warn_unused;
/* Whether the directory can be a cache: it is this user's alone. */
bool session_cache_is_private(int dir);
/* Puts what was moved until now into a reply. */
void session_put_traffic(struct session *s, json_t *reply);
/* Tells the caller how far a request has come. If the caller has hung up, that cancels it. */
void session_tell_progress(struct session *s, uint64_t bytes);
/* The last progress that was told. */
struct told {
	uint64_t bytes, at_ms;
};
/* The same, four times a second at most, and often enough for a caller who gives up after five minutes without a line. */
void session_tell_at_times(struct session *s, struct told *told, uint64_t bytes);
/* Closes it, and forgets what it has read. Twice does nothing more. */
void session_close(struct session *s);

/* answer.c: answers a batch of n questions, at most PROTOCOL_BATCH_MAX, in their order: ret[0..n-1], errors included.
 * The digests of tags are requested at the same time, everything else one after the other. */
void answer_batch(struct session *s, json_t *const *questions, size_t n, json_t **ret);
