/* SPDX-License-Identifier: MIT */
/* http: one request at a time over TCP, TLS or a unix socket; the only place that sees libcurl.
 * No retries, no redirects, no cookies, no netrc: what happens next is the caller's policy. */
#pragma once

#include <signal.h>

#include "error.h"

#define HTTP_HEADER_BYTES_MAX ((size_t)32 * 1024)

/* A session belongs to one origin and keeps its connection, and nothing else from one request to the
 * next (CVE-2026-6276 and its kin); never use it for another origin. */
struct http;

struct http_options {
	const char *unix_socket; /* path; NULL: TCP. No proxy is used on a unix socket */
	const char *ca_file;	 /* PEM; NULL: the system's trust store */
	bool allow_plain;	 /* http:// is allowed, else only https:// (unix socket: always) */
	/* Set by a signal handler: running requests end with -ECANCELED. May be NULL. */
	const volatile sig_atomic_t *cancel;
};

struct http_request {
	const char *method;	    /* "GET", "HEAD", "POST", "DELETE" */
	const char *url;	    /* absolute; on a unix socket "http://engine/v1.41/..." */
	const char *const *headers; /* "Name: value" lines, NULL-terminated; NULL: none */
	const char *body;	    /* NULL: none */
	const char *content_type;   /* of body; NULL: application/json */
	size_t body_max;	    /* most bytes of a collected answer; more is -EFBIG */
	unsigned int timeout_ms;    /* for the whole request; 0: none */
	unsigned int stall_ms;	    /* ends it when not a byte came for that long; 0: never */
	unsigned int stall_rate;    /* fewer bytes a second than this count as none; 0: 1 */
	/* Streams the answer of a 2xx instead of collecting it; a negative errno ends the request
	 * and is returned. body_max does not apply. */
	int (*on_data)(void *userdata, const char *data, size_t n);
	void *userdata;
};

struct http_response {
	long status;
	char *body; /* NUL-terminated, never NULL after success */
	size_t body_len;
	char *headers; /* of the final answer, lines ended by '\n' */
};

int http_new(const struct http_options *options, struct http **ret,
	     struct error *ret_error) warn_unused;
void http_free(struct http *h);

/* Any HTTP status is success here: 0 means an answer came whole. Failures: -ETIMEDOUT, -EFBIG,
 * -ECONNREFUSED (nobody there; also a missing socket), -ECONNRESET (cut), -EPROTO (not HTTP, TLS
 * trouble: the text says what), -EHOSTUNREACH (name or route), -ECANCELED. The caller frees
 * ret with http_response_free. */
int http_perform(struct http *h, const struct http_request *req, struct http_response *ret,
		 struct error *ret_error) warn_unused;
void http_response_free(struct http_response *r);

/* The value of a header (case-insensitive name, the first if several), or NULL. Caller frees. */
char *http_header(const struct http_response *r, const char *name);
/* The same, all of them joined by ", " (RFC 9110 5.3). */
char *http_header_all(const struct http_response *r, const char *name);

static inline void cleanup_http_p(struct http **h)
{
	http_free(*h);
}
#define _cleanup_http_		_cleanup_(cleanup_http_p)
#define _cleanup_http_response_ _cleanup_(http_response_free)
