/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "base64.h"
#include "hash.h"
#include "json.h"
#include "registry-internal.h"

#define EMPTY	   "{}"
#define EMPTY_TYPE "application/vnd.oci.empty.v1+json"

/* One request whose answer's body nobody needs. */
static int tell(struct registry *r, const struct ask *ask, long want, char **ret_location,
		struct error *ret_error)
{
	struct answer a = {0};
	int q = registry_request(r, ask, &a, ret_error);

	if (q == 0)
		q = registry_check_status(r, &a, want, ret_error);
	if (q == 0 && ret_location)
		*ret_location = http_header(&a.response, "Location");
	http_response_free(&a.response);
	return q;
}

/* distribution-spec, "Pushing a blob monolithically": POST, then PUT to where it says. */
static int push_blob(struct registry *r, const char *data, struct error *ret_error)
{
	_cleanup_free_ char *location = NULL, *text = NULL, *full = NULL;
	_cleanup_(url_free) struct url upload = {0}, put = {0};
	struct digest d = hash_bytes(data, strlen(data));
	int q = tell(r, &(struct ask){.method = "POST", .what = "blobs/uploads/"}, 202, &location,
		     ret_error);

	if (q < 0)
		return q;
	if (!location || url_resolve(registry_origin(r), location, &upload) < 0)
		return error_set(ret_error, -EPROTO,
				 "the registry does not say where to upload to");
	if (registry_origin(r)->tls && !upload.tls)
		return error_set(ret_error, -EPROTO,
				 "the registry sends an upload from https to http: refused");
	text = url_text(&upload);
	full = xasprintf("%s%cdigest=%s", text, strchr(text, '?') ? '&' : '?', d.text);
	if (url_parse(full, &put) < 0)
		return error_set(ret_error, -EPROTO, "the registry says to upload to no URL");
	return tell(r,
		    &(struct ask){.method = "PUT",
				  .at = &put,
				  .body = data,
				  .type = "application/octet-stream"},
		    201, NULL, ret_error);
}

/* With its content in it: who reads the manifest need not ask for the blob. */
static json_t *descriptor(const char *type, const char *data)
{
	struct digest d = hash_bytes(data, strlen(data));
	_cleanup_free_ char *embedded = base64_encode(data, strlen(data));

	return json_pack("{s:s, s:s, s:I, s:s}", "mediaType", type, "digest", d.text, "size",
			 (json_int_t)strlen(data), "data", embedded);
}

int registry_push_artifact(struct registry *r, const char *tag, const char *type, const char *data,
			   struct digest *ret, struct error *ret_error)
{
	_cleanup_json_ json_t *manifest =
		json_pack("{s:i, s:s, s:s, s:o, s:[o]}", "schemaVersion", 2, "mediaType",
			  OCI_MANIFEST, "artifactType", type, "config",
			  descriptor(EMPTY_TYPE, EMPTY), "layers", descriptor(type, data));
	_cleanup_free_ char *text = json_text(manifest, JSON_COMPACT);
	_cleanup_free_ char *what = xasprintf("manifests/%s", tag);
	int q = push_blob(r, EMPTY, ret_error);

	if (q == 0)
		q = push_blob(r, data, ret_error);
	if (q == 0)
		q = tell(r,
			 &(struct ask){
				 .method = "PUT", .what = what, .body = text, .type = OCI_MANIFEST},
			 201, NULL, ret_error);
	if (q == 0)
		*ret = hash_bytes(text, strlen(text));
	return q;
}
