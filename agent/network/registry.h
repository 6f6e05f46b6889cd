/* SPDX-License-Identifier: MIT */
/* registry: one connection to one registry (OCI distribution-spec): requests with redirects by hand, and what it takes to
 * be let in. repository.h has what is asked over it. */
#pragma once

#include "credential.h"
#include "http.h"
#include "url.h"

struct registry;

struct registry_options {
	/* plain HTTP (explicit, or a loopback host without a CA of its own; such a host that answers
	 * "HTTP request to an HTTPS server" is asked again over https) */
	bool insecure;
	bool insecure_set;
	const char *ca_file; /* PEM; NULL: the system's */
	const char
		*ca_name; /* its path in the configuration, for the cache; ca_file may be a copy */
	const struct credential *credential;
	int cache_dir; /* for tokens and TLS sessions, private to this user; -1: none */
	const volatile sig_atomic_t *cancel;
};

/* A registry by its host as in struct ref. o and what it points to are borrowed. */
int registry_open(const char *host, const struct registry_options *o, struct registry **ret,
		  struct error *ret_error) warn_unused;
void registry_close(struct registry *r);

/* Docker's own place for the CA of a registry, /etc/docker/certs.d/HOST: the first by name, or NULL. Caller frees. */
char *registry_find_ca(const char *host);

/* A question begins: all of its requests together have three minutes. */
void registry_begin(struct registry *r);
/* It ended: what was learned is written to the cache. */
void registry_end(struct registry *r);

/* Seconds the registry asked us to stay away in its last answer (Retry-After), or 0. */
unsigned int registry_retry_after(const struct registry *r);
/* Why credentials that exist are not given to its token server, or NULL. Caller frees. */
char *registry_withheld(const struct registry *r);
