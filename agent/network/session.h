/* SPDX-License-Identifier: MIT */
/* session: one connection of a caller, bound to one registry or to the collector. Only its credentials are loaded, and
 * a registry that takes over the process cannot answer for another. */
#pragma once

#include "json.h"
#include "registry.h"

#define MIRRORS_MAX ((size_t)4)

struct session {
	const char *config_path;
	const char *cache_path; /* NULL: no cache */
	bool publishing;

	bool asked;	    /* a question has bound it */
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
};

/* Binds s to host, or to the collector: "". Binding it again does nothing. Reads the configuration, the credentials and
 * the certificates, before the process drops its privileges. -EPERM: s is bound to another. */
int session_bind(struct session *s, const char *host, struct error *ret_error) warn_unused;
/* Opens s->registry, that s is bound to, unless it is open. */
int session_open_registry(struct session *s, struct error *ret_error) warn_unused;
void session_close(struct session *s);

/* answer.c: answers a batch of n questions, at most PROTOCOL_BATCH_MAX, in their order: ret[0..n-1], errors included.
 * The digests of tags are requested at the same time, everything else one after the other. */
void answer_batch(struct session *s, json_t *const *questions, size_t n, json_t **ret);
