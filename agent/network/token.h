/* SPDX-License-Identifier: MIT */
/* token: from a registry's challenge to a bearer token (distribution's token specification, and its OAuth2 form for
 * identity tokens). */
#pragma once

#include "challenge.h"
#include "credential.h"
#include "http.h"
#include "url.h"

struct token_options {
	const char *host;	    /* of the registry, as in struct ref */
	const struct url *registry; /* its origin */
	struct http *session;	    /* of that origin */
	const char *ca_file;
	const struct credential *credential; /* may be empty */
	unsigned int timeout_ms;
	const volatile sig_atomic_t *cancel;
};

struct token_reply {
	char *token; /* fit for a header line; the caller wipes it */
	unsigned int
		lifetime_s; /* a minute at least (the specification's default), a day at most */
	long status;	    /* of the token server; 0: it did not answer */
	unsigned int retry_after_s; /* on failure too */
};

/* One request to the token server that c.realm names, for one token with the n scopes. Credentials go to the registry
 * itself and to token servers that belong to it (CVE-2020-15157 and its kin); others are asked anonymously. */
int token_get(const struct token_options *o, const struct challenge *c, const char *const *scopes,
	      size_t n, struct token_reply *ret, struct error *ret_error) warn_unused;

/* Why credentials that exist do not go to the token server of c, or NULL. Caller frees. */
char *token_withheld(const struct token_options *o, const struct challenge *c);

/* Whether s may stand in a header line as a token. Pure. */
bool token_is_clean(const char *s);

/* Whether a token server on that host may see the credentials of a registry. Pure. */
bool token_host_is_trusted(const char *host, const struct url *registry, const struct url *realm);

/* "MESSAGE" of a registry's or token server's JSON body, or NULL. Caller frees. */
char *token_error_message(const struct http_response *r);
