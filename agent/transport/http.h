/* SPDX-License-Identifier: MIT */
/* http: requests over TCP, TLS or a unix socket through libcurl, with HTTP/2 where a TLS server speaks it.
 * No retries, no redirects, no cookies, no netrc. */
#pragma once

#include <signal.h>

#include "error.h"

#define HTTP_HEADER_BYTES_MAX ((size_t)32 * 1024)
#define HTTP_STREAMS_MAX      16 /* requests of http_perform_all at the same time */

/* A session keeps the one connection to one origin. Never use it for another origin (CVE-2026-6276). */
struct http;
struct http_response;
struct meter;
struct tls_session;
struct trust;
struct url;

/* Called each second at least while requests run; its negative errno ends them all, and is returned. */
struct http_tick {
	int (*fn)(void *userdata); /* NULL: nothing is called */
	void *userdata;
};

/* The texts, the meter and the tick are the caller's, and stay as long as the session. */
struct http_options {
	const char *unix_socket;   /* path; NULL: TCP. No proxy is used on a unix socket */
	const struct trust *trust; /* NULL: the system's authorities */
	bool allow_plain; /* http:// is allowed, else only https:// (unix socket: always) */
	/* Set by a signal handler: running requests end with -ECANCELED. May be NULL. */
	const volatile sig_atomic_t *cancel;
	struct tls_session *session;  /* http_new() takes it over; NULL: none */
	struct meter *meter;	      /* counts all connections over TCP; NULL: none */
	const struct http_tick *tick; /* NULL: none */
};

struct http_request {
	const char *method;	    /* "GET", "HEAD", "POST", "PUT", "DELETE" */
	const struct url *to;	    /* where to; NULL: url */
	const char *url;	    /* absolute; on a unix socket "http://engine/v1.41/..." */
	const char *const *headers; /* "Name: value" lines, NULL-terminated; NULL: none */
	const char *body;	    /* NULL: none */
	const char *content_type;   /* of body; NULL: application/json */
	/* Streams a body of send_size bytes instead: fills buffer with up to n bytes from offset on and returns their
	 * number, or a negative errno, which ends the request and is returned. NULL: body. */
	ssize_t (*on_send)(void *userdata, uint64_t offset, char *buffer, size_t n);
	uint64_t send_size;
	size_t body_max;	 /* most bytes of a collected answer; more is -EFBIG */
	unsigned int timeout_ms; /* for the whole request; 0: none */
	unsigned int stall_s;	 /* ends it after that long below stall_rate; 0: never */
	unsigned int stall_rate; /* bytes a second */
	/* Called with the status and the headers of a 2xx before on_data; a negative errno ends the request. NULL: it
	 * is not. */
	int (*on_begin)(void *userdata, const struct http_response *response);
	/* Streams the answer of a 2xx instead of collecting it; a negative errno ends the request
	 * and is returned. body_max does not apply. */
	int (*on_data)(void *userdata, const char *data, size_t n);
	void *userdata;
};

struct http_response {
	long status;
	char *body; /* NUL-terminated, never NULL after success */
	size_t body_len;
	unsigned int
		retry_after_s; /* of Retry-After, number or date (RFC 9110 10.2.3); 0: none; a day at most */
	void *handle;	       /* libcurl's, with the headers */
};

struct http_result {
	struct http_response response;
	struct error error; /* its code is 0, or what http_perform returns */
};

/* -ENOMEM. */
int http_new(const struct http_options *options, struct http **ret,
	     struct error *ret_error) warn_unused;
void http_free(struct http *h);
/* From now on that many bytes of the meter are moved a second at most; 0: any. Needs a meter. A connection that was made for another speed
 * is replaced. */
void http_cap(struct http *h, uint64_t speed);

/* 0 after a complete answer, whatever its status. Failures: -ETIMEDOUT, -EFBIG,
 * -ECONNREFUSED (also a missing socket), -ECONNRESET, -EPROTO (not HTTP, a TLS error or an invalid URL), -EHOSTUNREACH
 * (name or route), -ECANCELED. The caller frees ret with http_response_free; it may outlive h. */
int http_perform(struct http *h, const struct http_request *req, struct http_response *ret,
		 struct error *ret_error) warn_unused;

/* Performs n requests on the one connection of h and sets ret[0..n-1], each like http_perform. The first goes
 * alone; if the server speaks HTTP/2, up to HTTP_STREAMS_MAX others go at the same time, else one after the other.
 * A timeout counts from where a request goes out. A request that fails fails alone, but those not yet begun fail with
 * it if there is no connection, if it timed out, or if it is the third in a row that was cut. Memory: up to
 * HTTP_STREAMS_MAX times body_max while it runs, and n times body_max in ret. */
void http_perform_all(struct http *h, const struct http_request *reqs, size_t n,
		      struct http_result *ret);

void http_response_free(struct http_response *r);

/* The value of a header of the final answer (case-insensitive name, the first if several; trailers do not
 * count), or NULL. Caller frees. */
char *http_header(const struct http_response *r, const char *name);
/* The same, all of them joined by ", " (RFC 9110 5.3). */
char *http_header_all(const struct http_response *r, const char *name);

static inline void cleanup_http_p(struct http **h)
{
	http_free(*h);
}
#define _cleanup_http_		_cleanup_(cleanup_http_p)
#define _cleanup_http_response_ _cleanup_(http_response_free)
