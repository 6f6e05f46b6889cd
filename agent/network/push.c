/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <sys/param.h>

#include "crypto.h"
#include "registry.h"
#include "repository.h"

/* Whether the registry has the blob. -EACCES ends all: a wrong password is not sent again. */
static int look_for(struct registry *r, const struct ref *ref, const struct push *p, bool *ret,
		    struct error *ret_error)
{
	struct call head = {
		.repository = ref->path, .method = "HEAD", .kind = "blobs", .name = p->digest.text};
	int q = registry_request(r, &head, 200, NULL, ret_error);

	*ret = q == 0;
	return q == -EACCES || q == -ECANCELED ? q : 0;
}

static ssize_t on_send(void *userdata, uint64_t offset, char *buffer, size_t n)
{
	const struct push *p = userdata;
	size_t most = (size_t)MIN(n, p->size - offset);
	ssize_t got = p->data ? (ssize_t)most : pread(p->fd, buffer, most, (off_t)offset);

	if (p->data)
		memcpy(buffer, p->data + offset, most);
	if (got < 0 || (got == 0 && most > 0))
		return got < 0 ? -errno : -EIO;
	if (p->on_progress)
		p->on_progress(p->userdata, offset + (uint64_t)got);
	return got;
}

/* distribution-spec, "Pushing a blob monolithically": POST, then PUT to its Location. */
int push_blob(struct registry *r, const struct ref *ref, const struct push *p,
	      struct error *ret_error)
{
	_cleanup_http_response_ struct http_response response = {0};
	_cleanup_free_ char *location = NULL, *text = NULL, *full = NULL;
	_cleanup_(url_free) struct url upload = {0}, to = {0};
	struct push copy = *p;
	struct call post = {
		.repository = ref->path, .method = "POST", .kind = "blobs", .name = "uploads/"};
	struct call put = {.repository = ref->path,
			   .method = "PUT",
			   .at = &to,
			   .on_send = on_send,
			   .send_size = p->size,
			   .userdata = &copy,
			   .type = "application/octet-stream"};
	bool there;
	int q = look_for(r, ref, p, &there, ret_error);

	if (q < 0 || there)
		return q;
	q = registry_request(r, &post, 202, &response, ret_error);
	if (q < 0)
		return q;
	location = http_header(&response, "Location");
	if (location && url_resolve(&r->origin, location, &upload) == 0) {
		text = url_text(&upload);
		full = xasprintf("%s%cdigest=%s", text, strchr(text, '?') ? '&' : '?',
				 p->digest.text);
	}
	if (!full || url_parse(full, &to) < 0)
		return error_set(ret_error, -EPROTO, "the registry sends no valid upload URL");
	if (r->origin.tls && !to.tls)
		return error_set(ret_error, -EPROTO,
				 "the registry sends an upload from https to http: refused");
	q = registry_request(r, &put, 201, NULL, ret_error);
	registry_extend(r);
	return q;
}

int push_manifest(struct registry *r, const struct ref *ref, const char *tag,
		  const json_t *manifest, struct digest *ret, struct error *ret_error)
{
	_cleanup_free_ char *text = json_text(manifest, JSON_COMPACT);
	const struct push empty = {.digest = hash_bytes(OCI_EMPTY, strlen(OCI_EMPTY)),
				   .size = strlen(OCI_EMPTY),
				   .data = OCI_EMPTY};
	struct call put = {.repository = ref->path,
			   .method = "PUT",
			   .kind = "manifests",
			   .name = tag,
			   .body = text,
			   .type = OCI_MANIFEST};
	int q = push_blob(r, ref, &empty, ret_error);

	*ret = hash_bytes(text, strlen(text));
	return q < 0 ? q : registry_request(r, &put, 201, NULL, ret_error);
}
