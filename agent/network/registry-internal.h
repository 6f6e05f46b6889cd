/* SPDX-License-Identifier: MIT */
/* registry-internal: the state of one registry's connection and of the requests on their way: for registry.c, token.c,
 * repository.c and publish.c only. */
#pragma once

#include "registry.h"
#include "token-cache.h"

struct registry {
	const struct registry_options *o;
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
	uint64_t deadline;
	unsigned int retry_after_s; /* of the last answer */
	/* A document that was fetched for its digest. */
	struct http_response kept;
	struct digest kept_digest;
};

enum call_state {
	CALL_DONE,
	CALL_WAITING, /* for a token */
	CALL_PENDING, /* to be sent */
};

/* The token last requested for a call: none, one for several repositories, one for its own. */
enum stage {
	STAGE_FIRST,
	STAGE_GROUP,
	STAGE_SINGLE,
};

/* A request to /v2/REPOSITORY/KIND/NAME, and its result. */
struct call {
	const char *repository; /* "team/app" */
	const char *method;
	const char *kind, *name; /* "manifests" and a tag */
	const struct url *at;	 /* instead of the path: an upload URL */
	const char *body;	 /* NULL: none */
	const char *type;	 /* of body */

	struct http_result result;

	enum call_state state;
	enum stage stage;
	bool basic_sent;
	bool foreign; /* the result is from another origin than the registry */
	struct url url;
	char *authorization;
	const char *headers[3];
};

/* Performs n requests at the same time, with redirects, and with one token for all if the server grants it. A failure
 * too sets response.retry_after_s. The caller frees each response. */
void registry_request_all(struct registry *r, struct call *calls, size_t n);
/* Performs one, whose status must be want. The caller frees *ret, which may be NULL. */
int registry_request(struct registry *r, struct call *c, long want, struct http_response *ret,
		     struct error *ret_error) warn_unused;
/* The failure of result, or an error for any status but want. */
int registry_check_status(const struct registry *r, const struct http_result *result, long want,
			  struct error *ret_error) warn_unused;

/* Performs one request to the origin of at, with the CA and the time limits of r. Another origin than r's gets a session
 * of its own. */
int registry_perform(const struct registry *r, const struct url *at, struct http_request *request,
		     struct http_response *ret, struct error *ret_error) warn_unused;
