/* SPDX-License-Identifier: MIT */
#include "url.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>

#define LETTERS_DIGITS "abcdefghijklmnopqrstuvwxyz0123456789"

static bool bracketed_is_valid(const char *host, size_t n)
{
	char buf[INET6_ADDRSTRLEN];
	struct in6_addr addr;

	if (n < 3 || n - 2 >= sizeof(buf) || host[n - 1] != ']')
		return false;
	memcpy(buf, host + 1, n - 2);
	buf[n - 2] = '\0';
	return inet_pton(AF_INET6, buf, &addr) == 1;
}

/* Takes "host[:port]" of n bytes apart. */
static int parse_authority(const char *s, size_t n, struct url *u)
{
	size_t host = *s == '[' ? strcspn(s, "]") + 1 : strcspn(s, ":"), i;

	host = host < n ? host : n;
	u->host = xstrndup(s, host);
	for (char *p = u->host; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	if (*s == '[' ? !bracketed_is_valid(u->host, host)
		      : host == 0 || host > 253 ||
				strspn(u->host, LETTERS_DIGITS ".-_") != strlen(u->host))
		return -EINVAL;
	if (host == n)
		return 0;
	if (s[host] != ':' || n - host < 2 || n - host > 6)
		return -EINVAL;
	u->port = 0;
	for (i = host + 1; i < n; i++) {
		if (s[i] < '0' || s[i] > '9')
			return -EINVAL;
		u->port = u->port * 10 + (unsigned int)(s[i] - '0');
	}
	return u->port >= 1 && u->port <= 65535 ? 0 : -EINVAL;
}

int url_parse(const char *s, struct url *ret)
{
	struct url u = {.port = 443, .tls = true};
	const char *rest = s;
	size_t n;

	if (strlen(s) > URL_MAX)
		return -EINVAL;
	for (const char *p = s; *p; p++) {
		if (*p <= 0x20 || *p >= 0x7f || *p == '\\')
			return -EINVAL;
	}
	if (strncasecmp(s, "https://", 8) == 0) {
		rest += 8;
	} else if (strncasecmp(s, "http://", 7) == 0) {
		rest += 7;
		u.tls = false;
		u.port = 80;
	} else {
		return -EINVAL;
	}
	n = strcspn(rest, "/?#");
	if (parse_authority(rest, n, &u) < 0) {
		free(u.host);
		return -EINVAL;
	}
	rest += n;
	u.path = xasprintf("%s%.*s", *rest == '/' ? "" : "/", (int)strcspn(rest, "#"), rest);
	*ret = u;
	return 0;
}

int url_resolve(const struct url *base, const char *location, struct url *ret)
{
	_cleanup_free_ char *text = NULL;

	if (strlen(location) > URL_MAX)
		return -EINVAL;
	if (after_prefix(location, "//"))
		text = xasprintf("%s:%s", base->tls ? "https" : "http", location);
	else if (location[0] == '/')
		text = xasprintf("%s://%s:%u%s", base->tls ? "https" : "http", base->host,
				 base->port, location);
	return url_parse(text ? text : location, ret);
}

void url_free(struct url *u)
{
	free(u->host);
	free(u->path);
	*u = (struct url){0};
}

bool url_same_origin(const struct url *a, const struct url *b)
{
	return a->tls == b->tls && a->port == b->port && streq(a->host, b->host);
}

char *url_text(const struct url *u)
{
	if (u->port == (u->tls ? 443u : 80u))
		return xasprintf("%s://%s%s", u->tls ? "https" : "http", u->host, u->path);
	return xasprintf("%s://%s:%u%s", u->tls ? "https" : "http", u->host, u->port, u->path);
}

char *url_encode(const char *s)
{
	static const char hex[] = "0123456789ABCDEF";
	char *out = xmalloc(3 * strlen(s) + 1), *p = out;

	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (strchr(LETTERS_DIGITS "-._~", tolower(c))) {
			*p++ = (char)c;
		} else {
			*p++ = '%';
			*p++ = hex[c >> 4];
			*p++ = hex[c & 15];
		}
	}
	*p = '\0';
	return out;
}
