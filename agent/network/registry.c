/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>

#include "hash.h"
#include "oci.h"
#include "ref.h"
#include "registry-internal.h"
#include "token.h"

#define CERTS_DIR	 "/etc/docker/certs.d"
#define TOTAL_TIMEOUT_MS 180000 /* all requests of one question together */
#define STALL_MS	 20000
#define STALL_RATE	 100
#define REDIRECTS_MAX	 3

static int is_certificate(const struct dirent *d)
{
	return d->d_name[0] != '.' && has_suffix(d->d_name, ".crt");
}

char *registry_find_ca(const char *host)
{
	_cleanup_free_ char *dir = xasprintf("%s/%s", CERTS_DIR, host);
	struct dirent **list = NULL;
	char *found = NULL;
	int n = scandir(dir, &list, is_certificate, alphasort);

	for (int i = 0; i < n; i++) {
		if (i == 0)
			found = xasprintf("%s/%s", dir, list[i]->d_name);
		free(list[i]);
	}
	free(list);
	return found;
}

/* The cache has a token and a TLS file for each host, port, CA and scheme. */
static char *name_file(const struct registry *r, const char *prefix)
{
	_cleanup_free_ char *text = xasprintf("%s\n%d\n%u\n%s", r->origin.host, r->origin.tls,
					      r->origin.port, r->o->ca_name ? r->o->ca_name : "");
	struct digest d = hash_bytes(text, strlen(text));

	return xasprintf("%s-%.40s", prefix, d.text + strlen("sha256:"));
}

static struct digest hash_credential(const struct registry *r)
{
	const struct credential *c = r->o->credential;
	char *text = xasprintf("%s\n%s\n%s\n%s", r->host, c->username ? c->username : "",
			       c->password ? c->password : "",
			       c->identity_token ? c->identity_token : "");
	struct digest d = hash_bytes(text, strlen(text));

	credential_wipe(text);
	return d;
}

static int set_origin(struct registry *r, bool tls, struct error *ret_error)
{
	const struct ref ref = {.host = r->host};
	_cleanup_free_ char *text =
		xasprintf("%s://%s/", tls ? "https" : "http", ref_connect_host(&ref));
	_cleanup_free_ char *session_key = NULL;

	http_free(steal(r->session));
	url_free(&r->origin);
	token_cache_free(&r->tokens);
	free(steal(r->file_name));
	if (url_parse(text, &r->origin) < 0)
		return error_set(ret_error, -EINVAL, "%s: not a host", r->host);
	r->file_name = name_file(r, "token");
	r->file = (struct token_file){r->o->cache_dir, r->file_name, hash_credential(r)};
	token_cache_load(&r->tokens, &r->file, now_ms());
	session_key = name_file(r, "tls");
	return registry_open_http(r, tls, tls && r->o->cache_dir >= 0 ? session_key : NULL,
				  &r->session, ret_error);
}

/* The request to c.url; it borrows from c. */
static struct http_request make_request(const struct registry *r, struct call *c,
					unsigned int timeout_ms)
{
	const char *token = registry_token(r, c);

	credential_wipe(steal(c->authorization));
	c->foreign = !url_same_origin(&c->url, &r->origin);
	c->basic_sent = !c->foreign && !token && r->basic && !r->tokens.challenge.realm;
	if (!c->foreign && token)
		c->authorization = xasprintf("Authorization: Bearer %s", token);
	c->headers[0] = r->accept;
	c->headers[1] = c->basic_sent ? r->basic : c->authorization;
	return (struct http_request){
		.method = c->ask->method,
		.to = &c->url,
		.headers = c->headers,
		.body = c->ask->body,
		.content_type = c->ask->type,
		.body_max = OCI_DOCUMENT_MAX,
		.timeout_ms = timeout_ms,
		.stall_ms = STALL_MS,
		.stall_rate = STALL_RATE,
	};
}

static void take_result(struct registry *r, struct call *c, const struct http_result *result)
{
	*c->result = *result;
	r->retry_after_s = result->response.retry_after_s;
	c->pending = false;
}

/* One request to c.url, at whatever host. */
static int request_url(struct registry *r, struct call *c, struct error *ret_error)
{
	_cleanup_http_ struct http *session = NULL;
	struct http_result result = {0};
	struct http_request request;
	unsigned int timeout_ms;
	int q = registry_time_left(r, &timeout_ms, ret_error);

	if (q < 0)
		return q;
	request = make_request(r, c, timeout_ms);
	/* Another origin gets a session of its own. */
	if (c->foreign)
		q = registry_open_http(r, c->url.tls, NULL, &session, ret_error);
	if (q < 0)
		return q;
	result.code = http_perform(session ? session : r->session, &request, &result.response,
				   &result.error);
	take_result(r, c, &result);
	return 0;
}

static bool is_redirect(const struct http_result *result)
{
	long status = result->response.status;

	return result->code == 0 &&
	       (status == 301 || status == 302 || status == 303 || status == 307 || status == 308);
}

/* Replaces *url by the target of the redirect. */
static int take_redirect(const struct http_response *response, struct url *url,
			 struct error *ret_error)
{
	_cleanup_free_ char *location = http_header(response, "Location");
	struct url next = {0};

	if (!location || url_resolve(url, location, &next) < 0)
		return error_set(ret_error, -EPROTO,
				 "the registry redirects to an invalid http or https URL");
	if (url->tls && !next.tls) {
		url_free(&next);
		return error_set(ret_error, -EPROTO,
				 "the registry redirects from https to http: refused");
	}
	url_free(url);
	*url = next;
	return 0;
}

static void follow_redirects(struct registry *r, struct call *c)
{
	struct error e;

	for (int i = 0; is_redirect(c->result); i++) {
		int q = i < REDIRECTS_MAX ? take_redirect(&c->result->response, &c->url, &e)
					  : error_set(&e, -EPROTO,
						      "the registry redirects more than %d times",
						      REDIRECTS_MAX);

		http_response_free(&c->result->response);
		if (q == 0)
			q = request_url(r, c, &e);
		if (q < 0)
			registry_fail(c, &e);
	}
}

static int set_url(const struct registry *r, struct call *c, struct error *ret_error)
{
	_cleanup_free_ char *path =
		c->ask->at ? url_text(c->ask->at)
			   : xasprintf("/v2/%s/%s", c->ask->repository, c->ask->what);

	url_free(&c->url);
	c->url = (struct url){0};
	if (url_resolve(&r->origin, path, &c->url) < 0)
		return error_set(ret_error, -EINVAL, "not a path: %s", path);
	return 0;
}

/* Performs the pending calls at the same time, but an upload to another host alone. */
static void perform(struct registry *r, struct call *calls, size_t n)
{
	_cleanup_free_ struct http_request *requests = xcalloc(n + 1, sizeof(*requests));
	_cleanup_free_ struct http_result *results = xcalloc(n + 1, sizeof(*results));
	_cleanup_free_ struct call **sent = xcalloc(n + 1, sizeof(*sent));
	unsigned int timeout_ms = 0;
	size_t m = 0;

	for (size_t i = 0; i < n; i++) {
		struct call *c = &calls[i];
		struct error e;
		int q = c->pending ? set_url(r, c, &e) : 0;

		if (c->pending && q == 0)
			q = url_same_origin(&c->url, &r->origin)
				    ? registry_time_left(r, &timeout_ms, &e)
				    : request_url(r, c, &e);
		if (q < 0)
			registry_fail(c, &e);
		if (!c->pending)
			continue;
		requests[m] = make_request(r, c, timeout_ms);
		sent[m++] = c;
	}
	if (m > 0)
		http_perform_all(r->session, requests, m, results);
	for (size_t i = 0; i < m; i++)
		take_result(r, sent[i], &results[i]);
	for (size_t i = 0; i < n; i++)
		follow_redirects(r, &calls[i]);
}

/* The text of Go's and nginx's servers for plain HTTP on a TLS port. */
static bool wants_tls(const struct registry *r, const struct call *c)
{
	const struct http_response *response = &c->result->response;

	return r->try_plain && response->status == 400 &&
	       strcasestr(response->body, "HTTP request") && strstr(response->body, "HTTPS");
}

static void enlist(const struct registry *r, struct call *calls, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		calls[i].waiting = r->tokens.challenge.realm && !registry_token(r, &calls[i]);
		calls[i].pending = !calls[i].waiting;
	}
}

static void request_together(struct registry *r, struct call *calls, size_t n)
{
	/* The first answer of an unknown registry shows whether the others need a token. */
	size_t sent = r->answered || r->tokens.challenge.realm ? n : 1;
	bool refused;
	struct error e;

	enlist(r, calls, sent);
	registry_get_tokens(r, calls, sent);
	perform(r, calls, sent);
	if (wants_tls(r, &calls[0])) {
		http_response_free(&calls[0].result->response);
		r->try_plain = false;
		if (set_origin(r, true, &e) < 0)
			registry_fail(&calls[0], &e);
		else
			enlist(r, calls, 1);
		registry_get_tokens(r, calls, 1);
		perform(r, calls, 1);
	}
	refused = registry_is_refused(r, calls, sent);
	enlist(r, calls + sent, n - sent);
	while (refused || sent < n) {
		sent = n;
		registry_get_tokens(r, calls, n);
		perform(r, calls, n);
		refused = registry_is_refused(r, calls, n);
	}
}

void registry_request_all(struct registry *r, const struct registry_ask *asks, size_t n,
			  struct http_result *ret)
{
	_cleanup_free_ struct call *calls = xcalloc(n, sizeof(*calls));

	for (size_t i = 0; i < n; i++) {
		ret[i] = (struct http_result){0};
		calls[i] = (struct call){.ask = &asks[i], .result = &ret[i]};
	}
	if (n > 0)
		request_together(r, calls, n);
	for (size_t i = 0; i < n; i++) {
		r->answered |= ret[i].code == 0;
		credential_wipe(calls[i].authorization);
		url_free(&calls[i].url);
	}
}

int registry_request(struct registry *r, const struct registry_ask *ask, long want,
		     struct http_response *ret, struct error *ret_error)
{
	struct http_result result;
	int q;

	registry_request_all(r, ask, 1, &result);
	q = registry_check_status(r, &result, want, ret_error);
	if (q < 0)
		http_response_free(&result.response);
	else
		*ret = result.response;
	return q;
}

int registry_check_status(const struct registry *r, const struct http_result *result, long want,
			  struct error *ret_error)
{
	_cleanup_free_ char *message = NULL;
	unsigned int wait_s = result->response.retry_after_s;
	long status = result->response.status;
	const char *colon, *said;

	if (result->code < 0)
		*ret_error = result->error;
	if (result->code < 0 || status == want)
		return result->code;
	message = token_error_message(&result->response);
	colon = message ? ": " : "";
	said = message ? message : "";
	if (status == 401 || status == 403) {
		_cleanup_free_ char *withheld = registry_withheld(r);
		const char *hint = credential_is_set(r->o->credential)
					   ? "see credentials="
					   : "no credentials= is set for it";

		return error_set(ret_error, -EACCES, "the registry refuses us (%ld)%s%s; %s",
				 status, colon, said, withheld ? withheld : hint);
	}
	if (status == 404)
		return error_set(ret_error, -ENOENT, "the registry does not have it%s%s", colon,
				 said);
	if ((status == 429 || status == 503) && wait_s > 0)
		return error_set(ret_error, -EBUSY,
				 "the registry is busy (%ld, Retry-After: %u s)%s%s", status,
				 wait_s, colon, said);
	if (status == 429)
		return error_set(ret_error, -EBUSY,
				 "the registry is busy (429, no Retry-After)%s%s", colon, said);
	if (status >= 500)
		return error_set(ret_error, -EREMOTEIO, "the registry failed (%ld)%s%s", status,
				 colon, said);
	return error_set(ret_error, -EPROTO, "the registry answers %ld%s%s", status, colon, said);
}

int registry_open(const char *host, const struct registry_options *o, struct registry **ret,
		  struct error *ret_error)
{
	struct registry *r = xcalloc(1, sizeof(*r));
	char *basic = credential_basic(o->credential);
	int q;

	r->o = o;
	r->host = xstrdup(host);
	r->accept = xasprintf("Accept: %s", oci_accept);
	r->basic = basic ? xasprintf("Authorization: %s", basic) : NULL;
	credential_wipe(basic);
	r->try_plain = !o->insecure_set && !o->ca_file && ref_host_is_loopback(host);
	q = set_origin(r, !o->insecure && !r->try_plain, ret_error);
	if (q < 0) {
		registry_close(r);
		return q;
	}
	*ret = r;
	return 0;
}

void registry_close(struct registry *r)
{
	if (!r)
		return;
	http_free(r->session);
	http_response_free(&r->kept);
	token_cache_free(&r->tokens);
	credential_wipe(r->basic);
	url_free(&r->origin);
	free(r->file_name);
	free(r->accept);
	free(r->host);
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

unsigned int registry_retry_after(const struct registry *r)
{
	return r->retry_after_s;
}
