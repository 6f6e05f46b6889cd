/* SPDX-License-Identifier: MIT */
#include "artifact.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base64.h"
#include "crypto.h"
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
	while (*text) {
		char *end;

		if (ret->n_sizes == OCI_LAYERS_MAX || strspn(text, DIGITS) == 0)
			return -EBADMSG;
		ret->sizes[ret->n_sizes++] = strtoull(text, &end, 10);
		if (*end && *end != ',')
			return -EBADMSG;
		text = *end ? end + 1 : end;
	}
	return ret->n_sizes > 0 ? 0 : -EBADMSG;
}

int artifact_parse(const char *text, struct artifact *ret, struct error *ret_error)
{
	_cleanup_json_ json_t *j = NULL;
	const json_t *notes, *layer;
	const char *shared;
	int r = json_parse(text, strlen(text), "manifest", &j, ret_error);

	if (r < 0)
		return r;
	*ret = (struct artifact){0};
	notes = json_object_get(j, "annotations");
	layer = json_array_get(json_object_get(j, "layers"), 0);
	shared = json_get_string(notes, KEY "shared") ?: "";
	if (!streq_null(json_get_string(j, "artifactType"), PATCH_MEDIA_TYPE) ||
	    digest_parse(json_get_string(notes, KEY "from"), &ret->from) < 0 ||
	    digest_parse(json_get_string(notes, KEY "to"), &ret->to) < 0 ||
	    digest_parse(json_get_string(layer, "digest"), &ret->digest) < 0 ||
	    json_integer_value(json_object_get(layer, "size")) <= 0 || !*shared ||
	    shared[strspn(shared, DIGITS)] ||
	    parse_sizes(json_get_string(notes, KEY "sizes") ?: "", ret) < 0)
		return error_set(ret_error, -EBADMSG, "it is not the manifest of a delta");
	ret->size = (uint64_t)json_integer_value(json_object_get(layer, "size"));
	ret->shared = strtoul(shared, NULL, 10);
	return 0;
}
