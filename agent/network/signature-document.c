/* SPDX-License-Identifier: MIT */
#include "signature-document.h"

#include <errno.h>

#include "base64.h"

#define SIMPLE_TYPE	     "application/vnd.dev.cosign.simplesigning.v1+json"
#define SIGNATURE_ANNOTATION "dev.cosignproject.cosign/signature"
#define BUNDLE_TYPE	     "application/vnd.dev.sigstore.bundle.v0.3+json"
#define COSIGN_CONFIG_TYPE   "application/vnd.dev.cosign.artifact.sig.v1+json"
#define STATEMENT_TYPE	     "application/vnd.in-toto+json"
#define PREDICATE_ANNOTATION "dev.sigstore.bundle.predicateType"
#define SIGN_PREDICATE	     "https://sigstore.dev/cosign/sign/v1"
#define BUNDLE_SIGNATURES    4 /* one of them must verify; cosign writes one */

void signature_layers_free(struct signature_layers *layers)
{
	while (layers->n > 0) {
		struct signature_layer *l = &layers->items[--layers->n];

		free(l->blob.data);
		free(l->bytes);
	}
	layers->left = 0;
}

void signature_referrers_free(struct signature_referrers *r)
{
	while (r->n > 0)
		free(r->items[--r->n].data);
	r->left = 0;
}

/* Decodes base64 of max bytes at most, at least one. Caller frees; NULL: it is not valid. */
static char *decode(const char *text, size_t max, size_t *ret_n)
{
	_cleanup_free_ char *data = text ? base64_decode(text, ret_n) : NULL;

	return data && *ret_n > 0 && *ret_n <= max ? steal(data) : NULL;
}

/* Reads the layer j of that format, within the bounds. */
static bool read_layer(const json_t *j, enum signature_format format, struct signature_layer *ret)
{
	const char *text = json_get_string(json_object_get(j, "annotations"), SIGNATURE_ANNOTATION);
	size_t max = format == SIGNATURE_SIMPLE ? SIGNATURE_PAYLOAD_MAX : SIGNATURE_BUNDLE_MAX;
	struct signature_layer l = {.format = format};
	struct error ignored;

	if (oci_read_descriptor(j, &l.blob, &ignored) < 0)
		return false;
	if (format == SIGNATURE_SIMPLE)
		l.bytes = decode(text, SIGNATURE_BYTES_MAX, &l.n_bytes);
	if (l.blob.size == 0 || l.blob.size > max || (format == SIGNATURE_SIMPLE && !l.bytes)) {
		free(l.blob.data);
		free(l.bytes);
		return false;
	}
	*ret = l;
	return true;
}

static void add_layer(const json_t *j, bool is_referrer, struct signature_layers *layers)
{
	const char *type = json_get_string(j, "mediaType");
	enum signature_format format = SIGNATURE_SIMPLE;

	if (is_referrer && streq_null(type, BUNDLE_TYPE))
		format = SIGNATURE_BUNDLE;
	else if (!streq_null(type, SIMPLE_TYPE))
		return;
	if (layers->n < SIGNATURE_PAIRS_MAX && read_layer(j, format, &layers->items[layers->n]))
		layers->n++;
	else
		layers->left++;
}

/* Parses a document whose list is under key. *ret_list is borrowed from *ret, which the caller owns. */
static int parse(const char *data, size_t n, const char *key, json_t **ret, const json_t **ret_list,
		 struct error *ret_error)
{
	_cleanup_json_ json_t *j = NULL;

	int q = n > SIGNATURE_DOCUMENT_MAX
			? error_set(ret_error, -EFBIG, "it has %zu bytes, %zu at most are taken", n,
				    SIGNATURE_DOCUMENT_MAX)
			: json_parse(data, n, "document", &j, ret_error);

	if (q == -EFBIG)
		ret_error->code = q = -EINVAL;
	if (q < 0)
		return q;
	*ret_list = json_object_get(j, key);
	if (!json_is_array(*ret_list))
		return error_set(ret_error, -EINVAL, "it has no list of %s", key);
	*ret = steal(j);
	return 0;
}

/* Whether a manifest, or its entry in a list, says of itself that it is an attestation: provenance or an SBOM, of which an image
 * may have many large ones. Nobody has signed that; but who can write it can as well remove a signature. */
static bool is_attestation(const json_t *j)
{
	const char *type = json_get_string(json_object_get(j, "annotations"), PREDICATE_ANNOTATION);

	return type && !streq(type, SIGN_PREDICATE);
}

int signature_layers_read(const char *data, size_t n, const struct digest *subject,
			  struct signature_layers *layers, struct error *ret_error)
{
	_cleanup_json_ json_t *j = NULL;
	const json_t *list;
	int q = parse(data, n, "layers", &j, &list, ret_error);

	if (q < 0)
		return q;
	if (subject &&
	    !streq_null(json_get_string(json_object_get(j, "subject"), "digest"), subject->text))
		return error_set(ret_error, -EINVAL, "its subject is another one");
	for (size_t i = subject && is_attestation(j) ? 0 : json_array_size(list); i > 0; i--)
		add_layer(json_array_get(list, i - 1), subject, layers);
	return 0;
}

/* Whether such an artifact may be a signature: the config's type stands in a fallback list for that of the artifact. */
static bool may_be_signature(const json_t *entry)
{
	static const char *const types[] = {OCI_EMPTY_TYPE, BUNDLE_TYPE, COSIGN_CONFIG_TYPE, ""};
	const json_t *type = json_object_get(entry, "artifactType");

	bool may_be = !type;

	for (size_t i = 0; type && i < ARRAY_SIZE(types); i++)
		may_be |= streq_null(json_string_value(type), types[i]);
	return may_be && !is_attestation(entry);
}

int signature_referrers_read(const char *data, size_t n, struct signature_referrers *ret,
			     struct error *ret_error)
{
	_cleanup_json_ json_t *j = NULL;
	struct signature_referrers r = {0};
	const json_t *list;
	struct error ignored;
	int q = parse(data, n, "manifests", &j, &list, ret_error);

	for (size_t i = q == 0 ? json_array_size(list) : 0; i > 0; i--) {
		const json_t *entry = json_array_get(list, i - 1);
		struct oci_artifact *a = &r.items[r.n];

		if (!may_be_signature(entry))
			continue;
		if (r.n == SIGNATURE_PAIRS_MAX || oci_read_descriptor(entry, a, &ignored) < 0) {
			r.left++;
		} else if (a->size == 0 || a->size > SIGNATURE_DOCUMENT_MAX) {
			free(a->data);
			r.left++;
		} else {
			r.n++;
		}
	}
	*ret = r;
	return q;
}

/* The signatures of an envelope whose payload is in *pair. */
static int add_signatures(const json_t *list, struct signature_pair *pair, struct signatures *ret,
			  struct error *ret_error)
{
	size_t n = json_array_size(list);

	if (!json_is_array(list) || n == 0 || n > BUNDLE_SIGNATURES)
		return error_set(ret_error, -EBADMSG, "it is not signed by one to %d signatures",
				 BUNDLE_SIGNATURES);
	for (size_t i = 0; i < n; i++) {
		const char *text = json_get_string(json_array_get(list, i), "sig");

		pair->bytes = decode(text, SIGNATURE_BYTES_MAX, &pair->n_bytes);
		if (pair->bytes)
			signatures_add(ret, pair);
		else
			ret->left++;
		free(steal(pair->bytes));
	}
	return 0;
}

int signature_bundle_read(const char *data, size_t n, struct signatures *ret,
			  struct error *ret_error)
{
	_cleanup_json_ json_t *j = NULL;
	_cleanup_free_ char *payload = NULL;
	struct signature_pair pair = {.format = SIGNATURE_BUNDLE};
	const json_t *envelope;

	if (json_parse(data, n, "bundle", &j, ret_error) < 0)
		return ret_error->code = -EBADMSG;
	envelope = json_object_get(j, "dsseEnvelope");
	if (!streq_null(json_get_string(j, "mediaType"), BUNDLE_TYPE) || !envelope ||
	    json_object_get(j, "messageSignature"))
		return error_set(ret_error, -EBADMSG, "it is no bundle with an envelope");
	if (!streq_null(json_get_string(envelope, "payloadType"), STATEMENT_TYPE))
		return error_set(ret_error, -EBADMSG, "what it signs is no in-toto statement");
	payload = decode(json_get_string(envelope, "payload"), SIGNATURE_PAYLOAD_MAX,
			 &pair.n_payload);
	if (!payload)
		return error_set(ret_error, -EBADMSG,
				 "its payload is no base64 of %zu bytes at most",
				 SIGNATURE_PAYLOAD_MAX);
	pair.payload = payload;
	return add_signatures(json_object_get(envelope, "signatures"), &pair, ret, ret_error);
}
