/* SPDX-License-Identifier: MIT */
/* token: from a registry's challenge to the Authorization line that answers it. */
#pragma once

#include "challenge.h"
#include "credential.h"
#include "http.h"
#include "ref.h"
#include "url.h"

struct token_options {
	const struct ref *ref;
	const struct url *registry; /* its origin */
	struct http *session;	    /* of that origin */
	const char *ca_file;
	const struct credential *credential; /* may be empty */
	unsigned int timeout_ms;
	const volatile sig_atomic_t *cancel;
};

struct token {
	char *authorization; /* "Authorization: ..." */
	/* Why credentials that exist were not sent to the token server, or NULL. */
	char *withheld;
};

/* One request to the token server at most. Credentials go to the registry itself and to token
 * servers that belong to it only (CVE-2020-15157 and its kin); others are asked anonymously.
 * ret_retry_after is set on failure too. */
int token_get(const struct token_options *o, const struct challenge *c, struct token *ret,
	      unsigned int *ret_retry_after, struct error *ret_error) warn_unused;
/* Wipes before it frees. */
void token_free(struct token *t);

/* Whether a token server on that host may see the credentials of a registry. Pure. */
bool token_host_is_trusted(const struct ref *ref, const struct url *registry,
			   const struct url *realm);

/* "MESSAGE" of a registry's or token server's JSON body, or NULL. Caller frees. */
char *token_error_message(const struct http_response *r);
