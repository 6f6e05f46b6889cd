/* SPDX-License-Identifier: MIT */
#include "challenge.h"

#define TOKEN_CHARS ALPHANUMERIC "!#$%&'*+-.^_`|~"

static const char *skip_space(const char *p)
{
	return p + strspn(p, " \t");
}

static bool is_word(const char *s, size_t n, const char *word)
{
	return n == strlen(word) && strncasecmp(s, word, n) == 0;
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

/* What follows "name=": value or "value". NULL if it is invalid. */
static char *take_value(const char **p)
{
	const char *s = *p;
	size_t n = strspn(s, TOKEN_CHARS "/:");

	if (*s == '"') {
		(*p)++;
		return take_quoted(p);
	}
	*p += n + strcspn(s + n, ","); /* with the rest of a token68, for one */
	return n > 0 ? xstrndup(s, n) : NULL;
}

/* The parameters behind a scheme, up to the next one; the first of a name counts. */
static void take_params(const char **p, struct challenge *ret)
{
	for (;;) {
		const char *name = *p + strspn(*p, " \t,");
		size_t n = strspn(name, TOKEN_CHARS);
		const char *s = skip_space(name + n);
		_cleanup_free_ char *value = NULL;

		*p = name;
		if (n == 0 || *s != '=')
			return;
		*p = skip_space(s + 1);
		value = take_value(p);
		if (is_word(name, n, "realm") && !ret->realm)
			ret->realm = steal(value);
		else if (is_word(name, n, "service") && !ret->service)
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
		basic |= is_word(scheme, n, "Basic");
		if (is_word(scheme, n, "Bearer") && !ret->realm) {
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
