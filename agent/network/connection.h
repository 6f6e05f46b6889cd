/* SPDX-License-Identifier: MIT */
/* connection: the state of one registry's connection and of the requests on their way: for registry.c, token.c and
 * repository*.c only. */
#pragma once

#include "registry.h"
#include "token-cache.h"

struct registry {
	const struct registry_options *o;
	char *host;
	char *accept; /* "Accept: ..." */
	/* "Authorization: Basic ...": sent from the first request on, which saves a 401, unless the registry is known
	 * to require a token. */
	char *basic;
	struct url origin;
	struct http *session; /* of origin */
	bool try_plain;	      /* plain HTTP is a guess: the registry may require TLS */
	bool answered;	      /* the registry has shown whether it requires a token */
	bool challenged;      /* the challenge is not from the cache */
	struct token_cache tokens;
	struct token_file file;
	char *file_name;
	uint64_t deadline;
	unsigned int retry_after_s; /* of the last answer */
	/* A document that was fetched for its digest. */
	struct http_response kept;
	struct digest kept_digest;
};

struct registry_ask {
	const char *repository; /* "team/app" */
	const char *method;
	const char *what;     /* below /v2/REPOSITORY/: "manifests/TAG" */
	const struct url *at; /* instead of what: an upload URL */
	const char *body;     /* NULL: none */
	const char *type;     /* of body */
};

/* The token last requested for an ask: none, one for several repositories, one for its own. */
enum stage {
	STAGE_FIRST,
	STAGE_GROUP,
	STAGE_SINGLE,
};

/* An ask on its way. */
struct call {
	const struct registry_ask *ask;
	struct http_result *result;
	enum stage stage;
	bool waiting; /* for a token */
	bool pending; /* to be sent */
	bool basic_sent;
	bool foreign; /* the result is from another origin than the registry */
	struct url url;
	char *authorization;
	const char *headers[3];
};

/* Opens the connection for one origin, with the CA of r. session_key NULL: without a kept TLS session. */
int registry_open_http(const struct registry *r, bool tls, const char *session_key,
		       struct http **ret, struct error *ret_error) warn_unused;
/* Ends a call with an error. */
void registry_fail(struct call *c, const struct error *e);
/* Milliseconds for the next request; -ETIMEDOUT: the batch has used up its time. */
int registry_time_left(const struct registry *r, unsigned int *ret,
		       struct error *ret_error) warn_unused;
