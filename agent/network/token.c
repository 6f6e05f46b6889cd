/* SPDX-License-Identifier: MIT */
#include "token.h"

#include <arpa/inet.h>
#include <errno.h>

#include "json.h"

#define ANSWER_MAX     ((size_t)64 * 1024)
#define TOKEN_MAX      ((size_t)32 * 1024)
#define LIFETIME_MIN_S 60
#define LIFETIME_MAX_S (24 * 60 * 60)
#define STALL_MS       20000
#define STALL_RATE     100

/* "service=..", then one scope= each; or one with all of them, as OAuth2 wants it. Caller frees. */
static char *make_query(const struct challenge *c, const char *const *scopes, size_t n, bool oauth2)
{
	_cleanup_free_ char *service = c->service ? url_encode(c->service) : NULL;
	char *query = service ? xasprintf("service=%s&", service) : xstrdup("");

	for (size_t i = 0; i < n; i++) {
		_cleanup_free_ char *scope = url_encode(scopes[i]), *head = query;
		const char *glue = i == 0 ? "scope=" : oauth2 ? "%20" : "&scope=";

		query = xasprintf("%s%s%s", head, glue, scope);
	}
	return query;
}

bool token_is_clean(const char *s)
{
	size_t n = strlen(s);

	return n > 0 && n <= TOKEN_MAX &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~+/=") ==
		       n;
}

static int take_token(const char *host, const struct http_response *answer, struct token_reply *ret,
		      struct error *ret_error)
{
	_cleanup_json_ json_t *j = NULL;
	json_int_t lifetime;
	const char *token;
	int r = json_parse(answer->body, answer->body_len, "token", &j, ret_error);

	if (r < 0) /* the complaint could quote a part of the token */
		return error_set(ret_error, r, "the token server %s sent no JSON", host);
	token = json_get_string(j, "token");
	if (!token || !*token)
		token = json_get_string(j, "access_token");
	if (!token || !token_is_clean(token))
		return error_set(ret_error, -EBADMSG, "the token server %s sent no usable token",
				 host);
	lifetime = json_integer_value(json_object_get(j, "expires_in"));
	ret->lifetime_s = lifetime < LIFETIME_MIN_S   ? LIFETIME_MIN_S
			  : lifetime > LIFETIME_MAX_S ? LIFETIME_MAX_S
						      : (unsigned int)lifetime;
	ret->token = xstrdup(token);
	return 0;
}

static int refused(const char *host, const struct http_response *answer, const char *withheld,
		   struct error *ret_error)
{
	_cleanup_free_ char *message = token_error_message(answer);
	int code = answer->status == 401 || answer->status == 403 ? -EACCES
		   : answer->status == 404			  ? -EPROTO
		   : answer->status == 429			  ? -EBUSY
								  : -EREMOTEIO;

	return error_set(ret_error, code, "the token server %s answers %ld%s%s%s%s", host,
			 answer->status, message ? ": " : "", message ? message : "",
			 withheld ? "; " : "", withheld ? withheld : "");
}

/* GET with the query, or POST where an identity token is to be traded in. */
static int ask(const struct token_options *o, const struct url *realm, bool with_credential,
	       const char *query, struct http *session, struct http_response *ret,
	       struct error *ret_error)
{
	_cleanup_free_ char *base = url_text(realm);
	_cleanup_free_ char *url =
		xasprintf("%s%c%s", base, strchr(realm->path, '?') ? '&' : '?', query);
	char *basic = with_credential ? credential_basic(o->credential) : NULL;
	char *line = basic ? xasprintf("Authorization: %s", basic) : NULL, *body = NULL;
	const char *headers[] = {line, NULL};
	struct http_request request = {
		.method = "GET",
		.url = url,
		.headers = headers,
		.body_max = ANSWER_MAX,
		.timeout_ms = o->timeout_ms,
		.stall_ms = STALL_MS,
		.stall_rate = STALL_RATE,
	};
	int r;

	if (with_credential && o->credential->identity_token) {
		char *secret = url_encode(o->credential->identity_token);

		body = xasprintf("grant_type=refresh_token&client_id=pullet&%s&refresh_token=%s",
				 query, secret);
		credential_wipe(secret);
		request.method = "POST";
		request.url = base;
		request.body = body;
		request.content_type = "application/x-www-form-urlencoded";
	}
	r = http_perform(session, &request, ret, ret_error);
	credential_wipe(basic);
	credential_wipe(line);
	credential_wipe(body);
	return r;
}

/* Where the credentials may go. */
static bool may_see(const struct token_options *o, const struct url *realm)
{
	return credential_is_set(o->credential) &&
	       token_host_is_trusted(o->host, o->registry, realm);
}

char *token_withheld(const struct token_options *o, const struct challenge *c)
{
	_cleanup_(url_free) struct url realm = {0};

	if (!c->realm || !credential_is_set(o->credential) || url_parse(c->realm, &realm) < 0 ||
	    may_see(o, &realm))
		return NULL;
	return xasprintf("the credentials were not sent to %s, which does not belong to %s",
			 realm.host, o->registry->host);
}

static int perform(const struct token_options *o, const struct url *realm, const char *query,
		   struct http_response *ret, struct error *ret_error)
{
	struct http_options options = {
		.ca_file = o->ca_file,
		.allow_plain = !realm->tls,
		.cancel = o->cancel,
		.session_dir = -1,
	};
	_cleanup_http_ struct http *session = NULL;
	bool own = url_same_origin(realm, o->registry);
	int r = own ? 0 : http_new(&options, &session, ret_error);

	if (r == 0)
		r = ask(o, realm, may_see(o, realm), query, own ? o->session : session, ret,
			ret_error);
	return r < 0 ? error_prefix(ret_error, "token server") : 0;
}

int token_get(const struct token_options *o, const struct challenge *c, const char *const *scopes,
	      size_t n, struct token_reply *ret, struct error *ret_error)
{
	_cleanup_(url_free) struct url realm = {0};
	_cleanup_http_response_ struct http_response answer = {0};
	_cleanup_free_ char *withheld = token_withheld(o, c), *query = NULL;
	int r;

	*ret = (struct token_reply){0};
	if (url_parse(c->realm, &realm) < 0)
		return error_set(ret_error, -EPROTO,
				 "the registry names a token server that is no URL");
	if (!realm.tls && o->registry->tls)
		return error_set(ret_error, -EPROTO,
				 "the registry names a token server without TLS: %s", realm.host);
	query = make_query(c, scopes, n, may_see(o, &realm) && o->credential->identity_token);
	r = perform(o, &realm, query, &answer, ret_error);
	if (r < 0)
		return r;
	ret->status = answer.status;
	ret->retry_after_s = answer.retry_after_s;
	if (answer.status != 200)
		return refused(realm.host, &answer, withheld, ret_error);
	r = take_token(realm.host, &answer, ret, ret_error);
	explicit_bzero(answer.body, answer.body_len);
	return r;
}

bool token_host_is_trusted(const char *host, const struct url *registry, const struct url *realm)
{
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
	return strlen(registry->host) > strlen(realm->host) + 1 &&
	       has_suffix(registry->host, realm->host) &&
	       registry->host[strlen(registry->host) - strlen(realm->host) - 1] == '.';
}

char *token_error_message(const struct http_response *r)
{
	_cleanup_json_ json_t *j = NULL;
	struct error ignored;
	const char *message;

	if (r->body_len == 0 || json_parse(r->body, r->body_len, "answer", &j, &ignored) < 0)
		return NULL;
	/* {"errors": [{"message"}]} of distribution-spec; {"message"} or {"details"} of others */
	message = json_get_string(json_array_get(json_object_get(j, "errors"), 0), "message");
	if (!message)
		message = json_get_string(j, "message");
	if (!message)
		message = json_get_string(j, "details");
	return message && *message ? xasprintf("%.200s", message) : NULL;
}
