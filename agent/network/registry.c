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
#ifndef BLOB_STALL_S
#define BLOB_STALL_S 60u /* without one byte */
#endif
#define REDIRECTS_MAX 3
#define CERTS_DIR     "/etc/docker/certs.d"

static struct digest hash_credentials(const struct registry *r)
{
	_cleanup_(credential_wipe) char *text = xstrdup(r->o->host);
	struct digest d;

	for (size_t i = 0; i < r->o->credentials.n; i++) {
		const struct credential *c = &r->o->credentials.items[i];
		_cleanup_(credential_wipe) char *before = text;

		text = xasprintf("%s\n%s\n%s\n%s", before, c->scope, c->basic ? c->basic : "",
				 c->identity_token ? c->identity_token : "");
	}
	d = hash_bytes(text, strlen(text));
	return d;
}

int registry_read_trust(const struct registry_config *config, const char *host, struct trust *ret,
			struct error *ret_error)
{
	_cleanup_free_ char *dir = xasprintf("%s/%s", CERTS_DIR, host);
	struct trust t = {0};
	int r = 0;

	if (config && config->ca)
		r = trust_add_file(&t, config->ca, ret_error);
	if (r == 0 && host[0] != '.')
		r = trust_add_directory(&t, dir, ret_error);
	if (r < 0)
		trust_free(&t);
	*ret = t;
	return r;
}

/* Takes session over, which may be NULL. */
static int open_http(const struct registry *r, bool tls, const struct trust *trust,
		     struct tls_session *session, struct http **ret, struct error *ret_error)
{
	const struct http_options options = {
		.trust = trust,
		.allow_plain = !tls,
		.cancel = r->o->cancel,
		.session = session,
		.meter = r->o->meter,
		.tick = r->o->tick,
	};
	int q = http_new(&options, ret, ret_error);

	if (q == 0)
		http_cap(*ret, r->speed);
	return q;
}

/* Says what an error of TLS means for the operator. */
static void explain_tls(const struct trust *t, const char *host, struct error *e)
{
	if (e->code != -EPROTO && e->code != -ECONNRESET)
		return;
	if (t->skipped)
		error_append(e, "%s", t->skipped);
	else if (strstr(e->text, "certificate problem"))
		error_append(e,
			     "an authority of its own belongs in " CERTS_DIR
			     "/%s/ca.crt, or in ca = of [registry %s]",
			     host, host);
	else if (strstr(e->text, "wrong version number"))
		error_append(e, "if it speaks plain HTTP, set insecure = yes in [registry %s]",
			     host);
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
	/* The cache has a token and a TLS file for each host, port, trust and scheme: a resumed session is not checked
	 * against other authorities. */
	key = xasprintf("%s\n%d\n%u\n%s\n%s", r->origin.host, r->origin.tls, r->origin.port,
			r->o->config->ca ? r->o->config->ca : "", trust_hash(&r->o->trust).text);
	hash = hash_bytes(key, strlen(key));
	session_name = xasprintf("tls-%.40s", hash.text + strlen("sha256:"));
	r->file = (struct token_file){.dir = r->o->cache_dir, .credential = hash_credentials(r)};
	(void)snprintf(r->file.name, sizeof(r->file.name), "token-%.40s",
		       hash.text + strlen("sha256:"));
	token_cache_load(&r->tokens, &r->file, now_ms());
	if (tls && r->o->cache_dir >= 0)
		session = tls_session_open(r->o->cache_dir, session_name);
	return open_http(r, tls, &r->o->trust, session, &r->session, ret_error);
}

/* -ETIMEDOUT: the batch has used up its time. */
static int limit_time(const struct registry *r, struct http_request *request,
		      struct error *ret_error)
{
	bool is_blob = request->on_begin || request->on_send;
	uint64_t now = now_ms();

	if (now >= r->deadline)
		return error_set(ret_error, -ETIMEDOUT, "the registry took too long in all");
	request->timeout_ms =
		is_blob ? 0 : (unsigned int)MIN(r->deadline - now, REQUEST_TIMEOUT_MS);
	request->stall_s = is_blob ? BLOB_STALL_S : STALL_S;
	request->stall_rate = is_blob ? 1 : STALL_RATE;
	return 0;
}

/* A host that r names, in a redirect or as a token server: r's authorities could name any other, so trusting them for it
 * adds nothing to what they can do. r's client certificate is not shown to it. */
static int perform_elsewhere(const struct registry *r, const struct url *at,
			     struct http_request *request, struct http_response *ret,
			     struct error *ret_error)
{
	_cleanup_(trust_free) struct trust trust = {0};
	_cleanup_http_ struct http *http = NULL;
	_cleanup_free_ char *host = url_host(at);
	int q = 0;

	if (at->tls)
		q = registry_read_trust(r->o->others ? config_registry(r->o->others, host) : NULL,
					host, &trust, ret_error);
	if (q == 0 && !trust.alone)
		trust_add(&trust, &r->o->trust);
	if (q == 0)
		q = open_http(r, at->tls, &trust, NULL, &http, ret_error);
	if (q == 0)
		q = http_perform(http, request, ret, ret_error);
	if (q < 0 && at->tls)
		explain_tls(&trust, host, ret_error);
	return q;
}

int registry_perform(const struct registry *r, const struct url *at, struct http_request *request,
		     struct http_response *ret, struct error *ret_error)
{
	int q = limit_time(r, request, ret_error);

	if (q < 0)
		return q;
	if (!url_same_origin(at, &r->origin))
		return perform_elsewhere(r, at, request, ret, ret_error);
	q = http_perform(r->session, request, ret, ret_error);
	if (q < 0 && at->tls)
		explain_tls(&r->o->trust, r->o->host, ret_error);
	return q;
}

/* authorization: the line of a header, or NULL. A blob has one type and no other encoding, whose bytes would not hash. */
static void set_headers(struct call *c, const char *authorization)
{
	size_t n = 0;

	if (!c->on_data || streq(c->kind, "manifests"))
		c->headers[n++] = oci_accept;
	if (c->on_data)
		c->headers[n++] = "Accept-Encoding: identity";
	if (c->range)
		c->headers[n++] = c->range;
	c->headers[n++] = authorization;
	c->headers[n] = NULL;
}

/* The request to c.url; it borrows from c. */
static struct http_request make_request(const struct registry *r, struct call *c)
{
	const char *token, *basic = registry_credential(r, c)->basic;

	credential_wipe(&c->authorization);
	c->foreign = !url_same_origin(&c->url, &r->origin);
	copy_text(c->foreign_host, sizeof(c->foreign_host), c->url.host);
	token = c->foreign ? registry_foreign_token(r, c) : registry_token(r, c);
	c->basic_sent = !c->foreign && !token && basic && !r->tokens.challenge.realm;
	if (token)
		c->authorization = xasprintf("Authorization: Bearer %s", token);
	set_headers(c, c->basic_sent ? basic : c->authorization);
	return (struct http_request){
		.method = c->method,
		.to = &c->url,
		.headers = c->headers,
		.body = c->body,
		.content_type = c->type,
		.on_send = c->on_send,
		.send_size = c->send_size,
		.body_max = c->max ?: OCI_DOCUMENT_MAX,
		.on_begin = c->on_begin,
		.on_data = c->on_data,
		.userdata = c->userdata,
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

/* Follows redirects, and answers one challenge of the host that they lead to. */
static void follow_redirects(struct registry *r, struct call *c)
{
	struct http_response *response = &c->result.response;
	int redirects = 0, q = 0;

	while (q == 0) {
		if (is_redirect(response->status)) {
			c->redirected = true;
			q = take_redirect(c, redirects++, &c->result.error);
		} else if (response->status == 401 && c->foreign && !c->foreign_answered) {
			c->foreign_answered = true;
			q = registry_answer_foreign(r, c);
			if (q < 0)
				return;
		} else {
			return;
		}
		http_response_free(response);
		if (q == 0)
			request_url(r, c);
	}
}

static int set_url(const struct registry *r, struct call *c)
{
	_cleanup_free_ char *path =
		c->at	    ? url_text(c->at)
		: !*c->kind ? xstrdup("/v2/")
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
		if (r->origin.tls && results[i].error.code < 0)
			explain_tls(&r->o->trust, r->o->host, &sent[i]->result.error);
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

static void request_all(struct registry *r, struct call *calls, size_t n)
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

/* Asks the mirror; a call that it does not answer is as new. */
static void ask_mirror(struct registry *r, struct call *calls, size_t n)
{
	bool down = false;
	struct error e;

	r->mirror->deadline = r->deadline;
	registry_request_all(r->mirror, calls, n);
	for (size_t i = 0; i < n; i++) {
		struct call *c = &calls[i];

		if (registry_check_status(r->mirror, c, 200, &e) == 0)
			continue;
		replace_string(&r->mirror_fault, e.text);
		down |= c->result.error.code < 0;
		http_response_free(&c->result.response);
		*c = (struct call){.repository = c->repository,
				   .method = c->method,
				   .kind = c->kind,
				   .name = c->name,
				   .max = c->max};
	}
	/* A mirror that cannot be reached would cost a wait each time; one that is asked before it may answer. */
	if (down)
		registry_set_mirror(r, steal(r->mirror->mirror));
}

static bool is_read(const struct call *c)
{
	return !c->at && (streq(c->method, "GET") || streq(c->method, "HEAD"));
}

void registry_request_all(struct registry *r, struct call *calls, size_t n)
{
	_cleanup_free_ struct call *left = xcalloc(n, sizeof(*left));
	size_t m = 0;

	if (n == 0 || !r->mirror || !is_read(&calls[0])) {
		request_all(r, calls, n);
		return;
	}
	ask_mirror(r, calls, n);
	for (size_t i = 0; i < n; i++) {
		if (calls[i].result.response.status == 0)
			left[m++] = calls[i];
	}
	request_all(r, left, m);
	for (size_t i = n; i > 0 && m > 0; i--) {
		if (calls[i - 1].result.response.status == 0)
			calls[i - 1] = left[--m];
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

/* "the registry", or the host that it redirected to. Caller frees. */
static char *name_answerer(const struct registry *r, const struct call *c)
{
	return c->foreign ? xasprintf("%s redirects to %s, which", r->o->host, c->foreign_host)
			  : xstrdup("the registry");
}

char *registry_hint(const struct registry *r, const struct credential *c)
{
	char *withheld = registry_withheld(r, c);

	if (withheld)
		return withheld;
	if (r->o->trust.skipped || (credential_is_set(c) && !c->hint))
		return xstrdup(r->o->trust.skipped ?: "check user name and password");
	return xasprintf("%s%srun: pullet login %s", c->hint ?: "",
			 !c->hint		? ""
			 : credential_is_set(c) ? "; if it is outdated, "
						: "; ",
			 r->o->host);
}

static int judge_status(const struct registry *r, const struct call *c, struct error *ret_error)
{
	_cleanup_free_ char *message = token_error_message(&c->result.response),
			    *who = name_answerer(r, c), *said = NULL;
	unsigned int wait_s = c->result.response.retry_after_s;
	long status = c->result.response.status;

	said = message ? xasprintf(": %s", message) : xstrdup("");
	if (status == 401 || status == 403) {
		/* Credentials mend nothing where another host refuses. */
		_cleanup_free_ char *hint = c->foreign
						    ? xstrdup("no credentials are sent there")
						    : registry_hint(r, registry_credential(r, c));

		return error_set(ret_error, -EACCES, "%s refused access (%ld)%s; %s", who, status,
				 said, hint);
	}
	if (status == 404 && is_absent(c))
		return error_set(ret_error, -ENOENT, "%s does not have it%s", who, said);
	if (status == 404)
		return error_set(ret_error, -EREMOTEIO, "the 404 is not the registry's own: %s%s",
				 c->redirected ? "it came after a redirect"
					       : "its body is no error of a registry",
				 said);
	if ((status == 429 || status == 503) && wait_s > 0)
		return error_set(ret_error, -EBUSY, "%s is busy (%ld, Retry-After: %u s)%s", who,
				 status, wait_s, said);
	if (status == 429)
		return error_set(ret_error, -EBUSY, "%s is busy (429, no Retry-After)%s", who,
				 said);
	if (status >= 500)
		return error_set(ret_error, -EREMOTEIO, "%s failed (%ld)%s", who, status, said);
	if (status == 400 && r->o->trust.skipped)
		return error_set(ret_error, -EPROTO, "%s answers %ld%s; %s", who, status, said,
				 r->o->trust.skipped);
	return error_set(ret_error, -EPROTO, "%s answers %ld%s", who, status, said);
}

int registry_check_status(const struct registry *r, const struct call *c, long want,
			  struct error *ret_error)
{
	int q = c->result.error.code;

	if (q == 0 && c->result.response.status == want)
		return 0;
	if (q < 0)
		*ret_error = c->result.error;
	else
		q = judge_status(r, c, ret_error);
	if (r->mirror_fault)
		error_append(ret_error, "its mirror: %s", r->mirror_fault);
	return q;
}

int registry_open(const struct registry_options *o, struct registry **ret, struct error *ret_error)
{
	struct registry *r = xcalloc(1, sizeof(*r));
	int q;

	r->o = o;
	r->try_plain =
		!o->config->insecure_set && !o->trust.is_set && ref_host_is_loopback(o->host);
	q = set_origin(r, !o->config->insecure && !r->try_plain, ret_error);
	if (q < 0)
		registry_close(r);
	else
		*ret = r;
	return q;
}

void registry_set_mirror(struct registry *r, struct registry *mirror)
{
	registry_close(r->mirror);
	r->mirror = mirror;
}

void registry_close(struct registry *r)
{
	if (!r)
		return;
	http_free(r->session);
	registry_close(r->mirror);
	free(r->mirror_fault);
	http_response_free(&r->kept);
	token_cache_free(&r->tokens);
	credential_wipe(&r->foreign_token);
	free(r->foreign_origin);
	free(r->foreign_repository);
	url_free(&r->origin);
	free(r);
}

void registry_extend(struct registry *r)
{
	r->deadline = now_ms() + TOTAL_TIMEOUT_MS;
}

void registry_cap(struct registry *r, uint64_t speed)
{
	r->speed = speed;
	http_cap(r->session, speed);
	if (r->mirror)
		registry_cap(r->mirror, speed);
}

void registry_begin(struct registry *r)
{
	registry_extend(r);
	r->retry_after_s = 0;
	replace_string(&r->mirror_fault, NULL);
	if (r->mirror)
		registry_begin(r->mirror);
}

void registry_end(struct registry *r)
{
	token_cache_save(&r->tokens, &r->file, now_ms());
	if (r->mirror)
		registry_end(r->mirror);
}
