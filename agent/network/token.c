/* SPDX-License-Identifier: MIT */
#include "token.h"

#include <arpa/inet.h>
#include <errno.h>

#include "json.h"

#define ANSWER_MAX ((size_t)64 * 1024)
#define TOKEN_MAX  ((size_t)32 * 1024)
#define STALL_MS   20000
#define STALL_RATE 100

/* "service=..&scope=.." Caller frees. */
static char *make_query(const struct token_options *o, const struct challenge *c)
{
	_cleanup_free_ char *pull = xasprintf("repository:%s:pull", o->ref->path);
	_cleanup_free_ char *scope = url_encode(c->scope ? c->scope : pull);
	_cleanup_free_ char *service = url_encode(c->service ? c->service : "");

	if (!c->service)
		return xasprintf("scope=%s", scope);
	return xasprintf("service=%s&scope=%s", service, scope);
}

/* A token goes into a header line as it is: nothing that could end one. */
static bool token_is_clean(const char *s)
{
	size_t n = strlen(s);

	return n > 0 && n <= TOKEN_MAX &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~+/=") ==
		       n;
}

static int take_token(const char *host, const struct http_response *answer, char **ret,
		      struct error *ret_error)
{
	_cleanup_json_ json_t *j = NULL;
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
	*ret = xasprintf("Authorization: Bearer %s", token);
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
static int ask(const struct token_options *o, const struct url *realm, const struct challenge *c,
	       bool with_credential, struct http *session, struct http_response *ret,
	       struct error *ret_error)
{
	_cleanup_free_ char *base = url_text(realm), *query = make_query(o, c), *url = NULL;
	char *basic = with_credential ? credential_basic(o->credential) : NULL;
	char *line = basic ? xasprintf("Authorization: %s", basic) : NULL, *body = NULL;
	const char *headers[] = {line, NULL};
	struct http_request request = {
		.method = "GET",
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
	} else {
		url = xasprintf("%s%c%s", base, strchr(realm->path, '?') ? '&' : '?', query);
		request.url = url;
	}
	r = http_perform(session, &request, ret, ret_error);
	credential_wipe(basic);
	credential_wipe(line);
	credential_wipe(body);
	return r;
}

static int get_bearer(const struct token_options *o, const struct challenge *c,
		      const struct url *realm, struct token *ret, unsigned int *ret_retry_after,
		      struct error *ret_error)
{
	struct http_options options = {
		.ca_file = o->ca_file,
		.allow_plain = !realm->tls,
		.cancel = o->cancel,
	};
	bool own = url_same_origin(realm, o->registry), trusted, with_credential;
	_cleanup_http_response_ struct http_response answer = {0};
	_cleanup_http_ struct http *session = NULL;
	_cleanup_free_ char *withheld = NULL;
	int r;

	trusted = token_host_is_trusted(o->ref, o->registry, realm);
	with_credential = trusted && credential_is_set(o->credential);
	if (!trusted && credential_is_set(o->credential))
		withheld =
			xasprintf("the credentials were not sent to %s, which does not belong to "
				  "%s",
				  realm->host, o->registry->host);
	if (!own) {
		r = http_new(&options, &session, ret_error);
		if (r < 0)
			return r;
	}
	r = ask(o, realm, c, with_credential, own ? o->session : session, &answer, ret_error);
	if (r < 0)
		return error_prefix(ret_error, "token server");
	*ret_retry_after = answer.retry_after_s;
	if (answer.status != 200)
		return refused(realm->host, &answer, withheld, ret_error);
	r = take_token(realm->host, &answer, &ret->authorization, ret_error);
	explicit_bzero(answer.body, answer.body_len);
	if (r == 0)
		ret->withheld = steal(withheld);
	return r;
}

int token_get(const struct token_options *o, const struct challenge *c, struct token *ret,
	      unsigned int *ret_retry_after, struct error *ret_error)
{
	struct url realm = {0};
	char *basic;
	int r;

	*ret_retry_after = 0;
	if (c->realm) {
		if (url_parse(c->realm, &realm) < 0)
			return error_set(ret_error, -EPROTO,
					 "the registry names a token server that is no URL");
		if (!realm.tls && o->registry->tls)
			r = error_set(ret_error, -EPROTO,
				      "the registry names a token server without TLS: %s",
				      realm.host);
		else
			r = get_bearer(o, c, &realm, ret, ret_retry_after, ret_error);
		url_free(&realm);
		return r;
	}
	if (!c->basic)
		return error_set(ret_error, -EACCES,
				 "the registry asks for a kind of login that is not known here");
	basic = credential_basic(o->credential);
	if (!basic)
		return error_set(ret_error, -EACCES,
				 "the registry asks for a user name and a password (see "
				 "credentials=)");
	ret->authorization = xasprintf("Authorization: %s", basic);
	credential_wipe(basic);
	return 0;
}

void token_free(struct token *t)
{
	credential_wipe(t->authorization);
	free(t->withheld);
	*t = (struct token){0};
}

bool token_host_is_trusted(const struct ref *ref, const struct url *registry,
			   const struct url *realm)
{
	struct in_addr v4;

	if (registry->tls && !realm->tls)
		return false;
	if (streq(realm->host, registry->host))
		return true;
	if (streq(ref->host, "docker.io"))
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
