/* SPDX-License-Identifier: MIT */
#include "registry.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/param.h>

#include "json.h"

#define ANSWER_MAX     ((size_t)64 * 1024)
#define LIFETIME_MIN_S 60 /* the specification's default */
#define LIFETIME_MAX_S (24 * 60 * 60)
#define MARGIN_S       10
/* Scopes and bytes of names: with the rest of the query well below the 8 kB that servers take. */
#define SCOPES_MAX	 32
#define SCOPES_NAMES_MAX 3072

/* Repositories that share a token. */
struct scopes {
	char *repositories; /* as in struct token */
	size_t n;
	bool push;
	const struct credential *credential;
};

static bool is_push(const struct call *c)
{
	return !streq(c->method, "GET") && !streq(c->method, "HEAD");
}

const struct credential *registry_credential(const struct registry *r, const struct call *c)
{
	return credentials_find(&r->o->credentials, c->repository);
}

const char *registry_token(const struct registry *r, const struct call *c)
{
	const char *own = registry_credential(r, c)->registry_token;

	return own ? own : token_cache_find(&r->tokens, c->repository, is_push(c), now_ms());
}

static bool scopes_have(const struct scopes *s, const struct call *c)
{
	_cleanup_free_ char *name = xasprintf(" %s ", c->repository);

	return is_push(c) == s->push && strstr(s->repositories, name);
}

/* Collects the first call that waits, and all that may share its token. False: none waits. */
static bool collect(const struct registry *r, struct call *calls, size_t n, struct scopes *ret)
{
	*ret = (struct scopes){.repositories = xstrdup(" ")};
	for (size_t i = 0; i < n; i++) {
		const struct call *c = &calls[i];
		_cleanup_free_ char *before = NULL;

		if (c->state != CALL_WAITING)
			continue;
		if (ret->n == 0) {
			ret->push = is_push(c);
			ret->credential = registry_credential(r, c);
		} else if (c->stage != STAGE_FIRST || is_push(c) != ret->push ||
			   registry_credential(r, c) != ret->credential || scopes_have(ret, c) ||
			   ret->n == SCOPES_MAX || strlen(ret->repositories) >= SCOPES_NAMES_MAX) {
			continue;
		}
		before = ret->repositories;
		ret->repositories = xasprintf("%s%s ", before, c->repository);
		ret->n++;
		if (c->stage != STAGE_FIRST)
			break;
	}
	return ret->n > 0;
}

/* "service=..", then one "scope=" each, or one "scope=" with all of them for OAuth2. Caller frees. */
static char *make_query(const struct challenge *c, const struct scopes *s, bool oauth2)
{
	_cleanup_free_ char *service = c->service ? url_encode(c->service, "") : NULL;
	_cleanup_free_ char *names = xstrdup(s->repositories);
	char *query = service ? xasprintf("service=%s&", service) : xstrdup("");
	const char *glue = "scope=";
	char *rest = names, *name;

	while ((name = strsep(&rest, " "))) {
		_cleanup_free_ char *scope = NULL, *encoded = NULL, *head = NULL;

		if (!*name)
			continue;
		scope = xasprintf("repository:%s:%s", name, s->push ? "pull,push" : "pull");
		encoded = url_encode(scope, "");
		head = query;
		query = xasprintf("%s%s%s", head, glue, encoded);
		glue = oauth2 ? "%20" : "&scope=";
	}
	return query;
}

/* *ret is wiped by the caller. */
static int parse_token(const char *host, const struct http_response *answer, char **ret,
		       uint64_t *ret_expires_ms, struct error *ret_error)
{
	_cleanup_json_ json_t *j = NULL;
	json_int_t lifetime_s;
	const char *token;
	int q;

	if (answer->status != 200) {
		_cleanup_free_ char *message = token_error_message(answer);
		int code = answer->status == 401 || answer->status == 403 ? -EACCES
			   : answer->status == 404			  ? -EPROTO
			   : answer->status == 429			  ? -EBUSY
									  : -EREMOTEIO;

		return error_set(ret_error, code, "the token server %s answers %ld%s%s", host,
				 answer->status, message ? ": " : "", message ? message : "");
	}
	q = json_parse(answer->body, answer->body_len, "token", &j, ret_error);
	if (q < 0) /* the parser's text could quote a part of the token */
		return error_set(ret_error, q, "the token server %s sent no JSON", host);
	token = json_get_string(j, "token");
	if (!token || !*token)
		token = json_get_string(j, "access_token");
	if (!token || !token_cache_takes(token))
		return error_set(ret_error, -EBADMSG, "the token server %s sent no usable token",
				 host);
	lifetime_s = json_integer_value(json_object_get(j, "expires_in"));
	lifetime_s = MIN(MAX(lifetime_s, LIFETIME_MIN_S), LIFETIME_MAX_S);
	*ret = xstrdup(token);
	*ret_expires_ms = now_ms() + (uint64_t)(lifetime_s - MARGIN_S) * 1000;
	return 0;
}

/* The operator names a token server by its origin. */
static bool is_named(const struct registry *r, const struct url *realm)
{
	_cleanup_(url_free) struct url named = {0};
	const char *text = r->o->config->token_server;

	return text && url_parse(text, &named) == 0 && url_same_origin(&named, realm);
}

static bool is_trusted(const struct registry *r, const struct url *realm)
{
	return (is_named(r, realm) && realm->tls >= r->origin.tls) ||
	       token_host_is_trusted(r->o->host, &r->origin, realm);
}

char *registry_withheld(const struct registry *r, const struct credential *c)
{
	_cleanup_(url_free) struct url realm = {0};
	_cleanup_free_ char *server = NULL;
	const char *text = r->tokens.challenge.realm;

	if (!text || !credential_is_set(c) || c->registry_token || url_parse(text, &realm) < 0 ||
	    is_trusted(r, &realm))
		return NULL;
	server = url_origin(&realm);
	return xasprintf("the credentials were not sent to %s, which does not belong to %s; if "
			 "they are for it too, set token-server = %s in [registry %s]",
			 realm.host, r->origin.host, server, r->o->host);
}

/* GET with the query, or POST with an identity token. */
static int ask(const struct registry *r, const struct url *realm, const char *query,
	       const struct credential *credential, struct http_response *ret,
	       struct error *ret_error)
{
	const char *identity = credential->identity_token;
	_cleanup_free_ char *base = url_text(realm);
	_cleanup_free_ char *url = xasprintf("%s%c%s", base, strchr(base, '?') ? '&' : '?', query);
	_cleanup_(credential_wipe) char *secret = identity ? url_encode(identity, "") : NULL;
	_cleanup_(credential_wipe) char *body = NULL;
	const char *headers[] = {credential->basic, NULL};
	struct http_request request = {
		.method = "GET",
		.url = url,
		.headers = headers,
		.body_max = ANSWER_MAX,
	};
	int q;

	if (secret) {
		body = xasprintf("grant_type=refresh_token&client_id=pullet&%s&refresh_token=%s",
				 query, secret);
		request.method = "POST";
		request.url = base;
		request.body = body;
		request.content_type = "application/x-www-form-urlencoded";
	}
	q = registry_perform(r, realm, &request, ret, ret_error);
	return q < 0 ? error_prefix(ret_error, "token server") : 0;
}

/* A token of the server that challenge names, for scopes. tls: the server needs TLS. Credentials go to the registry itself
 * and to token servers that belong to it (CVE-2020-15157), and never for a foreign challenge. *ret_answer is for its
 * status, 0: no answer. */
static int request_token(const struct registry *r, const struct challenge *challenge, bool tls,
			 const struct scopes *s, struct http_response *ret_answer, char **ret,
			 uint64_t *ret_expires_ms, struct error *ret_error)
{
	static const struct credential none = {0};
	bool own = challenge == &r->tokens.challenge;
	const struct credential *credential = s->credential;
	_cleanup_(url_free) struct url realm = {0};
	_cleanup_free_ char *query = NULL;
	int q;

	/* A later answer of the same batch has replaced the challenge. */
	if (!challenge->realm)
		return error_set(ret_error, -EPROTO,
				 "the registry names a token server for one request and none for "
				 "another");
	if (url_parse(challenge->realm, &realm) < 0)
		return error_set(ret_error, -EPROTO,
				 "the registry names a token server that is no URL");
	if (!realm.tls && tls)
		return error_set(ret_error, -EPROTO,
				 "the registry names a token server without TLS: %s", realm.host);
	if (!own || !is_trusted(r, &realm))
		credential = &none;
	query = make_query(challenge, s, credential->identity_token);
	q = ask(r, &realm, query, credential, ret_answer, ret_error);
	if (q == 0)
		q = parse_token(realm.host, ret_answer, ret, ret_expires_ms, ret_error);
	if (ret_answer->body)
		explicit_bzero(ret_answer->body, ret_answer->body_len);
	return q;
}

/* Adds one token for all of s to the cache. *ret_status is the token server's, 0: it did not answer. */
static int get_token(struct registry *r, const struct scopes *s, long *ret_status,
		     struct error *ret_error)
{
	_cleanup_http_response_ struct http_response answer = {0};
	_cleanup_free_ char *withheld = registry_withheld(r, s->credential),
			    *hint = registry_hint(r, s->credential);
	uint64_t expires_ms;
	char *token;
	int q = request_token(r, &r->tokens.challenge, r->origin.tls, s, &answer, &token,
			      &expires_ms, ret_error);

	*ret_status = answer.status;
	r->retry_after_s = answer.retry_after_s;
	if (q == 0)
		token_cache_add(&r->tokens, token, xstrdup(s->repositories), s->push, expires_ms);
	else if (answer.status == 401 || answer.status == 403 ||
		 (answer.status > 0 && answer.status != 200 && withheld))
		error_append(ret_error, "%s", hint);
	return q;
}

/* "team/app" of "/v2/team/app/manifests/stable". Caller frees. */
static char *repository_of(const struct call *c)
{
	_cleanup_free_ char *text = url_text(&c->url), *kind = xasprintf("/%s/", c->kind);
	const char *path = strstr(text, "/v2/");
	const char *end = path ? strstr(path + strlen("/v2/"), kind) : NULL;

	path = path ? path + strlen("/v2/") : NULL;
	if (!end || strcspn(path, "?#% ") < (size_t)(end - path))
		return xstrdup(c->repository);
	return xstrndup(path, (size_t)(end - path));
}

int registry_answer_foreign(struct registry *r, struct call *c)
{
	_cleanup_free_ char *value = http_header_all(&c->result.response, "WWW-Authenticate");
	_cleanup_(challenge_free) struct challenge challenge = {0};
	_cleanup_http_response_ struct http_response answer = {0};
	_cleanup_free_ char *repository = repository_of(c);
	_cleanup_free_ char *list = xasprintf(" %s ", repository);
	const struct scopes s = {.repositories = list, .n = 1};
	uint64_t ignored;
	struct error e;
	char *token;

	challenge_parse(value ? value : "", &challenge);
	if (!challenge.realm || is_push(c) ||
	    request_token(r, &challenge, c->url.tls, &s, &answer, &token, &ignored, &e) < 0)
		return -EACCES;
	credential_wipe(&r->foreign_token);
	replace_string(&r->foreign_repository, c->repository);
	free(r->foreign_origin);
	r->foreign_origin = url_origin(&c->url);
	r->foreign_token = token;
	return 0;
}

const char *registry_foreign_token(const struct registry *r, const struct call *c)
{
	_cleanup_free_ char *origin = url_origin(&c->url);

	return r->foreign_token && streq(origin, r->foreign_origin) &&
			       streq(c->repository, r->foreign_repository)
		       ? r->foreign_token
		       : NULL;
}

/* One scope of several may be the reason of a failure: each is requested alone then. A wrong password is not sent
 * again, since accounts lock, nor is a server asked again that is busy or does not answer. */
static void take_failure(struct registry *r, struct call *calls, size_t n, const struct scopes *s,
			 long status, const struct error *e)
{
	bool one_scope =
		status == 403 || (s->n > 1 && status / 100 == 4 && status != 401 && status != 429);

	/* A challenge out of the cache may name a token server that has moved: the registry is asked once more. */
	bool outdated = !r->challenged && !one_scope && e->code != -EBUSY;
	bool again = outdated && (status != 401 || !credential_is_set(s->credential)) &&
		     e->code != -ECANCELED && e->code != -ETIMEDOUT;

	if (outdated) {
		challenge_free(&r->tokens.challenge);
		r->tokens.changed = true;
	}
	for (size_t i = 0; i < n; i++) {
		struct call *c = &calls[i];

		if (c->state != CALL_WAITING || (one_scope && !scopes_have(s, c)))
			continue;
		if (again) {
			c->state = CALL_PENDING;
		} else if (one_scope && s->n > 1) {
			c->stage = STAGE_GROUP;
		} else {
			c->state = CALL_DONE;
			c->result.error = *e;
			c->result.response.retry_after_s = r->retry_after_s;
		}
	}
}

void registry_get_tokens(struct registry *r, struct call *calls, size_t n)
{
	struct scopes s;

	for (; collect(r, calls, n, &s); free(s.repositories)) {
		struct error e;
		long status;
		int q = get_token(r, &s, &status, &e);

		if (q < 0)
			take_failure(r, calls, n, &s, status, &e);
		for (size_t i = 0; q == 0 && i < n; i++) {
			struct call *c = &calls[i];

			if (c->state != CALL_WAITING || !scopes_have(&s, c))
				continue;
			c->state = CALL_PENDING;
			c->stage = s.n > 1 ? STAGE_GROUP : STAGE_SINGLE;
		}
	}
	free(s.repositories);
}

/* Repeats the request with Basic, or fails. */
static void try_basic(const struct registry *r, struct call *c)
{
	const struct credential *credential = registry_credential(r, c);
	_cleanup_free_ char *hint = registry_hint(r, credential);
	bool basic = r->tokens.challenge.basic;

	c->stage = STAGE_SINGLE;
	if (basic && credential->basic)
		c->state = CALL_PENDING;
	else
		(void)error_set(&c->result.error, -EACCES, "the registry requires %s%s",
				basic ? "a user name and a password; "
				      : "an authentication method other than Basic and Bearer",
				basic ? hint : "");
}

static bool is_refused(struct registry *r, struct call *c)
{
	struct http_response *response = &c->result.response;
	_cleanup_free_ char *value = NULL;
	struct challenge challenge;

	if (response->status != 401 || c->foreign)
		return false;
	value = http_header_all(response, "WWW-Authenticate");
	challenge_parse(value ? value : "", &challenge);
	token_cache_learn(&r->tokens, &challenge);
	r->challenged = true;
	token_cache_forget(&r->tokens, c->repository);
	if (c->stage == STAGE_SINGLE || registry_credential(r, c)->registry_token ||
	    (c->basic_sent && r->tokens.challenge.basic && !r->tokens.challenge.realm))
		return false;
	http_response_free(response);
	if (r->tokens.challenge.realm)
		c->state = CALL_WAITING;
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

bool token_host_is_trusted(const char *host, const struct url *registry, const struct url *realm)
{
	_cleanup_free_ char *parent = NULL;
	struct in_addr v4;

	if (registry->tls && !realm->tls)
		return false;
	if (streq(realm->host, registry->host))
		return true;
	if (streq(host, "docker.io"))
		return streq(realm->host, "auth.docker.io");
	if (inet_pton(AF_INET, registry->host, &v4) == 1 || !strchr(realm->host, '.'))
		return false;
	/* registry.gitlab.com and gitlab.com: a parent, never a sister. */
	parent = xasprintf(".%s", realm->host);
	return has_suffix(registry->host, parent);
}

bool token_error_is(const struct http_response *r, const char *const *codes)
{
	_cleanup_json_ json_t *j = NULL;
	struct error ignored;
	const json_t *errors, *e;
	size_t i;

	if (json_parse(r->body, r->body_len, "answer", &j, &ignored) < 0)
		return false;
	errors = json_object_get(j, "errors");
	json_array_foreach (errors, i, e) {
		for (const char *const *code = codes; *code; code++) {
			if (streq_null(json_get_string(e, "code"), *code))
				return true;
		}
	}
	return false;
}

char *token_error_message(const struct http_response *r)
{
	_cleanup_json_ json_t *j = NULL;
	struct error ignored;
	const char *message;

	if (r->body_len == 0 || json_parse(r->body, r->body_len, "answer", &j, &ignored) < 0)
		return NULL;
	/* {"errors": [{"message"}]} of distribution-spec; {"message"} or {"details"} of others */
	message = json_get_string(json_array_get(json_object_get(j, "errors"), 0), "message")
			  ?: json_get_string(j, "message")
			  ?: json_get_string(j, "details");
	return message && *message ? xasprintf("%.200s", message) : NULL;
}
