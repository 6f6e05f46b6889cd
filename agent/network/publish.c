/* SPDX-License-Identifier: MIT */
#include "repository.h"

#include <errno.h>

#include "crypto.h"
#include "registry.h"

#define TAG_MAX	   128 /* distribution-spec */
#define EMPTY	   "{}"
#define EMPTY_TYPE "application/vnd.oci.empty.v1+json"

char *publish_tag(const struct ref *ref)
{
	if (!ref->tag || digest_is_set(&ref->digest) ||
	    strlen(ref->tag) + strlen(ROLLOUT_TAG_SUFFIX) > TAG_MAX)
		return NULL;
	return xasprintf("%s" ROLLOUT_TAG_SUFFIX, ref->tag);
}

static int read_policy(struct registry *r, const struct ref *ref, const char *tag, json_t **ret,
		       struct error *ret_error)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ json_t *policy = NULL;
	struct rollout ignored;
	struct fetch_resolved resolved;
	struct error fault = {0};
	size_t n = 0;
	int q;

	repository_resolve(r, &ref, 1, &resolved);
	*ret_error = resolved.error;
	if (ret_error->code < 0)
		return ret_error->code;
	q = repository_policy(r, ref, tag, &text, &n, &fault);
	/* An invalid policy may be replaced, one that could not be fetched must not. */
	if (q < 0 && q != -ENOENT && q != -EBADMSG)
		return error_set(ret_error, q, "%s", fault.text);
	if (q == 0)
		q = rollout_parse(text, n, NULL, &ignored, &fault);
	if (q == 0)
		q = json_parse(text, n, "it", &policy, &fault);
	*ret = json_pack("{s:s, s:O?, s:s?}", "digest", resolved.digest.text, "policy", policy,
			 "fault", q == -EBADMSG ? fault.text : NULL);
	return 0;
}

/* distribution-spec, "Pushing a blob monolithically": POST, then PUT to its Location. */
static int push_blob(struct registry *r, const struct ref *ref, const char *data,
		     struct error *ret_error)
{
	_cleanup_http_response_ struct http_response response = {0};
	_cleanup_free_ char *location = NULL, *text = NULL, *full = NULL;
	_cleanup_(url_free) struct url upload = {0}, to = {0};
	struct digest d = hash_bytes(data, strlen(data));
	struct call post = {
		.repository = ref->path, .method = "POST", .kind = "blobs", .name = "uploads/"};
	struct call put = {.repository = ref->path,
			   .method = "PUT",
			   .at = &to,
			   .body = data,
			   .type = "application/octet-stream"};
	int q = registry_request(r, &post, 202, &response, ret_error);

	if (q < 0)
		return q;
	location = http_header(&response, "Location");
	if (location && url_resolve(&r->origin, location, &upload) == 0) {
		text = url_text(&upload);
		full = xasprintf("%s%cdigest=%s", text, strchr(text, '?') ? '&' : '?', d.text);
	}
	if (!full || url_parse(full, &to) < 0)
		return error_set(ret_error, -EPROTO, "the registry sends no valid upload URL");
	if (r->origin.tls && !to.tls)
		return error_set(ret_error, -EPROTO,
				 "the registry sends an upload from https to http: refused");
	return registry_request(r, &put, 201, NULL, ret_error);
}

/* With its content embedded: a reader of the manifest need not fetch the blob. */
static json_t *descriptor(const char *type, const char *data)
{
	struct digest d = hash_bytes(data, strlen(data));
	_cleanup_free_ char *embedded = base64_encode(data, strlen(data));

	return json_pack("{s:s, s:s, s:I, s:s}", "mediaType", type, "digest", d.text, "size",
			 (json_int_t)strlen(data), "data", embedded);
}

static int push_policy(struct registry *r, const struct ref *ref, const char *tag,
		       const char *policy, json_t **ret, struct error *ret_error)
{
	_cleanup_json_ json_t *manifest = json_pack(
		"{s:i, s:s, s:s, s:o, s:[o]}", "schemaVersion", 2, "mediaType", OCI_MANIFEST,
		"artifactType", ROLLOUT_MEDIA_TYPE, "config", descriptor(EMPTY_TYPE, EMPTY),
		"layers", descriptor(ROLLOUT_MEDIA_TYPE, policy));
	_cleanup_free_ char *text = json_text(manifest, JSON_COMPACT);
	struct call put = {.repository = ref->path,
			   .method = "PUT",
			   .kind = "manifests",
			   .name = tag,
			   .body = text,
			   .type = OCI_MANIFEST};
	struct digest digest = hash_bytes(text, strlen(text));
	int q = push_blob(r, ref, EMPTY, ret_error);

	if (q == 0)
		q = push_blob(r, ref, policy, ret_error);
	if (q == 0)
		q = registry_request(r, &put, 201, NULL, ret_error);
	if (q == 0)
		*ret = json_pack("{s:s}", "digest", digest.text);
	return q;
}

static int write_policy(struct registry *r, const struct ref *ref, const char *tag,
			const json_t *policy, json_t **ret, struct error *ret_error)
{
	_cleanup_free_ char *text = json_text(policy, JSON_INDENT(2));
	struct rollout ignored;
	int q = text ? rollout_parse(text, strlen(text), NULL, &ignored, ret_error)
		     : error_set(ret_error, -EINVAL, "not a policy");

	return q < 0 ? q : push_policy(r, ref, tag, text, ret, ret_error);
}

int publish(struct registry *r, const struct ref *ref, const json_t *policy, json_t **ret,
	    struct error *ret_error)
{
	_cleanup_free_ char *tag = publish_tag(ref);

	if (!tag)
		return error_set(ret_error, -EINVAL,
				 "%s: a policy needs a tag of at most %zu characters", ref->text,
				 TAG_MAX - strlen(ROLLOUT_TAG_SUFFIX));
	return policy ? write_policy(r, ref, tag, policy, ret, ret_error)
		      : read_policy(r, ref, tag, ret, ret_error);
}
