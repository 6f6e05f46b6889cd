/* SPDX-License-Identifier: MIT */
#include "artifact.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base64.h"
#include "crypto.h"
#include "message.h"
#include "oci.h"
#include "patch.h"

#define KEY "vnd.pullet.delta."

static json_t *describe(const char *type, const struct digest *d, uint64_t size, const char *data)
{
	_cleanup_free_ char *embedded = data ? base64_encode(data, (size_t)size) : NULL;

	return json_need(json_pack("{s:s, s:s, s:I, s:s*}", "mediaType", type, "digest", d->text,
				   "size", (json_int_t)size, "data", embedded));
}

/* "45496320,8857600". Caller frees. */
static char *join_sizes(const struct artifact *a)
{
	char *text = xcalloc(a->n_sizes + 1, 24), *at = text;

	for (size_t i = 0; i < a->n_sizes; i++)
		at += sprintf(at, "%s%ju", i > 0 ? "," : "", (uintmax_t)a->sizes[i]);
	return text;
}

json_t *artifact_to_json(const struct artifact *a, const char *data,
			 const struct artifact_subject *subject)
{
	_cleanup_free_ char *sizes = join_sizes(a), *shared = xasprintf("%zu", a->shared);
	const struct digest empty = hash_bytes(OCI_EMPTY, strlen(OCI_EMPTY));

	return json_need(json_pack(
		"{s:i, s:s, s:s, s:o, s:[o], s:o, s:{s:s, s:s, s:s, s:s}}", "schemaVersion", 2,
		"mediaType", OCI_MANIFEST, "artifactType", PATCH_MEDIA_TYPE, "config",
		describe(OCI_EMPTY_TYPE, &empty, strlen(OCI_EMPTY), OCI_EMPTY), "layers",
		describe(PATCH_MEDIA_TYPE, &a->digest, a->size, data), "subject",
		describe(subject->media_type, &subject->digest, subject->size, NULL), "annotations",
		KEY "from", a->from.text, KEY "to", a->to.text, KEY "shared", shared, KEY "sizes",
		sizes));
}

static int parse_sizes(const char *text, struct artifact *ret)
{
	uint64_t sum = 0;

	do {
		char *end;
		uint64_t size = strtoull(text, &end, 10);

		if (ret->n_sizes == OCI_LAYERS_MAX || strspn(text, DIGITS) == 0 ||
		    size > FETCH_DELTA_NEW_MAX - sum)
			return -EBADMSG;
		ret->sizes[ret->n_sizes++] = size;
		sum += size;
		text = end;
	} while (*text++ == ',');
	return text[-1] ? -EBADMSG : 0;
}

static int parse_annotations(const json_t *notes, struct artifact *ret)
{
	const char *shared = json_get_string(notes, KEY "shared") ?: "",
		   *sizes = json_get_string(notes, KEY "sizes") ?: "";

	if (digest_parse(json_get_string(notes, KEY "from"), &ret->from) < 0 ||
	    digest_parse(json_get_string(notes, KEY "to"), &ret->to) < 0 || !*shared ||
	    shared[strspn(shared, DIGITS)])
		return -EBADMSG;
	ret->shared = strtoul(shared, NULL, 10);
	return parse_sizes(sizes, ret);
}

int artifact_parse(const char *text, struct artifact *ret, struct error *ret_error)
{
	_cleanup_json_ json_t *j = NULL;
	struct oci_artifact patch = {0};
	int r = oci_parse_artifact(text, strlen(text), NULL, PATCH_MEDIA_TYPE, &patch, ret_error);

	free(patch.data);
	if (r == 0)
		r = json_parse(text, strlen(text), "manifest", &j, ret_error);
	if (r < 0)
		return ret_error->code = -EBADMSG;
	*ret = (struct artifact){.digest = patch.digest, .size = patch.size};
	if (patch.size == 0 || parse_annotations(json_object_get(j, "annotations"), ret) < 0)
		return error_set(ret_error, -EBADMSG, "it is not the manifest of a delta");
	return 0;
}

int artifact_check(const struct artifact *a, const struct artifact_place *p,
		   struct error *ret_error)
{
	char tag[FETCH_DELTA_TAG_SIZE];

	message_delta_tag(&a->from, &a->to, tag);
	if (!streq(tag, p->tag) || !digest_eq(&a->to, p->to))
		return error_set(ret_error, -EBADMSG,
				 "it is between other images than its tag says");
	if (a->shared > p->n_layers || a->n_sizes != p->n_layers - a->shared)
		return error_set(ret_error, -EBADMSG,
				 "it shares %zu layers and makes %zu, and the image has %zu",
				 a->shared, a->n_sizes, p->n_layers);
	if (a->size >= p->plain)
		return error_set(ret_error, -EBADMSG,
				 "it has %ju bytes, and the layers that it stands for have %ju",
				 (uintmax_t)a->size, (uintmax_t)p->plain);
	return 0;
}
