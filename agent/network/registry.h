/* SPDX-License-Identifier: MIT */
/* registry: one connection to one registry (OCI distribution-spec), with redirects and authentication. repository.h has
 * the requests. */
#pragma once

#include "config.h"
#include "credential.h"
#include "http.h"
#include "json.h"
#include "token-cache.h"
#include "trust.h"
#include "url.h"

struct registry_options {
	char *host; /* as in struct ref */
	/* Unless "insecure" is set, a loopback host without certificates of its own gets plain HTTP first, and https if
	 * it answers "HTTP request to an HTTPS server". */
	const struct registry_config *config;
	const struct config *others; /* has the sections of other hosts; NULL: none */
	struct trust trust;
	struct credentials credentials;
	int cache_dir; /* for tokens and TLS sessions, private to this user; -1: none */
	const volatile sig_atomic_t *cancel;
	struct meter *meter;	      /* counts what is moved; NULL: none */
	const struct http_tick *tick; /* NULL: none */
};

struct registry {
	const struct registry_options *o;
	struct url origin;
	struct http *session; /* of origin */
	bool try_plain;	      /* plain HTTP is a guess: the registry may require TLS */
	bool answered;	      /* the registry has shown whether it requires a token */
	bool challenged;      /* the challenge is not from the cache */
	struct token_cache tokens;
	struct token_file file;
	uint64_t deadline;
	uint64_t speed;		    /* bytes a second at most; 0: any */
	unsigned int retry_after_s; /* of the last answer */
	/* Asked first, for what is only read; NULL: there is none, or it does not answer. */
	struct registry *mirror;
	char *mirror_fault; /* why it was not enough, or NULL */
	/* The last token of a host that the registry redirects to, or NULL. */
	char *foreign_token, *foreign_origin, *foreign_repository;
	/* Of the question, {DIGEST: TEXT}: what it brought is not read again, what is read is added. NULL: not wanted. */
	json_t *documents;
	/* A document that was fetched for its digest. */
	struct http_response kept;
	struct digest kept_digest;
};

/* o and what it points to are borrowed. */
int registry_open(const struct registry_options *o, struct registry **ret,
		  struct error *ret_error) warn_unused;
void registry_close(struct registry *r);
/* Asks the mirror, which r takes over, before r itself. */
void registry_set_mirror(struct registry *r, struct registry *mirror);

/* Reads the certificates for a host as in image references, by its section, which may be NULL, and Docker's
 * certs.d. */
int registry_read_trust(const struct registry_config *config, const char *host, struct trust *ret,
			struct error *ret_error) warn_unused;

/* Begins a batch: all of its requests together have three minutes. */
void registry_begin(struct registry *r);
/* All requests from now on together have three minutes, but a streamed answer or body has no limit. */
void registry_extend(struct registry *r);
/* The answers come at that many bytes a second at most; 0: any. */
void registry_cap(struct registry *r, uint64_t speed);
/* Ends a batch: writes new tokens to the cache. */
void registry_end(struct registry *r);

/* Why the credentials c are not sent to the token server, or NULL. Caller frees. */
char *registry_withheld(const struct registry *r, const struct credential *c);
/* What an operator can do about a refusal of the registry. Caller frees. */
char *registry_hint(const struct registry *r, const struct credential *c);

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
	const char *kind, *name; /* "manifests" and a tag; "": none, just /v2/ */
	const struct url *at;	 /* instead of the path: an upload URL */
	const char *body;	 /* NULL: none */
	const char *type;	 /* of body */
	/* Streams a body of send_size bytes instead, as in struct http_request, with userdata. NULL: body. */
	ssize_t (*on_send)(void *userdata, uint64_t offset, char *buffer, size_t n);
	uint64_t send_size;
	/* NULL, or what takes the answer instead of memory, as in struct http_request. Only the answer of one registry
	 * can be streamed: it must have no mirror. */
	int (*on_begin)(void *userdata, const struct http_response *response);
	int (*on_data)(void *userdata, const char *data, size_t n);
	void *userdata;
	const char *range; /* the line of a header, or NULL: the whole */
	size_t max;	   /* bytes of an answer in memory; 0: OCI_DOCUMENT_MAX */

	struct http_result result;

	enum call_state state;
	enum stage stage;
	bool basic_sent;
	bool redirected;
	bool foreign; /* the result is from another origin than the registry: */
	char foreign_host[256];
	bool foreign_answered; /* its challenge */
	struct url url;
	char *authorization;
	const char *headers[5];
};

/* Performs n requests at the same time, with redirects, and with one token for all if the server grants it. A failure
 * too sets response.retry_after_s. The caller frees each response. r may be NULL if n is 0. */
void registry_request_all(struct registry *r, struct call *calls, size_t n);
/* Performs one, whose status must be want. The caller frees *ret, which may be NULL. */
int registry_request(struct registry *r, struct call *c, long want, struct http_response *ret,
		     struct error *ret_error) warn_unused;
int registry_check_status(const struct registry *r, const struct call *c, long want,
			  struct error *ret_error) warn_unused;

/* Performs one request to the origin of at, with the time limits of r. Another origin than r's gets a session of its own,
 * with its own certificates; the authorities of r count for it too. */
int registry_perform(const struct registry *r, const struct url *at, struct http_request *request,
		     struct http_response *ret, struct error *ret_error) warn_unused;

/* token.c: bearer tokens of the registry's token server (distribution's token specification, and its OAuth2 form for
 * identity tokens). */

/* The login for the repository of c. */
const struct credential *registry_credential(const struct registry *r, const struct call *c);
/* The token that is valid for c now, or NULL. Borrowed. */
const char *registry_token(const struct registry *r, const struct call *c);
/* Gets tokens for the waiting calls, which are then pending or have failed. */
void registry_get_tokens(struct registry *r, struct call *calls, size_t n);
/* Whether a 401 may be solved by a (new) token. Those calls wait then. */
bool registry_is_refused(struct registry *r, struct call *calls, size_t n);

/* Gets a token, without credentials, for the challenge of another host that c was redirected to. -EACCES. */
int registry_answer_foreign(struct registry *r, struct call *c) warn_unused;
/* That token, or NULL. Borrowed. */
const char *registry_foreign_token(const struct registry *r, const struct call *c);

/* Whether a token server may see the credentials of the registry host (as in struct ref) at that origin. */
bool token_host_is_trusted(const char *host, const struct url *registry, const struct url *realm);

/* "MESSAGE" of a registry's or token server's JSON body, or NULL. Caller frees. */
char *token_error_message(const struct http_response *r);
/* Whether a JSON body of distribution-spec has one of these error codes, a list that ends with NULL. */
bool token_error_is(const struct http_response *r, const char *const *codes);
