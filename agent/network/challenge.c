/* SPDX-License-Identifier: MIT */
#include "challenge.h"

#define TOKEN_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~"

static const char *skip_space(const char *p)
{
	return p + strspn(p, " \t");
}

/* A quoted string, p behind its opening quote; NULL and *p at the end when it is not closed. */
static char *take_quoted(const char **p)
{
	char *out = xmalloc(strlen(*p) + 1), *q = out;
	const char *s = *p;

	while (*s && *s != '"') {
		if (*s == '\\' && s[1])
			s++;
		*q++ = *s++;
	}
	*q = '\0';
	*p = *s ? s + 1 : s;
	if (*s)
		return out;
	free(out);
	return NULL;
}

/* "name=value" or "name="value""; leaves *p alone and returns false if that is not what stands there.
 * *ret_value may be NULL: a value that makes no sense. */
static bool take_param(const char **p, char **ret_name, char **ret_value)
{
	size_t n = strspn(*p, TOKEN_CHARS);
	const char *s = skip_space(*p + n);

	if (n == 0 || *s != '=')
		return false;
	*ret_name = xstrndup(*p, n);
	s = skip_space(s + 1);
	if (*s == '"') {
		s++;
		*ret_value = take_quoted(&s);
	} else {
		n = strspn(s, TOKEN_CHARS "/:");
		*ret_value = n > 0 ? xstrndup(s, n) : NULL;
		s += n;
		s += strcspn(s, ","); /* the rest of a token68, for one */
	}
	*p = s;
	return true;
}

static void keep_first(char **slot, char **value)
{
	if (!*slot)
		*slot = steal(*value);
}

/* The parameters behind a scheme, up to the next one. */
static void take_params(const char **p, struct challenge *ret)
{
	for (;;) {
		_cleanup_free_ char *name = NULL, *value = NULL;

		*p += strspn(*p, " \t,");
		if (!take_param(p, &name, &value))
			return;
		if (!value)
			continue;
		if (strcasecmp(name, "realm") == 0)
			keep_first(&ret->realm, &value);
		else if (strcasecmp(name, "service") == 0)
			keep_first(&ret->service, &value);
	}
}

void challenge_parse(const char *value, struct challenge *ret)
{
	struct challenge c = {0};
	const char *p = value;

	while (*p) {
		size_t n;

		p += strspn(p, " \t,");
		n = strspn(p, TOKEN_CHARS);
		if (n == 6 && strncasecmp(p, "Bearer", n) == 0 && !c.realm) {
			bool basic = c.basic;

			challenge_free(&c); /* of an earlier Bearer without a realm */
			c.basic = basic;
			p += n;
			take_params(&p, &c);
		} else if (n > 0) {
			struct challenge other = {0};

			c.basic |= n == 5 && strncasecmp(p, "Basic", n) == 0;
			p += n;
			take_params(&p, &other);
			challenge_free(&other);
		} else if (*p) {
			p++;
		}
	}
	*ret = c;
}

void challenge_free(struct challenge *c)
{
	free(c->realm);
	free(c->service);
	*c = (struct challenge){0};
}
