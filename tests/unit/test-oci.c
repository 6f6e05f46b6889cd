/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "base64.h"
#include "crypto.h"
#include "oci.h"
#include "test.h"

#define TYPE_INDEX    "application/vnd.oci.image.index.v1+json"
#define TYPE_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define TYPE_LIST     "application/vnd.docker.distribution.manifest.list.v2+json"
#define TYPE_DOCKER   "application/vnd.docker.distribution.manifest.v2+json"

#define A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static int parse(const char *data, const char *type, struct oci_document *ret, struct error *e)
{
	struct digest d = hash_bytes(data, strlen(data));

	return oci_parse(data, strlen(data), type, &d, ret, e);
}

#define DESCRIPTOR(digest, size) "{\"digest\":\"" digest "\",\"size\":" size "}"
#define MANIFEST(type, config, layers) \
	"{\"schemaVersion\":2," type "\"config\":" config ",\"layers\":[" layers "]}"
#define INDEX(type, entries) "{\"schemaVersion\":2," type "\"manifests\":[" entries "]}"
#define TYPE(t)		     "\"mediaType\":\"" t "\","

static void test_manifest(void **state)
{
	static const char *const types[] = {TYPE_MANIFEST, TYPE_DOCKER};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		_cleanup_free_ char *text =
			xasprintf(MANIFEST("\"mediaType\":\"%s\",", DESCRIPTOR(A, "7"),
					   DESCRIPTOR(A, "5") "," DESCRIPTOR(B, "4294967296")),
				  types[i]);
		_cleanup_free_ char *with_parameter = xasprintf("%s ; charset=utf-8", types[i]);
		const char *sent[] = {types[i], NULL, with_parameter};

		for (size_t k = 0; k < ARRAY_SIZE(sent); k++) {
			struct oci_document d = {0};
			struct error e = {0};

			assert_int_equal(parse(text, sent[k], &d, &e), 0);
			assert_false(d.is_index);
			assert_string_equal(d.config.text, A);
			assert_true(d.layer_bytes == 4294967301);
			assert_int_equal(d.n_layers, 2);
			assert_int_equal(d.layers[0].size, 5);
			assert_true(d.layers[1].size == 4294967296);
			assert_string_equal(d.layers[1].digest.text, B);
			assert_int_equal(d.layers[1].compression, OCI_GZIP);
			assert_null(d.layers[1].data);
			assert_null(d.config_data);
			assert_string_equal(d.media_type, types[i]);
			assert_int_equal(d.size, strlen(text));
			oci_document_free(&d);
		}
	}
}

static void test_version(void **state)
{
	static const char text[] = MANIFEST("\"annotations\":{\"" VERSION_LABEL "\":\"1.4.2\"},",
					    DESCRIPTOR(A, "7"), DESCRIPTOR(B, "5"));
	struct oci_document d = {0};
	struct error e = {0};

	assert_int_equal(parse(text, TYPE_MANIFEST, &d, &e), 0);
	assert_string_equal(d.version, "1.4.2");
	oci_document_free(&d);
}

static void test_index(void **state)
{
	static const char text[] = INDEX(
		TYPE(TYPE_INDEX),
		"{\"mediaType\":\"" TYPE_MANIFEST "\",\"digest\":\"" A "\",\"size\":5,"
		"\"platform\":{\"os\":\"linux\",\"architecture\":\"arm\",\"variant\":\"v6\"}},"
		"{\"mediaType\":\"application/vnd.example\",\"digest\":\"sha512:x\"},"
		"{\"digest\":\"" B "\",\"size\":6}");
	struct oci_document d = {0};
	struct error e = {0};

	assert_int_equal(parse(text, TYPE_INDEX, &d, &e), 0);
	assert_true(d.is_index);
	assert_int_equal(d.n_entries, 2);
	assert_string_equal(d.entries[0].digest.text, A);
	assert_int_equal(d.entries[0].size, 5);
	assert_string_equal(d.entries[0].platform.variant, "v6");
	assert_string_equal(d.entries[1].digest.text, B);
	assert_string_equal(d.entries[1].platform.os, "");
	oci_document_free(&d);
}

/* mediaType may be missing in OCI documents; then Content-Type says it, then the form. */
static void test_untyped(void **state)
{
	static const char manifest[] = MANIFEST("", DESCRIPTOR(A, "7"), "");
	static const char index[] = INDEX("", "");
	struct oci_document d = {0};
	struct error e = {0};

	assert_int_equal(parse(manifest, TYPE_MANIFEST, &d, &e), 0);
	oci_document_free(&d);
	assert_int_equal(parse(manifest, NULL, &d, &e), 0);
	assert_false(d.is_index);
	assert_string_equal(d.media_type, TYPE_MANIFEST);
	oci_document_free(&d);
	assert_int_equal(parse(index, TYPE_LIST, &d, &e), 0);
	assert_string_equal(d.media_type, TYPE_LIST);
	oci_document_free(&d);
	assert_int_equal(parse(index, NULL, &d, &e), 0);
	assert_true(d.is_index);
	oci_document_free(&d);
	assert_int_equal(parse(manifest, TYPE_INDEX, &d, &e), -EBADMSG);
	assert_int_equal(parse(index, TYPE_MANIFEST, &d, &e), -EBADMSG);
	assert_int_equal(parse(manifest, "text/plain", &d, &e), -EBADMSG);
}

#define TYPED(layers) MANIFEST(TYPE(TYPE_MANIFEST), DESCRIPTOR(A, "7"), layers)
#define PLATFORM(p)   INDEX(TYPE(TYPE_INDEX), "{\"digest\":\"" A "\",\"size\":1,\"platform\":" p "}")

#define LAYER(type, more)     "{\"mediaType\":\"" type "\",\"digest\":\"" A "\",\"size\":7" more "}"
#define CONFIG_OF(type, size) "{\"mediaType\":\"" type "\",\"digest\":\"" A "\",\"size\":" size "}"

/* All types that an engine of today unpacks; zstd not every one. */
static void test_layer_types(void **state)
{
	static const struct {
		const char *text;
		const char *compressions; /* a digit for each layer */
	} cases[] = {
		{TYPED(LAYER("application/vnd.oci.image.layer.v1.tar", "")), "0"},
		{TYPED(LAYER("application/vnd.oci.image.layer.v1.tar+gzip", ",\"urls\":[]")), "1"},
		{TYPED(LAYER("application/vnd.docker.image.rootfs.diff.tar.gzip", "") "," LAYER(
			 "application/vnd.oci.image.layer.v1.tar+zstd", ",\"urls\":null")),
		 "12"},
		{TYPED(LAYER("application/vnd.docker.image.rootfs.diff.tar.zstd",
			     "") "," LAYER("application/vnd.docker.image.rootfs.diff.tar", "")),
		 "20"},
		{MANIFEST("", CONFIG_OF("application/octet-stream", "1048576"), ""), ""},
		{MANIFEST("", CONFIG_OF("application/vnd.docker.container.image.v1+json", "7"), ""),
		 ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct oci_document d = {0};
		struct error e = {0};

		if (parse(cases[i].text, NULL, &d, &e) < 0)
			fail_msg("%s: %s", cases[i].text, e.text);
		assert_int_equal(d.n_layers, strlen(cases[i].compressions));
		for (size_t k = 0; k < d.n_layers; k++)
			assert_int_equal(d.layers[k].compression, cases[i].compressions[k] - '0');
		oci_document_free(&d);
	}
}

/* A manifest whose config embeds content, and its one layer other content; each has the digest and size of its own text. */
static char *embedding(const char *config, const char *config_data, const char *layer,
		       const char *layer_data)
{
	struct digest c = hash_bytes(config, strlen(config)), l = hash_bytes(layer, strlen(layer));

	return xasprintf(MANIFEST("", "{\"digest\":\"%s\",\"size\":%zu,\"data\":%s}",
				  "{\"digest\":\"%s\",\"size\":%zu,\"data\":%s}"),
			 c.text, strlen(config), config_data, l.text, strlen(layer), layer_data);
}

static void test_embedded(void **state)
{
	static const struct {
		const char *data; /* of the layer "layer": bGF5ZXI= */
		bool used;
	} cases[] = {
		{"\"bGF5ZXI=\"", true},	  {"\"bGF5ZXI\"", false},
		{"\"\"", false},	  {"7", false},
		{"null", false},	  {"\"b25seQ==\"", false},
		{"\"bGF5 ZXI=\"", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *text = embedding("{}", "\"e30=\"", "layer", cases[i].data);
		struct oci_document d = {0};
		struct error e = {0};

		assert_int_equal(parse(text, NULL, &d, &e), 0);
		assert_string_equal(d.config_data, "{}");
		assert_int_equal(d.config_size, 2);
		if (cases[i].used)
			assert_string_equal(d.layers[0].data, "layer");
		else
			assert_null(d.layers[0].data);
		oci_document_free(&d);
	}
}

static void test_embedded_size(void **state)
{
	for (size_t n = OCI_DATA_MAX; n <= OCI_DATA_MAX + 1; n++) {
		_cleanup_free_ char *layer = xcalloc(n + 1, 1), *data = NULL, *quoted = NULL,
				    *text = NULL;
		struct oci_document d = {0};
		struct error e = {0};

		memset(layer, 'x', n);
		data = base64_encode(layer, n);
		quoted = xasprintf("\"%s\"", data);
		text = embedding("{}", "7", layer, quoted);
		assert_int_equal(parse(text, NULL, &d, &e), 0);
		assert_null(d.config_data);
		assert_int_equal(d.layers[0].size, n);
		assert_int_equal(d.layers[0].data != NULL, n == OCI_DATA_MAX);
		oci_document_free(&d);
	}
}

static void test_refused(void **state)
{
	static const struct {
		const char *text, *type, *why;
	} cases[] = {
		{"[]", NULL, "not a JSON object"},
		{"{}", NULL, "schemaVersion"},
		{"{\"schemaVersion\":2}", NULL, "not what its type says"},
		{"{\"schemaVersion\":\"2\"}", NULL, "schemaVersion"},
		{"{\"schemaVersion\":3}", NULL, "schemaVersion"},
		{"{\"schemaVersion\":1,\"fsLayers\":[]}", NULL, "schema 1"},
		{"{\"schemaVersion\":2,\"fsLayers\":[]}", NULL, "schema 1"},
		{"{\"schemaVersion\":2,\"mediaType\":7,\"config\":{}}", NULL, "mediaType"},
		{TYPED(""), TYPE_DOCKER, "the registry says"},
		{TYPED(""), TYPE_INDEX, "the registry says"},
		{TYPED(""), "", "the registry says"},
		{INDEX(TYPE(TYPE_MANIFEST), ""), TYPE_MANIFEST, "not what its type says"},
		{MANIFEST(TYPE(TYPE_INDEX), DESCRIPTOR(A, "7"), ""), TYPE_INDEX,
		 "not what its type says"},
		{MANIFEST(TYPE("application/vnd.example"), DESCRIPTOR(A, "7"), ""), NULL,
		 "not the type"},
		{INDEX(TYPE(TYPE_INDEX) "\"config\":{},", ""), TYPE_INDEX, "both"},
		{INDEX(TYPE(TYPE_INDEX) "\"layers\":[],", ""), TYPE_INDEX, "both"},
		{INDEX("\"layers\":[],", ""), NULL, "both"},
		{MANIFEST("", "{}", ""), NULL, "digest"},
		{MANIFEST("", "7", ""), NULL, "digest"},
		{MANIFEST("", DESCRIPTOR("sha256:x", "7"), ""), NULL, "digest"},
		{MANIFEST("", DESCRIPTOR(A, "-1"), ""), NULL, "size"},
		{MANIFEST("", DESCRIPTOR(A, "1.5"), ""), NULL, "size"},
		{MANIFEST("", DESCRIPTOR(A, "\"7\""), ""), NULL, "size"},
		{"{\"schemaVersion\":2,\"config\":" DESCRIPTOR(A, "7") "}", NULL, "list"},
		{"{\"schemaVersion\":2,\"layers\":[]}", NULL, "digest"},
		{"{\"schemaVersion\":2,\"manifests\":{}}", NULL, "list"},
		{TYPED("7"), NULL, "digest"},
		{TYPED("null"), NULL, "digest"},
		{TYPED(DESCRIPTOR("../../etc/passwd", "7")), NULL, "digest"},
		/* 2^62 three times: beyond what signed numbers hold */
		{TYPED(DESCRIPTOR(A, "4611686018427387904") "," DESCRIPTOR(
			 A, "4611686018427387904") "," DESCRIPTOR(A, "4611686018427387904")),
		 NULL, "overflow"},
		{TYPED(DESCRIPTOR(A, "9223372036854775807") "," DESCRIPTOR(
			 A, "9223372036854775807") "," DESCRIPTOR(A, "9223372036854775807")),
		 NULL, "overflow"},
		{TYPED(DESCRIPTOR(A, "9223372036854775808")), NULL, "big integer"},
		/* One file of the spool. The same size twice is an image's own affair. */
		{TYPED(DESCRIPTOR(A, "7") "," DESCRIPTOR(A, "8")), NULL, "two sizes"},
		{TYPED(DESCRIPTOR(A, "7") "," DESCRIPTOR(B, "8") "," DESCRIPTOR(A, "1")), NULL,
		 "two sizes"},
		{INDEX("", "7"), NULL, "digest"},
		{INDEX("", DESCRIPTOR("sha256:X", "1")), NULL, "digest"},
		{PLATFORM("{\"os\":7}"), NULL, "platform"},
		{PLATFORM("{\"os\":\"0123456789012345678901234567890123456789\"}"), NULL,
		 "platform"},
		{PLATFORM("{\"variant\":\"0123456789012345\"}"), NULL, "platform"},
		/* What no engine can unpack, or must not. */
		{TYPED(LAYER("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "")),
		 NULL, "nondistributable"},
		{TYPED(LAYER("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "")),
		 NULL, "foreign"},
		{TYPED(LAYER("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", "")), NULL,
		 "encrypted"},
		{TYPED(LAYER("application/vnd.cncf.helm.chart.content.v1.tar+gzip", "")), NULL,
		 "helm"},
		{TYPED(LAYER("application/vnd.oci.image.layer.v1.tarxgzip", "")), NULL, "tarxgzip"},
		{TYPED("{\"mediaType\":7,\"digest\":\"" A "\",\"size\":7}"), NULL, "no text"},
		{TYPED(LAYER("application/vnd.oci.image.layer.v1.tar",
			     ",\"urls\":[\"http://169.254.169.254/\"]")),
		 NULL, "urls"},
		{TYPED(LAYER("", ",\"urls\":\"http://x/\"")), NULL, "urls"},
		{MANIFEST("", "{\"digest\":\"" A "\",\"size\":7,\"urls\":[\"x\"]}", ""), NULL,
		 "urls"},
		{INDEX("", "{\"digest\":\"" A "\",\"size\":7,\"urls\":[\"x\"]}"), NULL, "urls"},
		{MANIFEST("", CONFIG_OF("application/vnd.cncf.helm.config.v1+json", "7"), ""), NULL,
		 "no image"},
		{MANIFEST("", CONFIG_OF("application/vnd.oci.empty.v1+json", "2"), ""), NULL,
		 "no image"},
		{MANIFEST("", DESCRIPTOR(A, "1048577"), ""), NULL, "1048577 bytes"},
		/* What Go takes for another key, and we do not. */
		{"{\"schemaVersion\":2,\"config\":" DESCRIPTOR(A,
							       "7") ",\"layers\":[],\"Layers\":[]}",
		 NULL, "\"Layers\""},
		{"{\"schemaVersion\":2,\"config\":" DESCRIPTOR(
			 A, "7") ",\"layers\":[],\"layer\xc5\xbf\":[]}",
		 NULL, "misspelled"},
		{"{\"schemaVersion\":2,\"manifests\":[],\"MANIFESTS\":[]}", NULL, "\"MANIFESTS\""},
		{"{\"schemaVersion\":2,\"manifests\":[],\"Config\":{}}", NULL, "\"Config\""},
		{INDEX("", "{\"digest\":\"" A "\",\"size\":7,\"Digest\":\"" B "\"}"), NULL,
		 "\"Digest\""},
		{INDEX("", "{\"mediaType\":\"x/y\",\"mediatype\":\"" TYPE_MANIFEST "\"}"), NULL,
		 "\"mediatype\""},
		{PLATFORM("{\"os\":\"linux\",\"OS\":\"windows\"}"), NULL, "\"OS\""},
		{PLATFORM("{\"o\xc5\xbf\":\"linux\"}"), NULL, "misspelled"},
		{TYPED(DESCRIPTOR(A, "7") ",{\"digest\":\"" A "\",\"size\":7,\"Size\":8}"), NULL,
		 "\"Size\""},
		{"{\"schemaVersion\":2,\"manifests\":[],\"manifests\":[]}", NULL, "manifests"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		/* A contradicting Content-Type says nothing about the digest. */
		int code = strstr(cases[i].why, "the registry says") ? -EBADMSG : -EKEYREJECTED;
		struct oci_document d = {.n_layers = 4711};
		struct error e = {0};

		if (parse(cases[i].text, cases[i].type, &d, &e) != code)
			fail_msg("%s: %d", cases[i].text, e.code);
		assert_int_equal(d.n_layers, 4711);
		if (!strstr(e.text, cases[i].why))
			fail_msg("%s: %s", cases[i].text, e.text);
	}
}

/* Every single changed bit must be seen, and before anybody parses. */
static void test_hash_first(void **state)
{
	static const char good[] = TYPED(DESCRIPTOR(B, "5"));
	struct digest expected = hash_bytes(good, strlen(good));
	struct oci_document d = {0};
	struct error e = {0};

	for (size_t i = 0; i < strlen(good) * 8; i++) {
		char copy[sizeof(good)];

		memcpy(copy, good, sizeof(good));
		copy[i / 8] = (char)(copy[i / 8] ^ (1 << i % 8));
		assert_int_equal(oci_parse(copy, strlen(good), NULL, &expected, &d, &e), -EBADMSG);
		assert_non_null(strstr(e.text, "something else"));
	}
	assert_int_equal(oci_parse("{{{", 3, NULL, &expected, &d, &e), -EBADMSG);
	assert_non_null(strstr(e.text, "something else"));
	expected = (struct digest){0};
	assert_int_equal(oci_parse(good, strlen(good), NULL, &expected, &d, &e), -EBADMSG);
}

/* What a captive portal or a proxy sends is refused, but nothing is final about its digest. */
static void test_page(void **state)
{
	static const struct {
		const char *text, *type;
		int code;
	} cases[] = {
		{"<html>log in</html>", "text/html; charset=utf-8", -EBADMSG},
		{"{\"message\":\"log in\"}", "application/json", -EBADMSG},
		{"", "text/plain", -EBADMSG},
		{"<html>", TYPE_MANIFEST, -EKEYREJECTED},
		{"<html>", NULL, -EKEYREJECTED},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct oci_document d = {0};
		struct error e = {0};

		if (parse(cases[i].text, cases[i].type, &d, &e) != cases[i].code)
			fail_msg("%s: %s", cases[i].text, e.text);
		assert_true(cases[i].code == -EKEYREJECTED || strstr(e.text, "it was sent as "));
	}
}

static char *many(const char *first, const char *piece, size_t n, const char *last)
{
	char *text = xcalloc(strlen(first) + n * (strlen(piece) + 1) + strlen(last) + 1, 1);
	char *p = stpcpy(text, first);

	for (size_t i = 0; i < n; i++)
		p = stpcpy(stpcpy(p, i ? "," : ""), piece);
	(void)strcpy(p, last);
	return text;
}

static void test_counts(void **state)
{
	struct oci_document d = {0};
	struct error e = {0};

	for (size_t extra = 0; extra < 2; extra++) {
		_cleanup_free_ char *index =
			many("{\"schemaVersion\":2,\"manifests\":[", DESCRIPTOR(A, "1"),
			     OCI_INDEX_ENTRIES_MAX + extra, "]}");
		_cleanup_free_ char *layers =
			many("{\"schemaVersion\":2,\"config\":" DESCRIPTOR(A, "1") ",\"layers\":[",
			     DESCRIPTOR(A, "1"), OCI_LAYERS_MAX + extra, "]}");

		assert_int_equal(parse(index, NULL, &d, &e), extra ? -EKEYREJECTED : 0);
		oci_document_free(&d);
		assert_int_equal(parse(layers, NULL, &d, &e), extra ? -EKEYREJECTED : 0);
		oci_document_free(&d);
	}
}

static struct oci_platform platform(const char *text)
{
	struct oci_platform p = {0};
	char copy[96], *save = NULL, *word;

	strcpy(copy, text);
	word = strtok_r(copy, "/", &save);
	strcpy(p.os, word ? word : "");
	word = strtok_r(NULL, "/", &save);
	strcpy(p.architecture, word ? word : "");
	word = strtok_r(NULL, "/", &save);
	strcpy(p.variant, word ? word : "");
	return p;
}

static void test_rank_order(void **state)
{
	/* Every host and what it runs, best first; what is not named it does not run. */
	static const char *const all[] = {
		"linux/arm64",	  "linux/arm64/v8", "linux/arm64/v9", "linux/arm/v8",
		"linux/arm",	  "linux/arm/v7",   "linux/arm/7",    "linux/arm/v6",
		"linux/arm/v5",	  "linux/arm/v4",   "linux/amd64",    "linux/amd64/v2",
		"linux/amd64/v3", "linux/386",	    "windows/amd64",  "linux/armel",
		"linux/armhf",	  "linux/arm/x",    "linux/riscv64",  "/",
		"linux",
	};
	static const struct {
		const char *host;
		const char *runs[12]; /* groups of equals are parted by "" */
	} cases[] = {
		{"linux/arm64/v8",
		 {"linux/arm64", "linux/arm64/v8", "", "linux/arm/v8", "", "linux/arm",
		  "linux/arm/v7", "linux/arm/7", "linux/armhf", "", "linux/arm/v6", NULL}},
		{"linux/arm/v7",
		 {"linux/arm", "linux/arm/v7", "linux/arm/7", "linux/armhf", "", "linux/arm/v6",
		  "linux/armel", "", "linux/arm/v5", NULL}},
		{"linux/arm/v6", {"linux/arm/v6", "linux/armel", "", "linux/arm/v5", NULL}},
		{"linux/arm/v5", {"linux/arm/v5", NULL}},
		{"linux/amd64", {"linux/amd64", "", "linux/386", NULL}},
		{"linux/x86_64/v3",
		 {"linux/amd64/v3", "", "linux/amd64/v2", "", "linux/amd64", "", "linux/386",
		  NULL}},
		{"linux/riscv64", {"linux/riscv64", NULL}},
		{"linux/386", {"linux/386", NULL}},
		{"windows/amd64", {"windows/amd64", NULL}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct oci_platform host = platform(cases[i].host);
		unsigned int last = UINT32_MAX, runs = 0, named = 0;
		bool next = true;

		for (const char *const *p = cases[i].runs; *p; p++) {
			struct oci_platform other = platform(*p);
			unsigned int rank = oci_platform_rank(&host, &other);

			if (!**p) {
				next = true;
				continue;
			}
			named++;
			if (rank == 0 || (next ? rank >= last : rank != last))
				fail_msg("%s on %s: rank %u after %u", *p, cases[i].host, rank,
					 last);
			last = rank;
			next = false;
		}
		for (size_t k = 0; k < ARRAY_SIZE(all); k++) {
			struct oci_platform other = platform(all[k]);

			runs += oci_platform_rank(&host, &other) > 0;
		}
		if (i > 0) /* the first names its best only */
			assert_int_equal(runs, named);
	}
}

static void test_choose(void **state)
{
	struct oci_entry entries[] = {
		{.platform = platform("linux/arm/v6"), .size = 1},
		{.platform = platform("linux/arm/v7"), .size = 2},
		{.platform = platform("linux/arm/v7"), .size = 3},
		{.platform = platform("unknown/unknown"), .size = 4},
		{.size = 5},
	};
	struct oci_document d = {.is_index = true, .entries = entries, .n_entries = 5};
	struct oci_platform v7 = platform("linux/arm/v7"), v6 = platform("linux/arm/v6");
	struct oci_platform amd64 = platform("linux/amd64"), none = {0};

	assert_int_equal(oci_choose(&d, &v7)->size, 2);
	assert_int_equal(oci_choose(&d, &v6)->size, 1);
	assert_null(oci_choose(&d, &amd64));
	assert_null(oci_choose(&d, &none));
	d.n_entries = 0;
	assert_null(oci_choose(&d, &v7));
}

static void test_text(void **state)
{
	struct oci_platform p = platform("linux/arm/v7"), q = platform("linux/amd64");
	char buf[96], small[8];

	assert_string_equal(oci_platform_text(&p, buf, sizeof(buf)), "linux/arm/v7");
	assert_string_equal(oci_platform_text(&q, buf, sizeof(buf)), "linux/amd64");
	assert_string_equal(oci_platform_text(&p, small, sizeof(small)), "linux/a");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_version),	      cmocka_unit_test(test_manifest),
		cmocka_unit_test(test_index),	      cmocka_unit_test(test_untyped),
		cmocka_unit_test(test_layer_types),   cmocka_unit_test(test_embedded),
		cmocka_unit_test(test_embedded_size), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_hash_first),    cmocka_unit_test(test_page),
		cmocka_unit_test(test_counts),	      cmocka_unit_test(test_rank_order),
		cmocka_unit_test(test_choose),	      cmocka_unit_test(test_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
