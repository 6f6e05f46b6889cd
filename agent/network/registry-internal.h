/* SPDX-License-Identifier: MIT */
/* registry-internal: what the files of registry and of repository share; nobody else includes it. */
#pragma once

#include "registry.h"
#include "token-cache.h"

struct registry {
	const struct registry_options *o;
	char *host;
	char *accept; /* "Accept: ..." */
	/* "Authorization: Basic ..." goes along from the first request, which saves a 401 at each poll, unless the
	 * registry is known to want a token. */
	char *basic;
	struct url origin;
	struct http *session; /* of origin */
	bool try_plain;	      /* plain by guess: TLS if it says so */
	bool answered;	      /* it told whether it wants a token */
	bool challenged;      /* in this process: the challenge is not from the cache */
	struct token_cache tokens;
	struct token_file file;
	char *file_name;
	uint64_t deadline;
	unsigned int retry_after_s; /* of the last answer */
	/* A document that came where a digest was asked for. */
	struct http_response kept;
	struct digest kept_digest;
};

struct registry_ask {
	const char *repository; /* "team/app" */
	const char *method;
	const char *what;     /* below /v2/REPOSITORY/: "manifests/TAG" */
	const struct url *at; /* instead, where it sent us */
	const char *body;     /* NULL: none */
	const char *type;     /* of body */
};

/* All n at the same time, with redirects, and with one token for all where the server grants it. Also a failure says
 * for how long to stay away: response.retry_after_s. The caller frees each response. */
void registry_request_all(struct registry *r, const struct registry_ask *asks, size_t n,
			  struct http_result *ret);
/* One, whose status must be want. The caller frees *ret. */
int registry_request(struct registry *r, const struct registry_ask *ask, long want,
		     struct http_response *ret, struct error *ret_error) warn_unused;
/* The failure of result, or an error for every status but want. */
int registry_check_status(const struct registry *r, const struct http_result *result, long want,
			  struct error *ret_error) warn_unused;

/* How often a token was asked for an ask: not yet, one for several repositories, one for its own alone. */
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
	bool foreign; /* the result is from where the registry sent us, not from itself */
	struct url url;
	char *authorization;
	const char *headers[3];
};

void registry_fail(struct call *c, const struct error *e);
int registry_time_left(const struct registry *r, unsigned int *ret,
		       struct error *ret_error) warn_unused;
/* The token that is valid for c now, or NULL. Borrowed. */
const char *registry_token(const struct registry *r, const struct call *c);
/* Gets tokens for the calls that wait, which then are pending or have failed. */
void registry_get_tokens(struct registry *r, struct call *calls, size_t n);
/* Whether the registry answered 401 to calls that another token, or a first one, may help; they wait then. */
bool registry_is_refused(struct registry *r, struct call *calls, size_t n);
