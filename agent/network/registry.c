/* SPDX-License-Identifier: MIT */
#include "registry-internal.h"

#include <dirent.h>
#include <errno.h>

#include "hash.h"
#include "token.h"

#define CERTS_DIR	   "/etc/docker/certs.d"
#define REQUEST_TIMEOUT_MS 60000
#define TOTAL_TIMEOUT_MS   180000 /* all requests of one registry together */
#define STALL_MS	   20000
#define STALL_RATE	   100
#define REDIRECTS_MAX	   3

struct registry {
	/* Sent along from the first request, which saves a 401 at each poll of a registry with Basic
	 * authentication; one that wants Bearer answers 401 either way. */
	char *basic;
	const struct ref *ref;
	const struct credential *credential;
	const volatile sig_atomic_t *cancel;
	char *ca_file;
	struct url origin;
	struct http *session; /* of origin */
	bool try_plain;	      /* plain by guess: TLS if it says so */
	struct token token;   /* once we were asked for one */
	uint64_t deadline;
	unsigned int retry_after;
	/* A document that came where a digest was asked for. */
	struct http_response cached_document;
	struct digest cached_digest;
};

static int is_certificate(const struct dirent *d)
{
	return d->d_name[0] != '.' && has_suffix(d->d_name, ".crt");
}

/* Docker's own place for the CA of a registry; the first by name. Caller frees. */
static char *find_docker_ca(const char *host)
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

static int set_origin(struct registry *r, bool tls, struct error *ret_error)
{
	struct http_options options = {
		.ca_file = r->ca_file,
		.allow_plain = !tls,
		.cancel = r->cancel,
	};
	_cleanup_free_ char *text =
		xasprintf("%s://%s/", tls ? "https" : "http", ref_connect_host(r->ref));

	http_free(steal(r->session));
	url_free(&r->origin);
	if (url_parse(text, &r->origin) < 0)
		return error_set(ret_error, -EINVAL, "%s: not a host", r->ref->host);
	return http_new(&options, &r->session, ret_error);
}

static int time_left(const struct registry *r, unsigned int *ret, struct error *ret_error)
{
	uint64_t now = now_ms();

	if (now >= r->deadline)
		return error_set(ret_error, -ETIMEDOUT, "the registry took too long in all");
	*ret = r->deadline - now < REQUEST_TIMEOUT_MS ? (unsigned int)(r->deadline - now)
						      : REQUEST_TIMEOUT_MS;
	return 0;
}

static int request_url(struct registry *r, const struct ask *ask, const struct url *url,
		       struct answer *ret, struct error *ret_error)
{
	struct http_options options = {
		.ca_file = r->ca_file,
		.allow_plain = !url->tls,
		.cancel = r->cancel,
	};
	bool foreign = !url_same_origin(url, &r->origin);
	_cleanup_free_ char *accept = xasprintf("Accept: %s", oci_accept);
	const char *let_in = r->token.authorization ? r->token.authorization : r->basic;
	const char *headers[] = {accept, foreign ? NULL : let_in, NULL};
	struct http_request request = {
		.method = ask->method,
		.to = url,
		.headers = headers,
		.body = ask->body,
		.content_type = ask->type,
		.body_max = OCI_DOCUMENT_MAX,
		.stall_ms = STALL_MS,
		.stall_rate = STALL_RATE,
	};
	_cleanup_http_ struct http *session = NULL;
	int q = time_left(r, &request.timeout_ms, ret_error);

	/* What a session knows of one host must not meet another. */
	if (q == 0 && foreign)
		q = http_new(&options, &session, ret_error);
	if (q == 0)
		q = http_perform(foreign ? session : r->session, &request, &ret->response,
				 ret_error);
	if (q < 0)
		return q;
	ret->foreign = foreign;
	r->retry_after = ret->response.retry_after_s;
	return 0;
}

static bool is_redirect(long status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* Where the answer sends us, in place of *url. */
static int take_redirect(const struct http_response *response, struct url *url,
			 struct error *ret_error)
{
	_cleanup_free_ char *location = http_header(response, "Location");
	struct url next = {0};

	if (!location || url_resolve(url, location, &next) < 0)
		return error_set(ret_error, -EPROTO,
				 "the registry redirects to what is no http or https URL");
	if (url->tls && !next.tls) {
		url_free(&next);
		return error_set(ret_error, -EPROTO,
				 "the registry redirects from https to http: refused");
	}
	url_free(url);
	*url = next;
	return 0;
}

/* Redirects included. */
static int follow(struct registry *r, const struct ask *ask, struct answer *ret,
		  struct error *ret_error)
{
	_cleanup_free_ char *path =
		ask->at ? url_text(ask->at) : xasprintf("/v2/%s/%s", r->ref->path, ask->what);
	_cleanup_(url_free) struct url url = {0};
	int q;

	if (url_resolve(&r->origin, path, &url) < 0)
		return error_set(ret_error, -EINVAL, "not a path: %s", path);
	for (int i = 0;; i++) {
		q = request_url(r, ask, &url, ret, ret_error);
		if (q < 0 || !is_redirect(ret->response.status))
			return q;
		q = i < REDIRECTS_MAX
			    ? take_redirect(&ret->response, &url, ret_error)
			    : error_set(ret_error, -EPROTO,
					"the registry redirects more than %d times", REDIRECTS_MAX);
		http_response_free(&ret->response);
		if (q < 0)
			return q;
	}
}

/* 0: ask again; 1: what it wants it was given already. */
static int authorize(struct registry *r, const struct http_response *response,
		     struct error *ret_error)
{
	_cleanup_free_ char *value = http_header_all(response, "WWW-Authenticate");
	_cleanup_(challenge_free) struct challenge challenge = {0};
	struct token_options options = {
		.ref = r->ref,
		.registry = &r->origin,
		.session = r->session,
		.ca_file = r->ca_file,
		.credential = r->credential,
		.cancel = r->cancel,
	};
	int q = time_left(r, &options.timeout_ms, ret_error);

	if (q < 0)
		return q;
	challenge_parse(value ? value : "", &challenge);
	if (r->basic && challenge.basic && !challenge.realm)
		return 1;
	credential_wipe(steal(r->basic));
	return token_get(&options, &challenge, &r->token, &r->retry_after, ret_error);
}

/* Go's and nginx's servers say it in so many words. */
static bool wants_tls(const struct registry *r, const struct http_response *response)
{
	return r->try_plain && response->status == 400 &&
	       strcasestr(response->body, "HTTP request") && strstr(response->body, "HTTPS");
}

int registry_request(struct registry *r, const struct ask *ask, struct answer *ret,
		     struct error *ret_error)
{
	for (;;) {
		int q = follow(r, ask, ret, ret_error);

		if (q < 0)
			return q;
		if (wants_tls(r, &ret->response)) {
			r->try_plain = false;
			q = set_origin(r, true, ret_error);
		} else if (ret->response.status == 401 && !ret->foreign &&
			   !r->token.authorization) {
			q = authorize(r, &ret->response, ret_error);
			if (q > 0)
				return 0;
		} else {
			return 0;
		}
		http_response_free(&ret->response);
		if (q < 0)
			return q;
	}
}

static const char *login_hint(const struct registry *r)
{
	if (r->token.withheld)
		return r->token.withheld;
	return credential_is_set(r->credential) ? "see credentials="
						: "no credentials= is set for it";
}

int registry_check_status(struct registry *r, const struct answer *a, long want,
			  struct error *ret_error)
{
	_cleanup_free_ char *message = token_error_message(&a->response);
	const char *colon = message ? ": " : "", *said = message ? message : "";
	long status = a->response.status;

	if (status == want)
		return 0;
	if (status == 401 || status == 403)
		return error_set(ret_error, -EACCES, "the registry refuses us (%ld)%s%s; %s",
				 status, colon, said, login_hint(r));
	if (status == 404)
		return error_set(ret_error, -ENOENT, "the registry does not have it%s%s", colon,
				 said);
	if ((status == 429 || status == 503) && r->retry_after > 0)
		return error_set(ret_error, -EBUSY,
				 "the registry is busy (%ld, Retry-After: %u s)%s%s", status,
				 r->retry_after, colon, said);
	if (status == 429)
		return error_set(ret_error, -EBUSY,
				 "the registry is busy (429, no Retry-After)%s%s", colon, said);
	if (status >= 500)
		return error_set(ret_error, -EREMOTEIO, "the registry failed (%ld)%s%s", status,
				 colon, said);
	return error_set(ret_error, -EPROTO, "the registry answers %ld%s%s", status, colon, said);
}

static int request(struct registry *r, const char *method, const char *what, struct answer *ret,
		   struct error *ret_error)
{
	return registry_request(r, &(struct ask){.method = method, .what = what}, ret, ret_error);
}

/* The digest the registry names; 0, 1 if it names none, or an error. */
static int named_digest(const struct http_response *response, struct digest *ret)
{
	_cleanup_free_ char *value = http_header(response, "Docker-Content-Digest");

	return value && digest_parse(value, ret) == 0 ? 0 : 1;
}

static int resolve_by_get(struct registry *r, struct digest *ret, struct error *ret_error)
{
	_cleanup_free_ char *what = xasprintf("manifests/%s", r->ref->tag);
	struct answer a = {0};
	struct digest named;
	int q = request(r, "GET", what, &a, ret_error);

	if (q == 0)
		q = registry_check_status(r, &a, 200, ret_error);
	if (q == 0) {
		r->cached_digest = hash_bytes(a.response.body, a.response.body_len);
		if (named_digest(&a.response, &named) == 0 && !digest_eq(&named, &r->cached_digest))
			q = error_set(ret_error, -EBADMSG, "the registry says %s, sent %s",
				      named.text, r->cached_digest.text);
	}
	if (q < 0) {
		http_response_free(&a.response);
		return q;
	}
	http_response_free(&r->cached_document);
	r->cached_document = a.response;
	*ret = r->cached_digest;
	return 0;
}

static int resolve(struct registry *r, struct digest *ret, struct error *ret_error)
{
	_cleanup_free_ char *what = xasprintf("manifests/%s", r->ref->tag);
	struct answer a = {0};
	long status;
	int q = request(r, "HEAD", what, &a, ret_error);

	if (q < 0)
		return q;
	status = a.response.status;
	if (status == 200)
		q = named_digest(&a.response, ret);
	else if (status == 400 || status == 405 || status == 501)
		q = 1;
	else
		q = registry_check_status(r, &a, 200, ret_error);
	http_response_free(&a.response);
	return q > 0 ? resolve_by_get(r, ret, ret_error) : q;
}

const struct url *registry_origin(const struct registry *r)
{
	return &r->origin;
}

int registry_open(const struct ref *ref, const struct registry_options *options,
		  struct registry **ret, struct error *ret_error)
{
	struct registry *r = xcalloc(1, sizeof(*r));
	char *basic;
	bool plain;
	int q;

	r->ref = ref;
	r->credential = options->credential;
	r->cancel = options->cancel;
	r->deadline = now_ms() + TOTAL_TIMEOUT_MS;
	r->ca_file = options->ca_file ? xstrdup(options->ca_file) : find_docker_ca(ref->host);
	r->try_plain = !options->insecure_set && !r->ca_file && ref_host_is_loopback(ref->host);
	plain = options->insecure || r->try_plain;
	q = set_origin(r, !plain, ret_error);
	if (q < 0) {
		registry_close(r);
		return q;
	}
	basic = credential_basic(r->credential);
	if (basic)
		r->basic = xasprintf("Authorization: %s", basic);
	credential_wipe(basic);
	*ret = r;
	return 0;
}

void registry_close(struct registry *r)
{
	if (!r)
		return;
	http_free(r->session);
	http_response_free(&r->cached_document);
	token_free(&r->token);
	credential_wipe(r->basic);
	url_free(&r->origin);
	free(r->ca_file);
	free(r);
}

int registry_resolve(struct registry *r, struct digest *ret, struct error *ret_error)
{
	int q;

	if (digest_is_set(&r->ref->digest)) {
		*ret = r->ref->digest;
		return 0;
	}
	q = resolve(r, ret, ret_error);
	return q < 0 ? error_prefix(ret_error, "%s", r->ref->text) : 0;
}

int registry_document(struct registry *r, const struct digest *d, struct oci_document *ret,
		      struct error *ret_error)
{
	_cleanup_free_ char *what = xasprintf("manifests/%s", d->text), *type = NULL;
	struct answer a = {0};
	int q = 0;

	if (digest_eq(d, &r->cached_digest)) {
		a.response = r->cached_document;
		r->cached_document = (struct http_response){0};
		r->cached_digest = (struct digest){0};
	} else {
		q = request(r, "GET", what, &a, ret_error);
		if (q == 0)
			q = registry_check_status(r, &a, 200, ret_error);
	}
	if (q == 0) {
		type = http_header(&a.response, "Content-Type");
		q = oci_parse(a.response.body, a.response.body_len, type, d, ret, ret_error);
	}
	http_response_free(&a.response);
	return q < 0 ? error_prefix(ret_error, "%s", r->ref->text) : 0;
}

int registry_count_shared(struct registry *r, const struct digest *config,
			  const struct digest *layers, size_t n_layers, size_t *ret,
			  struct error *ret_error)
{
	_cleanup_free_ char *what = xasprintf("blobs/%s", config->text);
	struct answer a = {0};
	int q = request(r, "GET", what, &a, ret_error);

	if (q == 0)
		q = registry_check_status(r, &a, 200, ret_error);
	if (q == 0)
		q = oci_count_shared(a.response.body, a.response.body_len, config, layers, n_layers,
				     ret, ret_error);
	http_response_free(&a.response);
	return q < 0 ? error_prefix(ret_error, "%s", r->ref->text) : 0;
}

static int find_artifact(struct registry *r, const char *tag, const char *type,
			 struct oci_artifact *ret, struct error *ret_error)
{
	_cleanup_free_ char *what = xasprintf("manifests/%s", tag), *content_type = NULL;
	struct answer a = {0};
	struct digest named, got;
	int q = request(r, "GET", what, &a, ret_error);

	if (q == 0)
		q = registry_check_status(r, &a, 200, ret_error);
	if (q == 0) {
		got = hash_bytes(a.response.body, a.response.body_len);
		if (named_digest(&a.response, &named) == 0 && !digest_eq(&named, &got))
			q = error_set(ret_error, -EBADMSG, "the registry says %s, sent %s",
				      named.text, got.text);
	}
	if (q == 0) {
		content_type = http_header(&a.response, "Content-Type");
		q = oci_parse_artifact(a.response.body, a.response.body_len, content_type, type,
				       ret, ret_error);
	}
	http_response_free(&a.response);
	return q;
}

static int fetch_blob(struct registry *r, const struct digest *d, uint64_t size, char **ret,
		      size_t *ret_n, struct error *ret_error)
{
	_cleanup_free_ char *what = xasprintf("blobs/%s", d->text);
	struct answer a = {0};
	struct digest got;
	int q = request(r, "GET", what, &a, ret_error);

	if (q == 0)
		q = registry_check_status(r, &a, 200, ret_error);
	/* Only the manifest's absence means that there is nothing. */
	if (q == -ENOENT)
		q = error_set(ret_error, -EBADMSG, "the registry lacks its blob %s", d->text);
	if (q == 0) {
		got = hash_bytes(a.response.body, a.response.body_len);
		if (!digest_eq(&got, d) || a.response.body_len != size)
			q = error_set(ret_error, -EBADMSG,
				      "the registry sent something else: wanted %s of %ju bytes, "
				      "got %s of %zu",
				      d->text, (uintmax_t)size, got.text, a.response.body_len);
	}
	if (q == 0) {
		*ret = steal(a.response.body);
		*ret_n = a.response.body_len;
	}
	http_response_free(&a.response);
	return q;
}

int registry_artifact(struct registry *r, const char *tag, const char *type, size_t max, char **ret,
		      size_t *ret_n, struct error *ret_error)
{
	struct oci_artifact artifact = {0};
	int q = find_artifact(r, tag, type, &artifact, ret_error);

	if (q == 0 && artifact.size > max)
		q = error_set(ret_error, -EBADMSG, "it has %ju bytes, %zu at most are taken",
			      (uintmax_t)artifact.size, max);
	if (q == 0 && artifact.data) {
		*ret = steal(artifact.data);
		*ret_n = artifact.size;
	} else if (q == 0) {
		q = fetch_blob(r, &artifact.digest, artifact.size, ret, ret_n, ret_error);
	}
	free(artifact.data);
	return q < 0 ? error_prefix(ret_error, "%s/%s:%s", r->ref->host, r->ref->path, tag) : 0;
}

unsigned int registry_retry_after(const struct registry *r)
{
	return r->retry_after;
}
