/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>

#include "base64.h"
#include "crypto.h"
#include "signature-document.h"
#include "test.h"

#define D	"sha256:0123456789abcdef0123456789abcdef0000000000000000000000000000000f"
#define OTHER	"sha256:fedcba9876543210fedcba9876543210fffffffffffffffffffffffffffffff0"
#define SIMPLE	"application/vnd.dev.cosign.simplesigning.v1+json"
#define BUNDLE	"application/vnd.dev.sigstore.bundle.v0.3+json"
#define EMPTY	"application/vnd.oci.empty.v1+json"
#define CLASSIC "application/vnd.dev.cosign.artifact.sig.v1+json"

static const struct digest subject = {D};

static json_t *layer(const char *type, size_t size, const char *signature)
{
	json_t *j = json_pack("{s:s, s:s, s:I}", "mediaType", type, "digest", OTHER, "size",
			      (json_int_t)size);

	if (signature)
		json_put(j, "annotations",
			 json_pack("{s:s}", "dev.cosignproject.cosign/signature", signature));
	return j;
}

static json_t *manifest(json_t *layers)
{
	return json_pack("{s:i, s:{s:s}, s:o}", "schemaVersion", 2, "subject", "digest", D,
			 "layers", layers);
}

static int read_json(const json_t *j, const struct digest *of, struct signature_layers *ret)
{
	_cleanup_free_ char *text = json_text(j, JSON_COMPACT);
	struct error e;

	return signature_layers_read(text, strlen(text), of, ret, &e);
}

/* How many are taken of one layer, and left. */
static void check_layer(const char *type, size_t size, const char *signature,
			const struct digest *of, size_t n, size_t left)
{
	struct signature_layers layers = {0};
	_cleanup_json_ json_t *j = manifest(json_pack("[o]", layer(type, size, signature)));

	assert_int_equal(read_json(j, of, &layers), 0);
	if (layers.n != n || layers.left != left)
		fail_msg("%s %zu %s: %zu, %zu left", type, size, signature ?: "-", layers.n,
			 layers.left);
	signature_layers_free(&layers);
	assert_int_equal(layers.n + layers.left, 0);
}

static void test_layers(void **state)
{
	_cleanup_free_ char *zeroes = xcalloc(1, SIGNATURE_BYTES_MAX + 1),
			    *most = base64_encode(zeroes, SIGNATURE_BYTES_MAX),
			    *more = base64_encode(zeroes, SIGNATURE_BYTES_MAX + 1);

	assert_int_equal(strlen(most), 2048);
	check_layer(SIMPLE, 288, "c2ln", NULL, 1, 0);
	check_layer(SIMPLE, 288, "c2ln", &subject, 1, 0);
	check_layer(SIMPLE, 288, most, NULL, 1, 0);
	check_layer(SIMPLE, 288, more, NULL, 0, 1);
	check_layer(SIMPLE, 288, "", NULL, 0, 1); /* what cosign attest writes */
	check_layer(SIMPLE, 288, NULL, NULL, 0, 1);
	check_layer(SIMPLE, 288, "c2 n", NULL, 0, 1);
	check_layer(SIMPLE, 288, "c2ln\n", NULL, 0, 1);
	check_layer(SIMPLE, 288, "c2l", NULL, 0, 1);
	check_layer(SIMPLE, 288, "c2_-", NULL, 0, 1);
	check_layer(SIMPLE, 0, "c2ln", NULL, 0, 1);
	check_layer(SIMPLE, SIGNATURE_PAYLOAD_MAX, "c2ln", NULL, 1, 0);
	check_layer(SIMPLE, SIGNATURE_PAYLOAD_MAX + 1, "c2ln", NULL, 0, 1);
	check_layer(BUNDLE, SIGNATURE_BUNDLE_MAX, NULL, &subject, 1, 0);
	check_layer(BUNDLE, SIGNATURE_BUNDLE_MAX + 1, NULL, &subject, 0, 1);
	check_layer(BUNDLE, 700, NULL, NULL, 0, 0);
	check_layer("application/vnd.dsse.envelope.v1+json", 288, "c2ln", &subject, 0, 0);
	check_layer("application/vnd.dev.sigstore.bundle.v0.2+json", 288, NULL, &subject, 0, 0);
}

static void test_a_descriptor_that_is_none(void **state)
{
	static const char *const bad[] = {
		"null", "7", "\"x\"", "{}", "{\"mediaType\":7}",
	};
	static const char *const broken[] = {
		"{\"mediaType\":\"" SIMPLE "\"}",
		"{\"mediaType\":\"" SIMPLE "\",\"size\":5,\"digest\":\"sha256:..\"}",
		"{\"mediaType\":\"" SIMPLE "\",\"size\":-5,\"digest\":\"" D "\"}",
		"{\"mediaType\":\"" SIMPLE "\",\"size\":5.0,\"digest\":\"" D "\"}",
		"{\"mediaType\":\"" SIMPLE "\",\"size\":5,\"digest\":\"" D
		"\",\"urls\":[\"http://x\"]}",
	};
	struct signature_layers layers = {0};
	struct error e;

	for (size_t i = 0; i < ARRAY_SIZE(bad) + ARRAY_SIZE(broken); i++) {
		bool counts = i >= ARRAY_SIZE(bad);
		_cleanup_free_ char *text = xasprintf(
			"{\"layers\":[%s]}", counts ? broken[i - ARRAY_SIZE(bad)] : bad[i]);

		assert_int_equal(signature_layers_read(text, strlen(text), NULL, &layers, &e), 0);
		assert_int_equal(layers.n, 0);
		assert_int_equal(layers.left, counts);
		signature_layers_free(&layers);
	}
}

static void test_documents_that_are_none(void **state)
{
	static const struct {
		const char *text;
		int code;
	} rows[] = {
		{"", -EBADMSG},
		{"<html>", -EBADMSG},
		{"{\"layers\":[]} x", -EBADMSG},
		{"{\"layers\":[],\"layers\":[]}", -EBADMSG},
		{"[]", -EINVAL},
		{"{}", -EINVAL},
		{"{\"layers\":{}}", -EINVAL},
		{"{\"manifests\":[]}", -EINVAL},
		{"{\"layers\":[]}", -EINVAL}, /* without a subject */
		{"{\"layers\":[],\"subject\":\"" D "\"}", -EINVAL},
		{"{\"layers\":[],\"subject\":{\"digest\":\"" OTHER "\"}}", -EINVAL},
		{"{\"layers\":[],\"subject\":{\"digest\":7}}", -EINVAL},
		{"{\"layers\":[],\"subject\":{\"digest\":\"" D "\"}}", 0},
	};
	_cleanup_free_ char *large = NULL;
	struct signature_layers layers = {0};
	struct error e;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int q = signature_layers_read(rows[i].text, strlen(rows[i].text), &subject, &layers,
					      &e);

		if (q != rows[i].code || layers.n + layers.left > 0)
			fail_msg("%s: %d", rows[i].text, q);
	}
	large = xasprintf("{\"layers\":[]%*s}", (int)SIGNATURE_DOCUMENT_MAX - 13, "");
	assert_int_equal(strlen(large), SIGNATURE_DOCUMENT_MAX);
	assert_int_equal(signature_layers_read(large, strlen(large), NULL, &layers, &e), 0);
	assert_int_equal(
		signature_layers_read(large, SIGNATURE_DOCUMENT_MAX + 1, NULL, &layers, &e),
		-EINVAL);
}

/* The newest stands last; older ones than the first sixteen are left. */
static void test_order_of_layers(void **state)
{
	_cleanup_json_ json_t *j = NULL;
	json_t *list = json_array();
	struct signature_layers layers = {0};

	for (size_t i = 1; i <= SIGNATURE_PAIRS_MAX + 4; i++)
		json_append(list, layer(SIMPLE, i, "c2ln"));
	j = manifest(list);
	assert_int_equal(read_json(j, NULL, &layers), 0);
	assert_int_equal(layers.n, SIGNATURE_PAIRS_MAX);
	assert_int_equal(layers.left, 4);
	for (size_t i = 0; i < layers.n; i++)
		assert_int_equal(layers.items[i].blob.size, SIGNATURE_PAIRS_MAX + 4 - i);
	/* A second manifest is older. */
	assert_int_equal(read_json(j, NULL, &layers), 0);
	assert_int_equal(layers.n, SIGNATURE_PAIRS_MAX);
	assert_int_equal(layers.left, SIGNATURE_PAIRS_MAX + 4 + 4);
	signature_layers_free(&layers);
}

static void test_embedded_payload(void **state)
{
	struct digest d = hash_bytes("{}", 2);
	struct signature_layers layers = {0};
	_cleanup_json_ json_t *j = manifest(
		json_pack("[{s:s, s:s, s:i, s:s, s:{s:s}}, {s:s, s:s, s:i, s:s, s:{s:s}}]",
			  "mediaType", SIMPLE, "digest", d.text, "size", 2, "data",
			  "e30=", "annotations", "dev.cosignproject.cosign/signature", "c2ln",
			  "mediaType", SIMPLE, "digest", OTHER, "size", 2, "data",
			  "e30=", "annotations", "dev.cosignproject.cosign/signature", "c2ln"));

	assert_int_equal(read_json(j, NULL, &layers), 0);
	assert_int_equal(layers.n, 2);
	assert_null(layers.items[0].blob.data); /* it does not hash */
	assert_memory_equal(layers.items[1].blob.data, "{}", 2);
	assert_memory_equal(layers.items[1].bytes, "sig", 3);
	signature_layers_free(&layers);
}

static json_t *entry(size_t size, const char *type)
{
	return json_pack("{s:s, s:I, s:s*}", "digest", OTHER, "size", (json_int_t)size,
			 "artifactType", type);
}

static int read_entries(json_t *list, struct signature_referrers *ret)
{
	_cleanup_json_ json_t *j = json_pack("{s:o}", "manifests", list);
	_cleanup_free_ char *text = json_text(j, JSON_COMPACT);
	struct error e;

	return signature_referrers_read(text, strlen(text), ret, &e);
}

static void test_referrers(void **state)
{
	struct signature_referrers r;
	json_t *list =
		json_pack("[o, o, o, o, o, o, o, o, o, {}, i, n]", entry(1, NULL), entry(2, EMPTY),
			  entry(3, BUNDLE), entry(4, CLASSIC), entry(5, "application/spdx+json"),
			  entry(6, ""), entry(SIGNATURE_DOCUMENT_MAX, EMPTY),
			  entry(SIGNATURE_DOCUMENT_MAX + 1, EMPTY), entry(0, EMPTY), 7);

	assert_int_equal(read_entries(list, &r), 0);
	assert_int_equal(r.n, 6);
	assert_int_equal(r.left, 5);
	assert_int_equal(r.items[0].size, SIGNATURE_DOCUMENT_MAX);
	assert_int_equal(r.items[1].size, 6);
	assert_int_equal(r.items[2].size, 4);
	assert_int_equal(r.items[5].size, 1);
	signature_referrers_free(&r);
	list = json_array();
	for (size_t i = 1; i <= 20; i++) {
		json_append(list, entry(i, i % 2 ? EMPTY : BUNDLE));
		json_append(list, entry(999, "application/spdx+json"));
	}
	assert_int_equal(read_entries(list, &r), 0);
	assert_int_equal(r.n, SIGNATURE_PAIRS_MAX);
	assert_int_equal(r.left, 4);
	for (size_t i = 0; i < r.n; i++)
		assert_int_equal(r.items[i].size, 20 - i);
	signature_referrers_free(&r);
	assert_int_equal(read_entries(json_object(), &r), -EINVAL);
	assert_int_equal(r.n, 0);
	assert_int_equal(read_entries(json_array(), &r), 0);
	assert_int_equal(r.n + r.left, 0);
}

#define PREDICATE "dev.sigstore.bundle.predicateType"

static void test_attestations(void **state)
{
	static const struct {
		const char *predicate;
		size_t n;
	} rows[] = {
		{"https://sigstore.dev/cosign/sign/v1", 1},
		{"https://slsa.dev/provenance/v1", 0},
		{"", 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		json_t *note = json_pack("{s:s}", PREDICATE, rows[i].predicate);
		json_t *listed = entry(5, BUNDLE);
		_cleanup_json_ json_t *j = manifest(json_pack("[o]", layer(BUNDLE, 700, NULL)));
		struct signature_referrers r;
		struct signature_layers layers = {0};

		json_put(j, "annotations", json_incref(note));
		json_put(listed, "annotations", note);
		assert_int_equal(read_json(j, &subject, &layers), 0);
		assert_int_equal(layers.n, rows[i].n);
		assert_int_equal(layers.left, 0);
		signature_layers_free(&layers);
		assert_int_equal(read_entries(json_pack("[o]", listed), &r), 0);
		assert_int_equal(r.n, rows[i].n);
		assert_int_equal(r.left, 0);
		signature_referrers_free(&r);
	}
}

#define ENVELOPE(type, payload, signatures) \
	"{\"payload\":" payload ",\"payloadType\":\"" type "\",\"signatures\":" signatures "}"
#define DOCUMENT(type, rest) "{\"mediaType\":\"" type "\"," rest "}"
#define STATEMENT	     "application/vnd.in-toto+json"
#define ONE		     "[{\"sig\":\"c2ln\"}]"
#define GOOD		     "\"dsseEnvelope\":" ENVELOPE(STATEMENT, "\"e30=\"", ONE)

static void test_bundles(void **state)
{
	static const struct {
		const char *text;
		int code;
		size_t n, left;
	} rows[] = {
		{DOCUMENT(BUNDLE, GOOD), 0, 1, 0},
		{DOCUMENT(BUNDLE, GOOD ",\"verificationMaterial\":7"), 0, 1, 0},
		{DOCUMENT("application/vnd.dev.sigstore.bundle.v0.2+json", GOOD), -EBADMSG, 0, 0},
		{"{" GOOD "}", -EBADMSG, 0, 0},
		{DOCUMENT(BUNDLE, GOOD ",\"messageSignature\":{}"), -EBADMSG, 0, 0},
		{DOCUMENT(BUNDLE, GOOD ",\"messageSignature\":null"), -EBADMSG, 0, 0},
		{DOCUMENT(BUNDLE, GOOD "," GOOD), -EBADMSG, 0, 0},
		{DOCUMENT(BUNDLE, "\"messageSignature\":{\"signature\":\"c2ln\"}"), -EBADMSG, 0, 0},
		{DOCUMENT(BUNDLE, "\"dsseEnvelope\":[]"), -EBADMSG, 0, 0},
		{DOCUMENT(BUNDLE, "\"dsseEnvelope\":" ENVELOPE("text/plain", "\"e30=\"", ONE)),
		 -EBADMSG, 0, 0},
		{DOCUMENT(BUNDLE, "\"dsseEnvelope\":" ENVELOPE(STATEMENT, "\"e30\"", ONE)),
		 -EBADMSG, 0, 0},
		{DOCUMENT(BUNDLE, "\"dsseEnvelope\":" ENVELOPE(STATEMENT, "\"\"", ONE)), -EBADMSG,
		 0, 0},
		{DOCUMENT(BUNDLE, "\"dsseEnvelope\":" ENVELOPE(STATEMENT, "{}", ONE)), -EBADMSG, 0,
		 0},
		{DOCUMENT(BUNDLE, "\"dsseEnvelope\":" ENVELOPE(STATEMENT, "\"e30=\"", "[]")),
		 -EBADMSG, 0, 0},
		{DOCUMENT(BUNDLE, "\"dsseEnvelope\":" ENVELOPE(STATEMENT, "\"e30=\"", "{}")),
		 -EBADMSG, 0, 0},
		{DOCUMENT(BUNDLE, "\"dsseEnvelope\":" ENVELOPE(STATEMENT, "\"e30=\"",
							       "[{\"sig\":\"c2ln\"},"
							       "{\"sig\":\"\"},{},"
							       "{\"sig\":\"czI=\"}]")),
		 0, 2, 2},
		{DOCUMENT(BUNDLE, "\"dsseEnvelope\":" ENVELOPE(STATEMENT, "\"e30=\"",
							       "[{},{},{},{},"
							       "{\"sig\":\"c2ln\"}]")),
		 -EBADMSG, 0, 0},
		{"<html>", -EBADMSG, 0, 0},
		{"", -EBADMSG, 0, 0},
		{"[]", -EBADMSG, 0, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct signatures s = {0};
		struct error e;
		int q = signature_bundle_read(rows[i].text, strlen(rows[i].text), &s, &e);

		if (q != rows[i].code || s.n != rows[i].n || s.left != rows[i].left)
			fail_msg("%s: %d, %zu, %zu left", rows[i].text, q, s.n, s.left);
		if (s.n > 0) {
			assert_int_equal(s.pairs[0].format, SIGNATURE_BUNDLE);
			assert_int_equal(s.pairs[0].n_payload, 2);
			assert_memory_equal(s.pairs[0].payload, "{}", 2);
			assert_memory_equal(s.pairs[0].bytes, "sig", 3);
		}
		signatures_free(&s);
	}
}

static void test_size_of_a_bundle_s_payload(void **state)
{
	static const size_t sizes[] = {SIGNATURE_PAYLOAD_MAX, SIGNATURE_PAYLOAD_MAX + 1};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		_cleanup_free_ char *zeroes = xcalloc(1, sizes[i]),
				    *payload = base64_encode(zeroes, sizes[i]), *text = NULL;
		struct signatures s = {0};
		struct error e;

		text = xasprintf(
			DOCUMENT(BUNDLE, "\"dsseEnvelope\":" ENVELOPE(STATEMENT, "\"%s\"", ONE)),
			payload);
		assert_int_equal(signature_bundle_read(text, strlen(text), &s, &e),
				 i == 0 ? 0 : -EBADMSG);
		assert_int_equal(s.n, i == 0);
		signatures_free(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layers),
		cmocka_unit_test(test_a_descriptor_that_is_none),
		cmocka_unit_test(test_documents_that_are_none),
		cmocka_unit_test(test_order_of_layers),
		cmocka_unit_test(test_embedded_payload),
		cmocka_unit_test(test_referrers),
		cmocka_unit_test(test_attestations),
		cmocka_unit_test(test_bundles),
		cmocka_unit_test(test_size_of_a_bundle_s_payload),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
