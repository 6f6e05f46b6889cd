/* SPDX-License-Identifier: MIT */
/* registry: one connection to one registry (OCI distribution-spec), with redirects and authentication. repository.h has
 * the requests. */
#pragma once

#include "config.h"
#include "credential.h"
#include "http.h"
#include "url.h"

struct registry;

struct registry_options {
	char *host; /* as in struct ref */
	/* Unless "insecure" is set, a loopback host without a CA gets plain HTTP first, and https if it answers "HTTP
	 * request to an HTTPS server". */
	const struct registry_config *config;
	char *ca_file; /* PEM; NULL: the system's */
	char *ca_name; /* its own path, for the cache: ca_file may be a copy */
	struct credential credential;
	int cache_dir; /* for tokens and TLS sessions, private to this user; -1: none */
	const volatile sig_atomic_t *cancel;
};

/* o and what it points to are borrowed. */
int registry_open(const struct registry_options *o, struct registry **ret,
		  struct error *ret_error) warn_unused;
void registry_close(struct registry *r);

/* Begins a batch: all of its requests together have three minutes. */
void registry_begin(struct registry *r);
/* Ends a batch: writes new tokens to the cache. */
void registry_end(struct registry *r);

/* Seconds of Retry-After in the last answer, or 0. */
unsigned int registry_retry_after(const struct registry *r);
/* Why existing credentials are not sent to the token server, or NULL. Caller frees. */
char *registry_withheld(const struct registry *r);
