/* SPDX-License-Identifier: MIT */
#include "repository.h"

#include <errno.h>

#include "crypto.h"
#include "patch.h"
#include "registry.h"

static int get(struct registry *r, const struct ref *ref, const char *kind, const char *name,
	       struct http_response *ret, struct error *ret_error)
{
	struct call c = {.repository = ref->path, .method = "GET", .kind = kind, .name = name};

	return registry_request(r, &c, 200, ret, ret_error);
}

/* The digest the registry names, if it names one. */
static bool named_digest(const struct http_response *response, struct digest *ret)
{
	_cleanup_free_ char *value = http_header(response, "Docker-Content-Digest");

	return value && digest_parse(value, ret) == 0;
}

/* The manifest of a tag, whose digest must not contradict the Docker-Content-Digest header. */
static int get_by_tag(struct registry *r, const struct ref *ref, const char *tag,
		      struct http_response *ret, struct digest *ret_digest, struct error *ret_error)
{
	struct digest named;
	int q = get(r, ref, "manifests", tag, ret, ret_error);

	if (q < 0)
		return q;
	*ret_digest = hash_bytes(ret->body, ret->body_len);
	if (!named_digest(ret, &named) || digest_eq(&named, ret_digest))
		return 0;
	http_response_free(ret);
	return error_set(ret_error, -EBADMSG, "the registry says %s, but sent %s", named.text,
			 ret_digest->text);
}

/* Whether a GET may be answered though a HEAD was not: some registries, and URLs signed for one method, do not know HEAD,
 * and say so with any status. A wrong password is not sent again, since accounts lock, nor is a busy server asked. */
static bool get_may_help(const struct http_result *head)
{
	long status = head->response.status;

	return head->error.code == 0 && status != 401 && status != 429 && status != 503 &&
	       status != 504;
}

static int take_resolved(struct registry *r, const struct ref *ref, const struct call *head,
			 struct fetch_resolved *ret)
{
	struct http_response response = {0};
	int q;

	ret->retry_after_s = head->result.response.retry_after_s;
	if (head->result.response.status == 200 &&
	    named_digest(&head->result.response, &ret->digest))
		return 0;
	if (!get_may_help(&head->result))
		return registry_check_status(r, head, 200, &ret->error);
	q = get_by_tag(r, ref, ref->tag, &response, &ret->digest, &ret->error);
	ret->retry_after_s = r->retry_after_s;
	if (q < 0)
		return q;
	http_response_free(&r->kept);
	r->kept = response;
	r->kept_digest = ret->digest;
	return 0;
}

/* The first reference to the tag of refs[i]. */
static size_t find_same(const struct ref *const *refs, size_t i)
{
	size_t j = 0;

	while (j < i && (digest_is_set(&refs[j]->digest) || !streq(refs[j]->path, refs[i]->path) ||
			 !streq(refs[j]->tag, refs[i]->tag)))
		j++;
	return j;
}

void repository_resolve(struct registry *r, const struct ref *const *refs, size_t n,
			struct fetch_resolved *ret)
{
	_cleanup_free_ struct call *calls = xcalloc(n, sizeof(*calls));
	struct call *c = calls;

	for (size_t i = 0; i < n; i++) {
		ret[i] = (struct fetch_resolved){0};
		if (digest_is_set(&refs[i]->digest))
			ret[i].digest = refs[i]->digest;
		else if (find_same(refs, i) == i)
			*c++ = (struct call){.repository = refs[i]->path,
					     .method = "HEAD",
					     .kind = "manifests",
					     .name = refs[i]->tag};
	}
	registry_request_all(r, calls, (size_t)(c - calls));
	c = calls;
	for (size_t i = 0; i < n; i++) {
		if (digest_is_set(&refs[i]->digest))
			continue;
		if (find_same(refs, i) < i) {
			ret[i] = ret[find_same(refs, i)];
			continue;
		}
		if (take_resolved(r, refs[i], c, &ret[i]) < 0)
			(void)error_prefix(&ret[i].error, "%s", refs[i]->text);
		http_response_free(&c++->result.response);
	}
}

/* The document that the question brought, or NULL. Borrowed. */
static const char *find_brought(const struct registry *r, const struct digest *d)
{
	const char *text = json_get_string(r->documents, d->text);
	struct error ignored;

	return text && oci_check_hash(text, strlen(text), d, &ignored) == 0 ? text : NULL;
}

int repository_document(struct registry *r, const struct ref *ref, const struct digest *d,
			struct oci_document *ret, struct error *ret_error)
{
	_cleanup_http_response_ struct http_response response = {0};
	_cleanup_free_ char *type = NULL;
	const char *brought = find_brought(r, d);
	int q = 0;

	if (brought) {
		q = oci_parse(brought, strlen(brought), NULL, d, ret, ret_error);
		return q < 0 ? error_prefix(ret_error, "%s", ref->text) : 0;
	}
	if (digest_eq(d, &r->kept_digest)) {
		response = r->kept;
		r->kept = (struct http_response){0};
		r->kept_digest = (struct digest){0};
	} else {
		q = get(r, ref, "manifests", d->text, &response, ret_error);
	}
	if (q == 0) {
		type = http_header(&response, "Content-Type");
		q = oci_parse(response.body, response.body_len, type, d, ret, ret_error);
	}
	if (q == 0)
		message_add_document(r->documents, d, response.body, response.body_len);
	return q < 0 ? error_prefix(ret_error, "%s", ref->text) : 0;
}

int repository_text(struct registry *r, const struct ref *ref, struct http_response *ret,
		    struct digest *ret_digest, struct error *ret_error)
{
	bool pinned = digest_is_set(&ref->digest);
	int q = get_by_tag(r, ref, pinned ? ref->digest.text : ref->tag, ret, ret_digest,
			   ret_error);

	if (q == 0 && pinned && !digest_eq(ret_digest, &ref->digest)) {
		http_response_free(ret);
		q = error_set(ret_error, -EBADMSG, "the registry sent %s", ret_digest->text);
	}
	return q < 0 ? error_prefix(ret_error, "%s", ref->text) : 0;
}

int repository_config(struct registry *r, const struct ref *ref, const struct oci_document *d,
		      const struct digest *layers, size_t n_layers, struct image_config *ret,
		      struct error *ret_error)
{
	_cleanup_http_response_ struct http_response response = {0};
	const char *text = d->config_data ?: find_brought(r, &d->config);
	size_t n = d->config_data ? d->config_size : text ? strlen(text) : 0;
	int q = 0;

	if (!text) {
		q = get(r, ref, "blobs", d->config.text, &response, ret_error);
		text = response.body;
		n = response.body_len;
	}
	if (q == 0)
		q = image_config_parse(text, n, &d->config, d->n_layers, layers, n_layers, ret,
				       ret_error);
	if (q == 0)
		message_add_document(r->documents, &d->config, text, n);
	return q < 0 ? error_prefix(ret_error, "%s", ref->text) : 0;
}

/* Sets p->data to the blob p->digest. */
static int fetch_blob(struct registry *r, const struct ref *ref, struct oci_artifact *p,
		      struct error *ret_error)
{
	_cleanup_http_response_ struct http_response response = {0};
	struct digest got;
	int q = get(r, ref, "blobs", p->digest.text, &response, ret_error);

	/* -ENOENT is for a missing manifest only. */
	if (q == -ENOENT)
		return error_set(ret_error, -EBADMSG, "the registry lacks its blob %s",
				 p->digest.text);
	if (q < 0)
		return q;
	got = hash_bytes(response.body, response.body_len);
	if (!digest_eq(&got, &p->digest) || response.body_len != p->size)
		return error_set(ret_error, -EBADMSG,
				 "the registry sent something else: wanted %s of %ju bytes, "
				 "got %s of %zu",
				 p->digest.text, (uintmax_t)p->size, got.text, response.body_len);
	p->data = steal(response.body);
	return 0;
}

static bool is_text(const struct http_response *r)
{
	_cleanup_json_ json_t *j = json_stringn(r->body, r->body_len);

	return j && !memchr(r->body, '\0', r->body_len);
}

int repository_policy(struct registry *r, const struct ref *ref, const char *tag, char **ret,
		      size_t *ret_n, char **ret_manifest, struct error *ret_error)
{
	_cleanup_http_response_ struct http_response response = {0};
	_cleanup_free_ char *content_type = NULL;
	struct oci_artifact policy = {0};
	struct digest ignored;
	bool large;
	int q = get_by_tag(r, ref, tag, &response, &ignored, ret_error);

	large = q == 0 && ret_manifest && response.body_len > ROLLOUT_MANIFEST_MAX;
	if (large)
		q = error_set(ret_error, -EBADMSG,
			      "the policy's manifest has %zu bytes, %zu at most are allowed",
			      response.body_len, ROLLOUT_MANIFEST_MAX);
	/* Nobody has signed what cannot be carried: it is carried as an empty text. */
	if (ret_manifest && (q == 0 || q == -EFBIG || large))
		*ret_manifest = xstrdup(q == 0 && is_text(&response) ? response.body : "");
	if (q == 0) {
		content_type = http_header(&response, "Content-Type");
		q = oci_parse_artifact(response.body, response.body_len, content_type,
				       ROLLOUT_MEDIA_TYPE, &policy, ret_error);
	}
	if (q == 0 && policy.size > ROLLOUT_BYTES_MAX)
		q = error_set(ret_error, -EBADMSG,
			      "the policy has %ju bytes, %zu at most are allowed",
			      (uintmax_t)policy.size, ROLLOUT_BYTES_MAX);
	if (q == 0 && !policy.data)
		q = fetch_blob(r, ref, &policy, ret_error);
	if (q < 0) {
		free(policy.data);
		return error_prefix(ret_error, "%s/%s:%s", ref->host, ref->path, tag);
	}
	*ret = policy.data;
	*ret_n = policy.size;
	return 0;
}

#define ANNOTATION "vnd.pullet.delta."

/* Decimal digits up to a comma or the end; sets *s behind them. */
static bool read_number(const char **s, uint64_t *ret)
{
	size_t n = strspn(*s, DIGITS);
	char *end;

	if (n == 0 || n > strlen("17179869184"))
		return false;
	*ret = strtoull(*s, &end, 10);
	*s = end;
	return true;
}

/* What is wrong with the annotations, or NULL. */
static const char *read_annotations(const json_t *j, const struct digest *from,
				    const struct digest *to, struct fetch_delta *ret)
{
	const char *shared = json_get_string(j, ANNOTATION "shared"),
		   *sizes = json_get_string(j, ANNOTATION "sizes");
	uint64_t n;

	if (!streq_null(json_get_string(j, ANNOTATION "from"), from->text) ||
	    !streq_null(json_get_string(j, ANNOTATION "to"), to->text))
		return "it is not between these two images: " ANNOTATION "from or to differs";
	if (!shared || !read_number(&shared, &n) || *shared || n > OCI_LAYERS_MAX)
		return ANNOTATION "shared is no number of layers";
	ret->shared = (size_t)n;
	do {
		if (!sizes || ret->n_sizes == OCI_LAYERS_MAX ||
		    !read_number(&sizes, &ret->sizes[ret->n_sizes++]))
			return ANNOTATION "sizes is no list of sizes";
	} while (*sizes++ == ',');
	return sizes[-1] ? ANNOTATION "sizes is no list of sizes" : message_delta_fault(ret);
}

static int parse_delta(const struct http_response *response, const struct digest *from,
		       const struct digest *to, struct fetch_delta *ret, struct error *ret_error)
{
	_cleanup_free_ char *type = http_header(response, "Content-Type");
	_cleanup_json_ json_t *j = NULL;
	struct oci_artifact patch = {0};
	const char *fault;
	int q = oci_parse_artifact(response->body, response->body_len, type, PATCH_MEDIA_TYPE,
				   &patch, ret_error);

	ret->data = patch.data;
	ret->digest = patch.digest;
	ret->size = patch.size;
	if (q == 0)
		q = json_parse(response->body, response->body_len, "manifest", &j, ret_error);
	if (q < 0)
		return ret_error->code = -EBADMSG;
	fault = read_annotations(json_object_get(j, "annotations"), from, to, ret);
	return fault ? error_set(ret_error, -EBADMSG, "%s", fault) : 0;
}

int repository_delta(struct registry *r, const struct ref *ref, const struct digest *from,
		     const struct digest *to, struct fetch_delta *ret, struct error *ret_error)
{
	_cleanup_http_response_ struct http_response response = {0};
	char tag[FETCH_DELTA_TAG_SIZE];
	struct digest ignored;
	int q;

	*ret = (struct fetch_delta){0};
	message_delta_tag(from, to, tag);
	q = get_by_tag(r, ref, tag, &response, &ignored, ret_error);
	if (q == -EFBIG)
		q = ret_error->code = -EBADMSG;
	if (q == 0)
		q = parse_delta(&response, from, to, ret, ret_error);
	if (q == 0)
		return 0;
	fetch_delta_free(ret);
	return error_prefix(ret_error, "%s/%s:%s", ref->host, ref->path, tag);
}
