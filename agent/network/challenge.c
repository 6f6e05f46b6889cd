/* SPDX-License-Identifier: MIT */
#include "challenge.h"

#define TOKEN_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~"

static const char *skip_space(const char *p)
{
	return p + strspn(p, " \t");
}

/* A quoted string, *p behind its opening quote. NULL, with *p at the end, when it is not closed. */
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

/* "name=value" or "name="value"". False, with *p unchanged, for anything else. *ret_value is NULL if the value is
 * invalid. */
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

/* The parameters behind a scheme, up to the next one; the first of a name counts. */
static void take_params(const char **p, struct challenge *ret)
{
	for (;;) {
		_cleanup_free_ char *name = NULL, *value = NULL;

		*p += strspn(*p, " \t,");
		if (!take_param(p, &name, &value))
			return;
		if (strcasecmp(name, "realm") == 0 && !ret->realm)
			ret->realm = steal(value);
		else if (strcasecmp(name, "service") == 0 && !ret->service)
			ret->service = steal(value);
	}
}

void challenge_parse(const char *value, struct challenge *ret)
{
	const char *p = value;
	bool basic = false;

	*ret = (struct challenge){0};
	while (*p) {
		const char *scheme = p + strspn(p, " \t,");
		size_t n = strspn(scheme, TOKEN_CHARS);
		struct challenge c = {0};

		p = scheme + n;
		if (n == 0) {
			p += *p != '\0';
			continue;
		}
		take_params(&p, &c);
		basic |= n == 5 && strncasecmp(scheme, "Basic", n) == 0;
		if (n == 6 && strncasecmp(scheme, "Bearer", n) == 0 && !ret->realm) {
			challenge_free(ret); /* an earlier Bearer without a realm */
			*ret = c;
		} else {
			challenge_free(&c);
		}
	}
	ret->basic = basic;
}

void challenge_free(struct challenge *c)
{
	free(c->realm);
	free(c->service);
	*c = (struct challenge){0};
}
