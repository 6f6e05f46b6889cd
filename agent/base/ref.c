/* SPDX-License-Identifier: MIT */
#include "ref.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>

#define NAME_MAX_LEN 255 /* host/path, as in distribution/reference */
#define TAG_MAX_LEN  128
#define TEXT_MAX_LEN (NAME_MAX_LEN + 1 + TAG_MAX_LEN + 1 + DIGEST_TEXT_LEN)

static bool port_is_valid(const char *s)
{
	return strlen(s) <= 5 && !s[strspn(s, DIGITS)] && atoi(s) >= 1 && atoi(s) <= 65535;
}

/* Labels of letters, digits and inner hyphens, parted by single dots. */
static bool domain_is_valid(const char *s, size_t n)
{
	const char *end = s + n;

	for (;; s++) {
		size_t label = strspn(s, ALPHANUMERIC "-");

		if (label == 0 || s[0] == '-' || s[label - 1] == '-')
			return false;
		s += label;
		if (s == end || *s != '.')
			return s == end;
	}
}

static bool parse_ipv6(const char *s, size_t n, struct in6_addr *ret)
{
	char buf[INET6_ADDRSTRLEN] = "";

	if (n >= sizeof(buf))
		return false;
	memcpy(buf, s, n);
	return inet_pton(AF_INET6, buf, ret) == 1;
}

static const char *check_host(const char *host)
{
	const char *end = host + strcspn(host, host[0] == '[' ? "]" : ":");
	struct in6_addr ignored;

	if (host[0] == '[') {
		if (!*end || !parse_ipv6(host + 1, (size_t)(end - host - 1), &ignored))
			return "the registry's IPv6 address is not valid";
		end++;
	} else if (!domain_is_valid(host, (size_t)(end - host))) {
		return "the registry's host name is not valid";
	}
	if (*end && (*end != ':' || !port_is_valid(end + 1)))
		return "the registry's port is not a number from 1 to 65535";
	return NULL;
}

/* alphanumeric runs parted by one '.', one or two '_', or any number of '-' */
static bool component_is_valid(const char *s, size_t n)
{
	const char *end = s + n;

	for (;;) {
		size_t run = strspn(s, LOWER DIGITS);

		s += run;
		if (run == 0 || s == end)
			return run > 0;
		if (*s == '-')
			s += strspn(s, "-");
		else if (*s == '_')
			s += s[1] == '_' ? 2 : 1;
		else if (*s == '.')
			s++;
		else
			return false;
	}
}

static const char *check_path(const char *path)
{
	const char *p = path;

	if (!*p)
		return "the repository name is missing";
	if (strpbrk(p, UPPER))
		return "the repository name must be lower case";
	for (;;) {
		size_t n = strcspn(p, "/");

		if (n == 0)
			return "the repository name has an empty component";
		if (!component_is_valid(p, n))
			return "the repository name may hold a-z, 0-9 and single separators "
			       ". _ __ - only";
		if (!p[n])
			return NULL;
		p += n + 1;
	}
}

static const char *check_tag(const char *tag)
{
	if (!*tag)
		return "the tag is empty";
	if (strlen(tag) > TAG_MAX_LEN)
		return "the tag is longer than 128 characters";
	if (tag[strspn(tag, ALPHANUMERIC "_.-")] || tag[0] == '.' || tag[0] == '-')
		return "the tag may hold letters, digits and _ . - only, "
		       "and starts with none of . -";
	return NULL;
}

/* Whether Docker takes the text before the first slash for a host. */
static bool names_a_host(const char *name)
{
	size_t n = strcspn(name, "/");

	return name[n] && (strcspn(name, ".:") < n || strncmp(name, "localhost/", 10) == 0);
}

static bool looks_like_id(const char *name)
{
	return strlen(name) == 64 && strspn(name, "0123456789abcdef") == 64;
}

/* Cuts "[host/]path" into its two halves as Docker does. */
static void split_name(const char *name, struct ref *ref)
{
	const char *path = name;
	bool official;

	if (names_a_host(name)) {
		path = strchr(name, '/') + 1;
		ref->host = xstrndup(name, (size_t)(path - 1 - name));
	}
	if (!ref->host || streq(ref->host, "index.docker.io"))
		replace_string(&ref->host, "docker.io");
	official = streq(ref->host, "docker.io") && *path && !strchr(path, '/');
	ref->path = xasprintf("%s%s", official ? "library/" : "", path);
}

static const char *parse(const char *s, struct ref *ref)
{
	_cleanup_free_ char *name = NULL;
	const char *why;
	char *at, *slash, *colon;

	if (!*s)
		return "the image reference is empty";
	if (strlen(s) > TEXT_MAX_LEN)
		return "the image reference is too long";
	if (strstr(s, "://"))
		return "an image reference has no scheme: remove the part up to ://";
	ref->text = xstrdup(s);
	name = xstrdup(s);
	at = strchr(name, '@');
	if (at) {
		*at = '\0';
		if (digest_parse(at + 1, &ref->digest) < 0)
			return "the digest is not \"sha256:\" and 64 lower-case hex digits";
	}
	slash = strrchr(name, '/');
	colon = strchr(slash ? slash : name, ':');
	if (colon) {
		*colon = '\0';
		ref->tag = xstrdup(colon + 1);
	} else if (!at) {
		ref->tag = xstrdup("latest");
	}
	/* Docker takes such a name for an image Id. */
	if (looks_like_id(name))
		return "the repository name looks like an image Id";
	split_name(name, ref);
	why = check_host(ref->host);
	if (!why)
		why = check_path(ref->path);
	if (!why && strlen(ref->host) + 1 + strlen(ref->path) > NAME_MAX_LEN)
		why = "the repository name is longer than 255 characters";
	if (!why && ref->tag)
		why = check_tag(ref->tag);
	return why;
}

int ref_parse(const char *s, struct ref *ret, const char **ret_why)
{
	struct ref ref = {0};

	*ret_why = parse(s, &ref);
	if (!*ret_why) {
		*ret = ref;
		return 0;
	}
	ref_free(&ref);
	return -EINVAL;
}

void ref_free(struct ref *r)
{
	free(r->text);
	free(r->host);
	free(r->path);
	free(r->tag);
	*r = (struct ref){0};
}

char *ref_repository(const struct ref *r)
{
	return xasprintf("%s/%s", r->host, r->path);
}

char *ref_tagged(const struct ref *r)
{
	const char *name = r->path, *official = after_prefix(r->path, "library/");

	if (!r->tag)
		return NULL;
	if (official && !strchr(official, '/'))
		name = official;
	/* The short form only if it parses to the same reference. */
	if (!streq(r->host, "docker.io") || names_a_host(name) || looks_like_id(name))
		return xasprintf("%s/%s:%s", r->host, r->path, r->tag);
	return xasprintf("%s:%s", name, r->tag);
}

bool ref_is_same_tag(const char *a, const char *b)
{
	_cleanup_(ref_free) struct ref left = {0}, right = {0};
	const char *why;

	return ref_parse(a, &left, &why) == 0 && ref_parse(b, &right, &why) == 0 &&
	       streq(left.host, right.host) && streq(left.path, right.path) &&
	       streq_null(left.tag, right.tag);
}

char *ref_pinned(const struct ref *r, const struct digest *d)
{
	return xasprintf("%s/%s@%s", r->host, r->path, d->text);
}

bool ref_host_is_loopback(const char *host)
{
	_cleanup_free_ char *name = NULL;
	struct in_addr v4;
	struct in6_addr v6;

	if (host[0] == '[')
		return parse_ipv6(host + 1, strcspn(host + 1, "]"), &v6) &&
		       IN6_IS_ADDR_LOOPBACK(&v6);
	name = xstrndup(host, strcspn(host, ":"));
	if (strcasecmp(name, "localhost") == 0)
		return true;
	return inet_pton(AF_INET, name, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127;
}
