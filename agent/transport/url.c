/* SPDX-License-Identifier: MIT */
#include "url.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>

/* A part of u, or NULL. Caller frees. */
static char *get(CURLU *u, CURLUPart part, unsigned int flags)
{
	char *value = NULL, *copy = NULL;

	if (curl_url_get(u, part, &value, flags) == CURLUE_OK)
		copy = xstrdup(value);
	curl_free(value);
	return copy;
}

/* libcurl reads "r.io:", "r%2eio" or "0x7f.1" as another host or port than another parser might. */
static bool authority_is_normal(const struct url *u, const char *authority)
{
	_cleanup_free_ char *port = get(u->handle, CURLUPART_PORT, 0);
	_cleanup_free_ char *normal =
		xasprintf("%s%s%s", u->host, port ? ":" : "", port ? port : "");

	if (u->host[0] != '[' && u->host[strspn(u->host, LOWER DIGITS ".-_")])
		return false;
	return strlen(normal) == strcspn(authority, "/?#") &&
	       strncmp(authority, normal, strlen(normal)) == 0;
}

static int take_parts(struct url *u, const char *authority)
{
	_cleanup_free_ char *scheme = get(u->handle, CURLUPART_SCHEME, 0),
			    *port = get(u->handle, CURLUPART_PORT, CURLU_DEFAULT_PORT);

	u->host = get(u->handle, CURLUPART_HOST, 0);
	if (!scheme || !port || !u->host || !authority_is_normal(u, authority))
		return -EINVAL;
	u->tls = streq(scheme, "https");
	u->port = (unsigned int)strtoul(port, NULL, 10);
	return (u->tls || streq(scheme, "http")) && u->port > 0 ? 0 : -EINVAL;
}

int url_parse(const char *s, struct url *ret)
{
	_cleanup_free_ char *copy = NULL;
	struct url u = {0};
	char *authority;

	if (strlen(s) > URL_MAX)
		return -EINVAL;
	for (const char *p = s; *p; p++) {
		if (*p <= 0x20 || *p >= 0x7f || *p == '\\')
			return -EINVAL;
	}
	copy = xstrdup(s);
	authority = strstr(copy, "://");
	if (!authority)
		return -EINVAL;
	authority += strlen("://");
	for (char *p = authority; *p && !strchr("/?#", *p); p++)
		*p = (char)tolower((unsigned char)*p);
	u.handle = curl_url();
	if (!u.handle)
		abort();
	if (curl_url_set(u.handle, CURLUPART_URL, copy, CURLU_DISALLOW_USER) != CURLUE_OK ||
	    curl_url_set(u.handle, CURLUPART_FRAGMENT, NULL, 0) != CURLUE_OK ||
	    take_parts(&u, authority) < 0) {
		url_free(&u);
		return -EINVAL;
	}
	*ret = u;
	return 0;
}

int url_resolve(const struct url *base, const char *location, struct url *ret)
{
	const char *scheme = base->tls ? "https" : "http";
	_cleanup_free_ char *text = NULL;

	if (strlen(location) > URL_MAX)
		return -EINVAL;
	if (after_prefix(location, "//"))
		text = xasprintf("%s:%s", scheme, location);
	else if (location[0] == '/')
		text = xasprintf("%s://%s:%u%s", scheme, base->host, base->port, location);
	return url_parse(text ? text : location, ret);
}

void url_free(struct url *u)
{
	curl_url_cleanup(u->handle);
	free(u->host);
	*u = (struct url){0};
}

bool url_same_origin(const struct url *a, const struct url *b)
{
	return a->tls == b->tls && a->port == b->port && streq(a->host, b->host);
}

char *url_host(const struct url *u)
{
	return u->port == (u->tls ? 443u : 80u) ? xstrdup(u->host)
						: xasprintf("%s:%u", u->host, u->port);
}

char *url_origin(const struct url *u)
{
	_cleanup_free_ char *host = url_host(u);

	return xasprintf("http%s://%s", u->tls ? "s" : "", host);
}

char *url_text(const struct url *u)
{
	char *text = get(u->handle, CURLUPART_URL, CURLU_NO_DEFAULT_PORT);

	if (!text)
		abort();
	return text;
}

char *url_encode(const char *s, const char *keep)
{
	char *out = xmalloc(strlen(s) * 3 + 1), *p = out;

	for (; *s; s++) {
		if (isalnum((unsigned char)*s) || strchr("-._~", *s) || strchr(keep, *s))
			*p++ = *s;
		else
			p += sprintf(p, "%%%02X", (unsigned char)*s);
	}
	*p = '\0';
	return out;
}
