/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <sys/param.h>

#include "crypto.h"
#include "oci.h"
#include "ref.h"
#include "registry.h"
#include "tls-session.h"

#define TOTAL_TIMEOUT_MS   180000 /* all requests of one question together */
#define REQUEST_TIMEOUT_MS 60000u
#define STALL_S		   20
#define STALL_RATE	   100
#define REDIRECTS_MAX	   3

static struct digest hash_credential(const struct registry *r)
{
	const char *identity = r->o->credential.identity_token;
	_cleanup_(credential_wipe) char *text = xasprintf(
		"%s\n%s\n%s", r->o->host, r->basic ? r->basic : "", identity ? identity : "");

	return hash_bytes(text, strlen(text));
}

/* Takes session over, which may be NULL. */
static int open_http(const struct registry *r, bool tls, struct tls_session *session,
		     struct http **ret, struct error *ret_error)
{
	const struct http_options options = {
		.ca_file = r->o->ca_file,
		.allow_plain = !tls,
		.cancel = r->o->cancel,
		.session = session,
	};

	return http_new(&options, ret, ret_error);
}

static int set_origin(struct registry *r, bool tls, struct error *ret_error)
{
	const char *host = streq(r->o->host, "docker.io") ? "registry-1.docker.io" : r->o->host;
	_cleanup_free_ char *text = xasprintf("%s://%s/", tls ? "https" : "http", host),
			    *key = NULL, *session_name = NULL;
	struct tls_session *session = NULL;
	struct digest hash;

	http_free(steal(r->session));
	url_free(&r->origin);
	token_cache_free(&r->tokens);
	if (url_parse(text, &r->origin) < 0)
		return error_set(ret_error, -EINVAL, "%s: not a host", r->o->host);
	/* The cache has a token and a TLS file for each host, port, CA and scheme. */
	key = xasprintf("%s\n%d\n%u\n%s", r->origin.host, r->origin.tls, r->origin.port,
			r->o->ca_name ? r->o->ca_name : "");
	hash = hash_bytes(key, strlen(key));
	session_name = xasprintf("tls-%.40s", hash.text + strlen("sha256:"));
	r->file = (struct token_file){.dir = r->o->cache_dir, .credential = hash_credential(r)};
	(void)snprintf(r->file.name, sizeof(r->file.name), "token-%.40s",
		       hash.text + strlen("sha256:"));
	token_cache_load(&r->tokens, &r->file, now_ms());
	if (tls && r->o->cache_dir >= 0)
		session = tls_session_open(r->o->cache_dir, session_name);
	return open_http(r, tls, session, &r->session, ret_error);
}

/* -ETIMEDOUT: the batch has used up its time. */
static int limit_time(const struct registry *r, struct http_request *request,
		      struct error *ret_error)
{
	uint64_t now = now_ms();

	if (now >= r->deadline)
		return error_set(ret_error, -ETIMEDOUT, "the registry took too long in all");
	request->timeout_ms = (unsigned int)MIN(r->deadline - now, REQUEST_TIMEOUT_MS);
	request->stall_s = STALL_S;
	request->stall_rate = STALL_RATE;
	return 0;
}

int registry_perform(const struct registry *r, const struct url *at, struct http_request *request,
		     struct http_response *ret, struct error *ret_error)
{
	_cleanup_http_ struct http *other = NULL;
	bool own = url_same_origin(at, &r->origin);
	int q = limit_time(r, request, ret_error);

	if (q == 0 && !own)
		q = open_http(r, at->tls, NULL, &other, ret_error);
	return q < 0 ? q : http_perform(own ? r->session : other, request, ret, ret_error);
}

/* The request to c.url; it borrows from c. */
static struct http_request make_request(const struct registry *r, struct call *c)
{
	const char *token = registry_token(r, c);

	credential_wipe(&c->authorization);
	c->foreign = !url_same_origin(&c->url, &r->origin);
	c->basic_sent = !c->foreign && !token && r->basic && !r->tokens.challenge.realm;
	if (!c->foreign && token)
		c->authorization = xasprintf("Authorization: Bearer %s", token);
	c->headers[0] = oci_accept;
	c->headers[1] = c->basic_sent ? r->basic : c->authorization;
	return (struct http_request){
		.method = c->method,
		.to = &c->url,
		.headers = c->headers,
		.body = c->body,
		.content_type = c->type,
		.body_max = OCI_DOCUMENT_MAX,
	};
}

/* One request to c.url, at whatever host. */
static void request_url(struct registry *r, struct call *c)
{
	struct http_request request = make_request(r, c);

	(void)!registry_perform(r, &c->url, &request, &c->result.response, &c->result.error);
	r->retry_after_s = c->result.response.retry_after_s;
}

static bool is_redirect(long status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* Replaces c->url by the target of the redirect that c was answered with. */
static int take_redirect(struct call *c, int count, struct error *ret_error)
{
	_cleanup_free_ char *location = http_header(&c->result.response, "Location");
	_cleanup_(url_free) struct url from = c->url;

	c->url = (struct url){0};
	if (count == REDIRECTS_MAX)
		return error_set(ret_error, -EPROTO, "the registry redirects more than %d times",
				 count);
	if (!location || url_resolve(&from, location, &c->url) < 0)
		return error_set(ret_error, -EPROTO,
				 "the registry redirects to an invalid http or https URL");
	if (from.tls && !c->url.tls)
		return error_set(ret_error, -EPROTO,
				 "the registry redirects from https to http: refused");
	return 0;
}

static void follow_redirects(struct registry *r, struct call *c)
{
	for (int i = 0; is_redirect(c->result.response.status); i++) {
		int q = take_redirect(c, i, &c->result.error);

		c->redirected = true;
		http_response_free(&c->result.response);
		if (q == 0)
			request_url(r, c);
	}
}

static int set_url(const struct registry *r, struct call *c)
{
	_cleanup_free_ char *path =
		c->at ? url_text(c->at)
		      : xasprintf("/v2/%s/%s/%s", c->repository, c->kind, c->name);

	url_free(&c->url);
	if (url_resolve(&r->origin, path, &c->url) < 0)
		return error_set(&c->result.error, -EINVAL, "not a path: %s", path);
	return 0;
}

/* Performs the pending calls at the same time, but an upload to another host alone. */
static void perform(struct registry *r, struct call *calls, size_t n)
{
	_cleanup_free_ struct http_request *requests = xcalloc(n, sizeof(*requests));
	_cleanup_free_ struct http_result *results = xcalloc(n, sizeof(*results));
	_cleanup_free_ struct call **sent = xcalloc(n, sizeof(*sent));
	size_t m = 0;

	for (size_t i = 0; i < n; i++) {
		struct call *c = &calls[i];

		if (c->state != CALL_PENDING)
			continue;
		c->state = CALL_DONE;
		if (set_url(r, c) < 0)
			continue;
		requests[m] = make_request(r, c);
		if (c->foreign)
			request_url(r, c);
		else if (limit_time(r, &requests[m], &c->result.error) == 0)
			sent[m++] = c;
	}
	http_perform_all(r->session, requests, m, results);
	for (size_t i = 0; i < m; i++) {
		sent[i]->result = results[i];
		r->retry_after_s = results[i].response.retry_after_s;
	}
	for (size_t i = 0; i < n; i++)
		follow_redirects(r, &calls[i]);
}

/* The text of Go's and nginx's servers for plain HTTP on a TLS port. */
static bool wants_tls(const struct registry *r, const struct call *c)
{
	const struct http_response *response = &c->result.response;

	return r->try_plain && response->status == 400 &&
	       strcasestr(response->body, "HTTP request") && strstr(response->body, "HTTPS");
}

static void enlist(const struct registry *r, struct call *calls, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		http_response_free(&calls[i].result.response);
		calls[i].result.error.code = 0;
		calls[i].redirected = false;
		calls[i].state = r->tokens.challenge.realm && !registry_token(r, &calls[i])
					 ? CALL_WAITING
					 : CALL_PENDING;
	}
}

void registry_request_all(struct registry *r, struct call *calls, size_t n)
{
	size_t begun = 0, next;
	bool refused = false;
	struct error e;
	int q = 0;

	if (n == 0)
		return;
	/* The first answer of an unknown registry shows whether the others need a token. */
	next = r->answered || r->tokens.challenge.realm ? n : 1;
	do {
		enlist(r, calls + begun, next - begun);
		begun = next;
		next = n;
		registry_get_tokens(r, calls, begun);
		perform(r, calls, begun);
		if (wants_tls(r, &calls[0])) {
			r->try_plain = false;
			q = set_origin(r, true, &e);
			begun = 0;
			next = 1;
		} else {
			refused = registry_is_refused(r, calls, begun);
		}
	} while (q == 0 && (refused || begun < n));
	for (size_t i = 0; i < n; i++) {
		if (q < 0) {
			http_response_free(&calls[i].result.response);
			calls[i].result.error = e;
		}
		r->answered |= calls[i].result.error.code == 0;
		credential_wipe(&calls[i].authorization);
		url_free(&calls[i].url);
	}
}

int registry_request(struct registry *r, struct call *c, long want, struct http_response *ret,
		     struct error *ret_error)
{
	int q;

	registry_request_all(r, c, 1);
	q = registry_check_status(r, c, want, ret_error);
	if (q < 0 || !ret)
		http_response_free(&c->result.response);
	else
		*ret = c->result.response;
	return q;
}

/* A policy that does not exist permits an update, so a 404 counts only if the registry itself says it: not a host or path
 * that it redirects to, and not a proxy's page. NOT_FOUND is Harbor's. An answer to HEAD has no body. */
static bool is_absent(const struct call *c)
{
	static const char *const codes[] = {"MANIFEST_UNKNOWN", "NAME_UNKNOWN", "BLOB_UNKNOWN",
					    "NOT_FOUND", NULL};
	const struct http_response *response = &c->result.response;

	return !c->redirected && !c->foreign &&
	       (response->body_len == 0 || token_error_is(response, codes));
}

int registry_check_status(const struct registry *r, const struct call *c, long want,
			  struct error *ret_error)
{
	const struct http_result *result = &c->result;
	_cleanup_free_ char *message = NULL, *said = NULL;
	unsigned int wait_s = result->response.retry_after_s;
	long status = result->response.status;

	if (result->error.code < 0)
		*ret_error = result->error;
	if (result->error.code < 0 || status == want)
		return result->error.code;
	message = token_error_message(&result->response);
	said = message ? xasprintf(": %s", message) : xstrdup("");
	if (status == 401 || status == 403) {
		_cleanup_free_ char *withheld = registry_withheld(r);
		const char *hint = credential_is_set(&r->o->credential)
					   ? "see credentials="
					   : "no credentials= is set for it";

		return error_set(ret_error, -EACCES, "the registry refused access (%ld)%s; %s",
				 status, said, withheld ? withheld : hint);
	}
	if (status == 404 && is_absent(c))
		return error_set(ret_error, -ENOENT, "the registry does not have it%s", said);
	if (status == 404)
		return error_set(ret_error, -EREMOTEIO, "the 404 is not the registry's own: %s%s",
				 c->redirected ? "it came after a redirect"
					       : "its body is no error of a registry",
				 said);
	if ((status == 429 || status == 503) && wait_s > 0)
		return error_set(ret_error, -EBUSY,
				 "the registry is busy (%ld, Retry-After: %u s)%s", status, wait_s,
				 said);
	if (status == 429)
		return error_set(ret_error, -EBUSY, "the registry is busy (429, no Retry-After)%s",
				 said);
	if (status >= 500)
		return error_set(ret_error, -EREMOTEIO, "the registry failed (%ld)%s", status,
				 said);
	return error_set(ret_error, -EPROTO, "the registry answers %ld%s", status, said);
}

int registry_open(const struct registry_options *o, struct registry **ret, struct error *ret_error)
{
	struct registry *r = xcalloc(1, sizeof(*r));
	int q;

	r->o = o;
	r->basic = credential_basic(&o->credential);
	r->try_plain = !o->config->insecure_set && !o->ca_file && ref_host_is_loopback(o->host);
	q = set_origin(r, !o->config->insecure && !r->try_plain, ret_error);
	if (q < 0)
		registry_close(r);
	else
		*ret = r;
	return q;
}

void registry_close(struct registry *r)
{
	if (!r)
		return;
	http_free(r->session);
	http_response_free(&r->kept);
	token_cache_free(&r->tokens);
	credential_wipe(&r->basic);
	url_free(&r->origin);
	free(r);
}

void registry_begin(struct registry *r)
{
	r->deadline = now_ms() + TOTAL_TIMEOUT_MS;
	r->retry_after_s = 0;
}

void registry_end(struct registry *r)
{
	token_cache_save(&r->tokens, &r->file, now_ms());
}
