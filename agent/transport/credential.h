/* SPDX-License-Identifier: MIT */
/* credential: the logins to a registry, read from a file in the form of docker's config.json
 * ("auths": {HOST: {"auth": base64 of user:password} or username/password, identitytoken or registrytoken}), whose keys
 * may name a namespace or a repository too, as in containers-auth.json(5). */
#pragma once

#include "json.h"

#define CREDENTIALS_FILE_MAX ((size_t)256 * 1024)

/* All zero: no login. */
struct credential {
	char *username; /* NULL with a token */
	char *password;
	char *identity_token; /* an OAuth2 refresh token; NULL otherwise */
	char *registry_token; /* sent to the registry as it is; NULL otherwise */
	char *basic;	      /* "Authorization: Basic ...", or NULL without a user name */
	char *scope; /* the repository, or what is before a '/' in it; "": all of the registry */
	char *hint; /* for people: the key and the file, or why there is no login; NULL: it was typed just now */
	bool faulty; /* the entry cannot be used: hint says why */
};

/* Of one registry. All zero: none. */
struct credentials {
	struct credential *items; /* the longest scope first */
	size_t n;
};

/* Reads all logins of host: keys may have a scheme and a path, and docker.io has several names. *ret is empty without a
 * path. A file that other users may write to, or that is unreadable or invalid, is an error. */
int credentials_load(const char *path, const char *host, struct credentials *ret,
		     struct error *ret_error) warn_unused;
/* Adds the logins of host in j, or in the n bytes of data. path names the document in messages; of two logins with the
 * same scope the first counts. alone: there is no other document, so a missing login gets a hint. -EBADMSG: it is not of
 * that form. */
int credentials_add(struct credentials *s, const char *path, const json_t *j, const char *host,
		    bool alone, struct error *ret_error) warn_unused;
int credentials_parse(struct credentials *s, const char *path, const char *data, size_t n,
		      const char *host, bool alone, struct error *ret_error) warn_unused;
/* Adds no login for all of the registry, and why. */
void credentials_add_hint(struct credentials *s, const char *hint);
void credentials_free(struct credentials *s);

/* credential-store.c: the one rule which login counts for host: that of the file configured, which may be NULL; else those
 * of auth.d (login.h), as systemd loaded it or as root reads it; else, for a person's command, that of docker login. A file
 * of auth.d that cannot be used is a hint, not an error, since other registries do not depend on it, unless systemd starts no unit with
 * it. */
int credentials_choose(const char *configured, const char *auth_dir, const char *host,
		       bool docker_login, struct credentials *ret,
		       struct error *ret_error) warn_unused;

/* The login for a repository ("team/app"), that of the longest scope; empty if there is none. Borrowed. */
const struct credential *credentials_find(const struct credentials *s, const char *repository);
/* -EBADMSG if the entry cannot be used. */
int credential_check(const struct credential *c, struct error *ret_error) warn_unused;

/* Wipes a text with a secret in it, or NULL, then frees it; *s is NULL then. */
void credential_wipe(char **s);

static inline bool credential_is_set(const struct credential *c)
{
	return c->username || c->identity_token || c->registry_token;
}

/* The value of X-Registry-Auth: base64url with padding of the JSON of the Engine API; NULL when c
 * is empty. host as the engine names the registry. Caller frees. */
char *credential_engine_header(const struct credential *c, const char *host);
