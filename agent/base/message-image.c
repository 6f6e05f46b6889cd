/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "json-build.h"
#include "message.h"
#include "protocol.h"

#define DIGESTS_MAX 1024

static int get_digest(const json_t *j, const char *key, struct digest *ret, struct error *ret_error)
{
	const char *s = json_get_string(j, key);

	if (!s || digest_parse(s, ret) < 0)
		return error_set(ret_error, -EBADMSG, "the message has no valid \"%s\"", key);
	return 0;
}

static int get_digests(const json_t *j, const char *key, const struct digest **ret, size_t *ret_n,
		       struct error *ret_error)
{
	const json_t *list = json_object_get(j, key);
	_cleanup_free_ struct digest *digests = NULL;
	size_t n = json_array_size(list);

	if ((list && !json_is_array(list)) || n > DIGESTS_MAX)
		return error_set(ret_error, -EBADMSG, "\"%s\" is not a list of at most %d digests",
				 key, DIGESTS_MAX);
	digests = xcalloc(n, sizeof(*digests));
	for (size_t i = 0; i < n; i++) {
		const char *s = json_string_value(json_array_get(list, i));

		if (!s || digest_parse(s, &digests[i]) < 0)
			return error_set(ret_error, -EBADMSG, "\"%s\" holds no valid digest", key);
	}
	*ret = steal(digests);
	*ret_n = n;
	return 0;
}

static void put_digests(json_t *j, const char *key, const struct digest *digests, size_t n)
{
	json_t *list = json_need(json_array());

	for (size_t i = 0; i < n; i++)
		json_append(list, json_string(digests[i].text));
	json_put(j, key, list);
}

json_t *message_resolve_to_json(const char *image)
{
	json_t *j = json_need(json_object());

	json_put(j, "op", json_string("resolve"));
	json_put(j, "image", json_string_lossy(image));
	return j;
}

json_t *message_resolved_to_json(const struct digest *d)
{
	json_t *j = json_need(json_object());

	json_put(j, "digest", json_string(d->text));
	return j;
}

int message_resolved_from_json(const json_t *j, struct digest *ret, unsigned int *ret_retry_after_s,
			       struct error *ret_error)
{
	int q = protocol_get_error(j, ret_retry_after_s, ret_error);

	return q < 0 ? q : get_digest(j, "digest", ret, ret_error);
}

json_t *message_request_to_json(const struct fetch_request *r)
{
	json_t *j = json_need(json_object());

	json_put(j, "image", json_string_lossy(r->image));
	json_put(j, "os", json_string_lossy(r->os));
	json_put(j, "architecture", json_string_lossy(r->architecture));
	json_put(j, "variant", json_string_lossy(r->variant ? r->variant : ""));
	put_digests(j, "known", r->known, r->n_known);
	if (r->n_layers > 0)
		put_digests(j, "layers", r->layers, r->n_layers);
	return j;
}

int message_request_from_json(const json_t *j, struct fetch_request *ret, struct error *ret_error)
{
	struct fetch_request r = {
		.image = json_get_string(j, "image"),
		.os = json_get_string(j, "os"),
		.architecture = json_get_string(j, "architecture"),
		.variant = json_get_string(j, "variant"),
	};
	int q;

	if (!r.image || !r.os || !r.architecture)
		return error_set(ret_error, -EBADMSG,
				 "the request lacks \"image\", \"os\" or \"architecture\"");
	if (!r.variant)
		r.variant = "";
	q = get_digests(j, "known", &r.known, &r.n_known, ret_error);
	if (q < 0)
		return q;
	q = get_digests(j, "layers", &r.layers, &r.n_layers, ret_error);
	if (q < 0) {
		free((void *)r.known);
		return q;
	}
	*ret = r;
	return 0;
}

json_t *message_reply_to_json(const struct fetch_reply *r)
{
	json_t *j = message_resolved_to_json(&r->digest);

	if (r->withheld[0])
		json_put(j, "withheld", json_string_lossy(r->withheld));
	if (r->known) {
		json_put(j, "known", json_true());
		return j;
	}
	json_put(j, "manifest", json_string(r->manifest.text));
	if (r->manifest_known) {
		json_put(j, "manifest-known", json_true());
		return j;
	}
	json_put(j, "config", json_string(r->config.text));
	json_put(j, "layer-bytes", json_integer((json_int_t)r->layer_bytes));
	return j;
}

bool message_is_known(const struct fetch_request *request, const struct digest *d)
{
	for (size_t i = 0; i < request->n_known; i++) {
		if (digest_eq(&request->known[i], d))
			return true;
	}
	return false;
}

/* A digest that the network half calls known skips every check of its manifest, so only those that the
 * engine half knows may. */
static int get_known(const json_t *j, const char *key, const struct fetch_request *request,
		     const struct digest *d, bool *ret, struct error *ret_error)
{
	*ret = json_is_true(json_object_get(j, key));
	if (*ret && !message_is_known(request, d))
		return error_set(ret_error, -EBADMSG,
				 "the message says \"%s\" of a digest that is not", key);
	return 0;
}

static int get_details(const json_t *j, struct fetch_reply *ret, struct error *ret_error)
{
	const json_t *bytes = json_object_get(j, "layer-bytes");
	int q = get_digest(j, "config", &ret->config, ret_error);

	if (q < 0)
		return q;
	if (!json_is_integer(bytes) || json_integer_value(bytes) < 0)
		return error_set(ret_error, -EBADMSG, "the message has no valid \"layer-bytes\"");
	ret->layer_bytes = (uint64_t)json_integer_value(bytes);
	return 0;
}

int message_reply_from_json(const json_t *j, const struct fetch_request *request,
			    struct fetch_reply *ret, struct error *ret_error)
{
	struct fetch_reply r = {0};
	int q = message_resolved_from_json(j, &r.digest, &r.retry_after_s, ret_error);

	if (q < 0 && json_object_get(j, "error"))
		*ret = (struct fetch_reply){.retry_after_s = r.retry_after_s};
	if (q == 0)
		q = get_known(j, "known", request, &r.digest, &r.known, ret_error);
	if (q == 0 && !r.known)
		q = get_digest(j, "manifest", &r.manifest, ret_error);
	if (q == 0 && !r.known)
		q = get_known(j, "manifest-known", request, &r.manifest, &r.manifest_known,
			      ret_error);
	if (q == 0 && !r.known && !r.manifest_known)
		q = get_details(j, &r, ret_error);
	if (q < 0)
		return q;
	copy_text(r.withheld, sizeof(r.withheld), json_get_string(j, "withheld"));
	*ret = r;
	return 0;
}
