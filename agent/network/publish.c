/* SPDX-License-Identifier: MIT */
#include "repository.h"

#include <errno.h>

#include "base64.h"
#include "crypto.h"
#include "registry.h"

#define TAG_MAX 128 /* distribution-spec */

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
	q = repository_policy(r, ref, tag, &text, &n, NULL, &fault);
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
	_cleanup_free_ char *repository = ref_repository(ref);
	_cleanup_json_ json_t *manifest =
		json_pack("{s:i, s:s, s:s, s:o, s:[o], s:{s:s, s:s}}", "schemaVersion", 2,
			  "mediaType", OCI_MANIFEST, "artifactType", ROLLOUT_MEDIA_TYPE, "config",
			  descriptor(OCI_EMPTY_TYPE, OCI_EMPTY), "layers",
			  descriptor(ROLLOUT_MEDIA_TYPE, policy), "annotations",
			  ROLLOUT_ANNOTATION_IMAGE, repository, ROLLOUT_ANNOTATION_TAG, ref->tag);
	struct push push = {.digest = hash_bytes(policy, strlen(policy)),
			    .size = strlen(policy),
			    .data = policy};
	struct digest digest;
	int q = push_blob(r, ref, &push, ret_error);

	if (q == 0)
		q = push_manifest(r, ref, tag, manifest, &digest, ret_error);
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
