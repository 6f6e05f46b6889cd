/* SPDX-License-Identifier: MIT */
/* Manifests of signatures, lists of referrers and bundles from an untrusted registry. The first byte of an input chooses how the rest
 * is read: 't' as a manifest at a tag of its own, 'r' as one that refers to the text "image", 'l' as a list, else as a bundle. */
#include "crypto.h"
#include "signature-document.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_blob(const struct oci_artifact *a, size_t max)
{
	struct digest d;

	if (a->size == 0 || a->size > max || digest_parse(a->digest.text, &d) < 0)
		abort();
	if (!a->data)
		return;
	d = hash_bytes(a->data, a->size);
	if (!digest_eq(&d, &a->digest))
		abort();
}

static void read_layers(const char *data, size_t n, const struct digest *subject)
{
	struct signature_layers layers = {0};
	struct error e;

	if (signature_layers_read(data, n, subject, &layers, &e) < 0 && layers.n + layers.left > 0)
		abort();
	if (layers.n > SIGNATURE_PAIRS_MAX)
		abort();
	for (size_t i = 0; i < layers.n; i++) {
		const struct signature_layer *l = &layers.items[i];
		bool simple = l->format == SIGNATURE_SIMPLE;

		check_blob(&l->blob, simple ? SIGNATURE_PAYLOAD_MAX : SIGNATURE_BUNDLE_MAX);
		if (simple ? !l->bytes || l->n_bytes == 0 || l->n_bytes > SIGNATURE_BYTES_MAX
			   : !subject || l->bytes)
			abort();
	}
	signature_layers_free(&layers);
}

static void read_list(const char *data, size_t n)
{
	struct signature_referrers r;
	struct error e;

	if (signature_referrers_read(data, n, &r, &e) < 0 && r.n + r.left > 0)
		abort();
	for (size_t i = 0; i < r.n; i++)
		check_blob(&r.items[i], SIGNATURE_DOCUMENT_MAX);
	signature_referrers_free(&r);
}

static void read_bundle(const char *data, size_t n)
{
	struct signatures s = {0};
	struct error e;

	if (signature_bundle_read(data, n, &s, &e) < 0 && s.n + s.left > 0)
		abort();
	for (size_t i = 0; i < s.n; i++) {
		if (s.pairs[i].format != SIGNATURE_BUNDLE ||
		    s.pairs[i].n_payload > SIGNATURE_PAYLOAD_MAX ||
		    s.pairs[i].n_bytes > SIGNATURE_BYTES_MAX || s.pairs[i].n_payload == 0 ||
		    s.pairs[i].n_bytes == 0)
			abort();
	}
	signatures_free(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const struct digest image = hash_bytes("image", strlen("image"));
	const char *text = (const char *)data + 1;

	if (n == 0)
		return 0;
	switch (data[0]) {
	case 't':
		read_layers(text, n - 1, NULL);
		break;
	case 'r':
		read_layers(text, n - 1, &image);
		break;
	case 'l':
		read_list(text, n - 1);
		break;
	default:
		read_bundle(text, n - 1);
		break;
	}
	return 0;
}
