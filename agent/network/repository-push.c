/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "base64.h"
#include "hash.h"
#include "json.h"
#include "registry-internal.h"
#include "repository.h"

#define EMPTY	   "{}"
#define EMPTY_TYPE "application/vnd.oci.empty.v1+json"

/* Performs a request. Its answer has a status and perhaps a Location. */
static int put(struct registry *r, const struct registry_ask *ask, long want, char **ret_location,
	       struct error *ret_error)
{
	_cleanup_http_response_ struct http_response response = {0};
	int q = registry_request(r, ask, want, &response, ret_error);

	if (q == 0 && ret_location)
		*ret_location = http_header(&response, "Location");
	return q;
}

/* distribution-spec, "Pushing a blob monolithically": POST, then PUT to its Location. */
static int push_blob(struct registry *r, const struct ref *ref, const char *data,
		     struct error *ret_error)
{
	_cleanup_free_ char *location = NULL, *text = NULL, *full = NULL;
	_cleanup_(url_free) struct url upload = {0}, to = {0};
	struct digest d = hash_bytes(data, strlen(data));
	int q = put(r,
		    &(struct registry_ask){
			    .repository = ref->path, .method = "POST", .what = "blobs/uploads/"},
		    202, &location, ret_error);

	if (q < 0)
		return q;
	if (!location || url_resolve(&r->origin, location, &upload) < 0)
		return error_set(ret_error, -EPROTO, "the registry sends no valid upload URL");
	if (r->origin.tls && !upload.tls)
		return error_set(ret_error, -EPROTO,
				 "the registry sends an upload from https to http: refused");
	text = url_text(&upload);
	full = xasprintf("%s%cdigest=%s", text, strchr(text, '?') ? '&' : '?', d.text);
	if (url_parse(full, &to) < 0)
		return error_set(ret_error, -EPROTO, "the registry sends no valid upload URL");
	return put(r,
		   &(struct registry_ask){.repository = ref->path,
					  .method = "PUT",
					  .at = &to,
					  .body = data,
					  .type = "application/octet-stream"},
		   201, NULL, ret_error);
}

/* With its content embedded: a reader of the manifest need not fetch the blob. */
static json_t *descriptor(const char *type, const char *data)
{
	struct digest d = hash_bytes(data, strlen(data));
	_cleanup_free_ char *embedded = base64_encode(data, strlen(data));

	return json_pack("{s:s, s:s, s:I, s:s}", "mediaType", type, "digest", d.text, "size",
			 (json_int_t)strlen(data), "data", embedded);
}

int repository_push_artifact(struct registry *r, const struct ref *ref, const char *tag,
			     const char *type, const char *data, struct digest *ret,
			     struct error *ret_error)
{
	_cleanup_json_ json_t *manifest =
		json_pack("{s:i, s:s, s:s, s:o, s:[o]}", "schemaVersion", 2, "mediaType",
			  OCI_MANIFEST, "artifactType", type, "config",
			  descriptor(EMPTY_TYPE, EMPTY), "layers", descriptor(type, data));
	_cleanup_free_ char *text = json_text(manifest, JSON_COMPACT);
	_cleanup_free_ char *what = xasprintf("manifests/%s", tag);
	int q = push_blob(r, ref, EMPTY, ret_error);

	if (q == 0)
		q = push_blob(r, ref, data, ret_error);
	if (q == 0)
		q = put(r,
			&(struct registry_ask){.repository = ref->path,
					       .method = "PUT",
					       .what = what,
					       .body = text,
					       .type = OCI_MANIFEST},
			201, NULL, ret_error);
	if (q == 0)
		*ret = hash_bytes(text, strlen(text));
	return q;
}
