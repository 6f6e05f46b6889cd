/* SPDX-License-Identifier: MIT */
#include "publish.h"

#include <errno.h>

#define TAG_MAX 128 /* distribution-spec */

char *publish_tag(const struct ref *ref)
{
	char *tag;

	if (!ref->tag || digest_is_set(&ref->digest))
		return NULL;
	tag = xasprintf("%s" ROLLOUT_TAG_SUFFIX, ref->tag);
	if (strlen(tag) <= TAG_MAX)
		return tag;
	free(tag);
	return NULL;
}

static int need_tag(const struct ref *ref, char **ret, struct error *ret_error)
{
	*ret = publish_tag(ref);
	return *ret ? 0
		    : error_set(ret_error, -EINVAL,
				"%s: a policy needs a tag of at most %zu characters", ref->text,
				TAG_MAX - strlen(ROLLOUT_TAG_SUFFIX));
}

int publish_read(struct registry *r, const struct ref *ref, json_t **ret, struct error *ret_error)
{
	_cleanup_free_ char *tag = NULL, *text = NULL;
	_cleanup_json_ json_t *policy = NULL;
	struct rollout ignored;
	struct fetch_resolved resolved = {0};
	struct error fault = {0};
	size_t n = 0;
	int q = need_tag(ref, &tag, ret_error);

	if (q < 0)
		return q;
	repository_resolve(r, &ref, 1, &resolved);
	if (resolved.code < 0) {
		*ret_error = resolved.error;
		return resolved.code;
	}
	q = repository_artifact(r, ref, tag, ROLLOUT_MEDIA_TYPE, ROLLOUT_BYTES_MAX, &text, &n,
				&fault);
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

int publish_write(struct registry *r, const struct ref *ref, const json_t *policy, json_t **ret,
		  struct error *ret_error)
{
	_cleanup_free_ char *tag = NULL, *text = json_text(policy, JSON_INDENT(2));
	struct rollout ignored;
	struct digest digest;
	int q = need_tag(ref, &tag, ret_error);

	if (q == 0 && !text)
		q = error_set(ret_error, -EINVAL, "not a policy");
	if (q == 0)
		q = rollout_parse(text, strlen(text), NULL, &ignored, ret_error);
	if (q == 0)
		q = repository_push_artifact(r, ref, tag, ROLLOUT_MEDIA_TYPE, text, &digest,
					     ret_error);
	if (q == 0)
		*ret = json_pack("{s:s}", "digest", digest.text);
	return q;
}
