/* SPDX-License-Identifier: MIT */
/* url: http and https URLs from an untrusted registry, parsed by libcurl, which also connects to them. Stricter than
 * RFC 3986: a URL that two parsers could read differently is refused. */
#pragma once

#include "error.h"

#define URL_MAX ((size_t)8 * 1024) /* bytes */

struct url {
	struct Curl_URL *handle; /* CURLU, for CURLOPT_CURLU */
	bool tls;
	char *host; /* lower case; IPv6 addresses in brackets */
	unsigned int port;
};

/* Parses an absolute URL. -EINVAL, and ret is left alone, for everything else: other schemes, user names,
 * control characters, spaces, backslashes, non-ASCII bytes, a host or port not in its normal form. The caller
 * owns ret; url_free. */
int url_parse(const char *s, struct url *ret) warn_unused;
/* Parses location as the answer of base sent it: absolute, "//host/path" or "/path". -EINVAL. */
int url_resolve(const struct url *base, const char *location, struct url *ret) warn_unused;
void url_free(struct url *u);

/* Same scheme, host and port. */
bool url_same_origin(const struct url *a, const struct url *b);

/* "https://HOST", with ":PORT" unless it is the scheme's own. Caller frees. */
char *url_origin(const struct url *u);
/* The same without the scheme: a host as in image references and in Docker's certs.d. Caller frees. */
char *url_host(const struct url *u);

/* The URL in its normal form, without the scheme's own port. Caller frees. */
char *url_text(const struct url *u);

/* s with all characters percent-encoded but the unreserved ones (RFC 3986 2.3) and those of keep. Caller frees. */
char *url_encode(const char *s, const char *keep);
