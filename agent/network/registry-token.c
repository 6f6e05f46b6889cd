/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "registry-internal.h"
#include "token.h"

#define SCOPES_MAX	 32
#define SCOPES_BYTES_MAX 4096 /* servers take URLs of 8 kB */
#define MARGIN_MS	 10000

/* Repositories that one token is asked for. */
struct scopes {
	char *list[SCOPES_MAX];
	size_t n, bytes;
	char *repositories; /* as in struct token */
	bool push;
};

static bool is_push(const struct registry_ask *ask)
{
	return !streq(ask->method, "GET") && !streq(ask->method, "HEAD");
}

const char *registry_token(const struct registry *r, const struct call *c)
{
	return token_cache_find(&r->tokens, c->ask->repository, is_push(c->ask), now_ms());
}

static bool scopes_have(const struct scopes *s, const struct call *c)
{
	_cleanup_free_ char *name = xasprintf(" %s ", c->ask->repository);

	return is_push(c->ask) == s->push && strstr(s->repositories, name);
}

static void scopes_add(struct scopes *s, const struct call *c)
{
	char *longer = xasprintf("%s%s ", s->repositories, c->ask->repository);

	free(s->repositories);
	s->repositories = longer;
	s->list[s->n] =
		xasprintf("repository:%s:%s", c->ask->repository, s->push ? "pull,push" : "pull");
	s->bytes += strlen(s->list[s->n++]);
}

static void scopes_free(struct scopes *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->list[i]);
	free(s->repositories);
}

/* The first call that waits, and all that may share its token. False: none waits. */
static bool collect(struct call *calls, size_t n, struct scopes *ret)
{
	const struct call *first = NULL;

	for (size_t i = 0; i < n; i++) {
		const struct call *c = &calls[i];

		if (!c->waiting)
			continue;
		if (!first) {
			first = c;
			*ret = (struct scopes){.push = is_push(c->ask),
					       .repositories = xstrdup(" ")};
			scopes_add(ret, c);
		} else if (first->stage == STAGE_FIRST && c->stage == STAGE_FIRST &&
			   is_push(c->ask) == ret->push && !scopes_have(ret, c) &&
			   ret->n < SCOPES_MAX && ret->bytes < SCOPES_BYTES_MAX) {
			scopes_add(ret, c);
		}
	}
	return first;
}

static struct token_options make_options(const struct registry *r)
{
	return (struct token_options){
		.host = r->host,
		.registry = &r->origin,
		.session = r->session,
		.ca_file = r->o->ca_file,
		.credential = r->o->credential,
		.cancel = r->o->cancel,
	};
}

char *registry_withheld(const struct registry *r)
{
	struct token_options options = make_options(r);

	return token_withheld(&options, &r->tokens.challenge);
}

static int get_token(struct registry *r, struct scopes *s, long *ret_status,
		     struct error *ret_error)
{
	struct token_options options = make_options(r);
	struct token_reply reply = {0};
	int q = registry_time_left(r, &options.timeout_ms, ret_error);

	if (q == 0)
		q = token_get(&options, &r->tokens.challenge, (const char *const *)s->list, s->n,
			      &reply, ret_error);
	r->retry_after_s = reply.retry_after_s;
	*ret_status = reply.status;
	if (q == 0)
		token_cache_add(&r->tokens, reply.token, steal(s->repositories), s->push,
				now_ms() + reply.lifetime_s * UINT64_C(1000) - MARGIN_MS);
	return q;
}

/* What failed with the token: one scope of several may be the reason, then each is asked for alone. But a wrong
 * password is not tried again, since accounts lock, nor a server that is busy or gone. */
static void take_failure(struct registry *r, struct call *calls, size_t n, const struct scopes *s,
			 long status, const struct error *e)
{
	bool one_scope =
		status == 403 || (s->n > 1 && status / 100 == 4 && status != 401 && status != 429);

	for (size_t i = 0; i < n; i++) {
		struct call *c = &calls[i];

		if (!c->waiting || (one_scope && !scopes_have(s, c)))
			continue;
		if (one_scope && s->n > 1) {
			c->stage = STAGE_GROUP;
			continue;
		}
		registry_fail(c, e);
		c->result->response.retry_after_s = r->retry_after_s;
	}
	/* A token server that moved: the next poll asks the registry again. */
	if (!r->challenged && !one_scope && e->code != -EBUSY) {
		challenge_free(&r->tokens.challenge);
		r->tokens.changed = true;
	}
}

void registry_get_tokens(struct registry *r, struct call *calls, size_t n)
{
	struct scopes s;

	while (collect(calls, n, &s)) {
		_cleanup_free_ char *names = xstrdup(s.repositories);
		struct error e;
		long status;

		if (get_token(r, &s, &status, &e) < 0) {
			take_failure(r, calls, n, &s, status, &e);
			scopes_free(&s);
			continue;
		}
		s.repositories = steal(names);
		for (size_t i = 0; i < n; i++) {
			struct call *c = &calls[i];

			if (!c->waiting || !scopes_have(&s, c))
				continue;
			c->waiting = false;
			c->pending = true;
			c->stage = s.n > 1 ? STAGE_GROUP : STAGE_SINGLE;
		}
		scopes_free(&s);
	}
}

/* Basic, which was not sent yet, or nothing that we know. */
static void try_basic(const struct registry *r, struct call *c)
{
	struct error e;

	if (!r->tokens.challenge.basic)
		(void)error_set(&e, -EACCES,
				"the registry asks for a kind of login that is not known here");
	else if (!r->basic)
		(void)error_set(&e, -EACCES,
				"the registry asks for a user name and a password (see "
				"credentials=)");
	else
		c->pending = true;
	c->stage = STAGE_SINGLE;
	if (!c->pending)
		registry_fail(c, &e);
}

static bool is_refused(struct registry *r, struct call *c)
{
	struct http_response *response = &c->result->response;
	_cleanup_free_ char *value = NULL;
	struct challenge challenge;

	if (c->result->code < 0 || response->status != 401 || c->foreign)
		return false;
	value = http_header_all(response, "WWW-Authenticate");
	challenge_parse(value ? value : "", &challenge);
	token_cache_learn(&r->tokens, &challenge);
	r->challenged = true;
	token_cache_forget(&r->tokens, c->ask->repository);
	if (c->stage == STAGE_SINGLE ||
	    (c->basic_sent && r->tokens.challenge.basic && !r->tokens.challenge.realm))
		return false;
	http_response_free(response);
	if (r->tokens.challenge.realm)
		c->waiting = true;
	else
		try_basic(r, c);
	return true;
}

bool registry_is_refused(struct registry *r, struct call *calls, size_t n)
{
	bool any = false;

	for (size_t i = 0; i < n; i++)
		any |= is_refused(r, &calls[i]);
	return any;
}
