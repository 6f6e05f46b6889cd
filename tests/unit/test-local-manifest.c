/* SPDX-License-Identifier: MIT */
/* tests/engine/test_load.py gives it to engines. */
#include "local-manifest.h"

#include "test.h"

#define A     "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B     "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define C     "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
#define LAYER "application/vnd.oci.image.layer.v1.tar"

static void check(const struct load_layer *layers, size_t n, const char *shared,
		  const char *expected)
{
	struct oci_layer theirs[] = {{.digest = {A}, .size = 1, .compression = OCI_GZIP},
				     {.digest = {B}, .size = 2, .compression = OCI_PLAIN},
				     {.digest = {C}, .size = 3, .compression = OCI_ZSTD}};
	struct oci_document manifest = {.layers = theirs, .n_layers = ARRAY_SIZE(theirs)};
	_cleanup_json_ json_t *known = shared ? json_loads(shared, 0, NULL) : NULL;
	struct load l = {.config = {.digest = {C}, .n = 77},
			 .layers = layers,
			 .n_layers = n,
			 .shared = known};
	_cleanup_free_ char *text = local_manifest_make(&l, &manifest);
	_cleanup_free_ char *all = xasprintf(
		"{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\","
		"\"config\":{\"mediaType\":\"application/vnd.oci.image.config.v1+json\","
		"\"digest\":\"" C "\",\"size\":77},\"layers\":[%s]}",
		expected);

	assert_string_equal(text, all);
}

#define DESCRIPTOR(type, digest, size) \
	"{\"mediaType\":\"" type "\",\"digest\":\"" digest "\",\"size\":" size "}"

static void test_layers(void **state)
{
	/* One that the engine has, one of the registry, one that is rebuilt. */
	struct load_layer layers[] = {
		{.digest = {A}, .fd = -1},
		{.digest = {B}, .size = 2},
		{.digest = {B}, .size = 9, .rebuilt = true, .compression = OCI_ZSTD}};
	struct load l = {.layers = layers, .n_layers = 2};

	assert_false(local_manifest_is_needed(&l));
	l.shared = json_array();
	assert_true(local_manifest_is_needed(&l));
	json_decref((json_t *)l.shared);
	l.shared = NULL;
	l.n_layers = 3;
	assert_true(local_manifest_is_needed(&l));

	check(layers, 3, NULL,
	      DESCRIPTOR(LAYER "+gzip", A,
			 "1") "," DESCRIPTOR(LAYER, B, "2") "," DESCRIPTOR(LAYER "+zstd", B, "9"));
	/* As the engine has it; only those that are left out. */
	check(layers, 3,
	      "[{\"mediaType\":\"docker\",\"digest\":\"" C "\",\"size\":5,\"urls\":[\"http://x\"]},"
	      "{\"mediaType\":\"docker\",\"digest\":\"" C "\",\"size\":5}]",
	      DESCRIPTOR("docker", C,
			 "5") "," DESCRIPTOR(LAYER, B, "2") "," DESCRIPTOR(LAYER "+zstd", B, "9"));
	layers[2].compression = OCI_PLAIN;
	check(layers, 3, "[]",
	      DESCRIPTOR(LAYER "+gzip", A, "1") "," DESCRIPTOR(LAYER, B,
							       "2") "," DESCRIPTOR(LAYER, B, "9"));
}

/* What is no descriptor counts as none. */
static void test_no_descriptor(void **state)
{
	static const char *const shared[] = {
		"[1]",
		"[{}]",
		"[{\"mediaType\":\"x\",\"digest\":\"" C "\"}]",
		"[{\"mediaType\":\"x\",\"digest\":\"" C "\",\"size\":-1}]",
		"[{\"mediaType\":\"x\",\"digest\":\"sha256:../x\",\"size\":1}]",
		"[{\"mediaType\":1,\"digest\":\"" C "\",\"size\":1}]",
		"{\"0\":1}",
	};
	struct load_layer layer = {.digest = {A}, .fd = -1};

	for (size_t i = 0; i < ARRAY_SIZE(shared); i++)
		check(&layer, 1, shared[i], DESCRIPTOR(LAYER "+gzip", A, "1"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layers),
		cmocka_unit_test(test_no_descriptor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
