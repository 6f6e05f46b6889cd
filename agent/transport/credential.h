/* SPDX-License-Identifier: MIT */
/* credential: the login to a registry, read from a file in the form of docker's config.json
 * ("auths": {HOST: {"auth": base64 of user:password} or username/password or identitytoken}). */
#pragma once

#include "error.h"

struct credential {
	char *username; /* NULL with an identity token */
	char *password;
	char *identity_token; /* an OAuth2 refresh token; NULL otherwise */
};

/* Looks up host ("docker.io" is also found under https://index.docker.io/v1/; keys may have a scheme and a path).
 * *ret is empty without a path, or if the file does not have the host. A file that other users may write to, or that
 * is unreadable or invalid, is an error. */
int credential_load(const char *path, const char *host, struct credential *ret,
		    struct error *ret_error) warn_unused;
/* Wipes the secrets, then frees them. */
void credential_free(struct credential *c);
/* The same for one text with a secret in it, or NULL; *s is NULL then. */
void credential_wipe(char **s);

static inline bool credential_is_set(const struct credential *c)
{
	return c->username || c->identity_token;
}

/* The value of X-Registry-Auth: base64url with padding of the JSON of the Engine API; NULL when c
 * is empty. host as the engine names the registry. Caller frees. */
char *credential_engine_header(const struct credential *c, const char *host);

/* "Authorization: Basic ...", or NULL without a user name. Caller frees. */
char *credential_basic(const struct credential *c);
