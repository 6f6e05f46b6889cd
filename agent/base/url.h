/* SPDX-License-Identifier: MIT */
/* url: the few URLs strangers may send us to: http or https, a host, a port, a path. Pure. Stricter
 * than RFC 3986 on operation: what two parsers could read differently is no URL here. */
#pragma once

#include "error.h"

#define URL_MAX ((size_t)8 * 1024)

struct url {
	bool tls;
	char *host; /* lower case; IPv6 addresses in brackets */
	unsigned int port;
	char *path; /* with the query, without a fragment; starts with '/' */
};

/* An absolute URL. -EINVAL. The caller owns ret; url_free. */
int url_parse(const char *s, struct url *ret) warn_unused;
/* location as base's answer sent it: absolute, "//host/path" or "/path". -EINVAL. */
int url_resolve(const struct url *base, const char *location, struct url *ret) warn_unused;
void url_free(struct url *u);

/* Same scheme, host and port. */
bool url_same_origin(const struct url *a, const struct url *b);

/* Caller frees. */
char *url_text(const struct url *u);

/* s with all but unreserved characters percent-encoded (RFC 3986 2.3). Caller frees. */
char *url_encode(const char *s);
