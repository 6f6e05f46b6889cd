/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "crypto.h"
#include "image-config.h"
#include "test.h"

#define A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

#define CONFIG(ids)	  "{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[" ids "]}}"
#define CONFIG_WITH(more) "{" more ",\"rootfs\":{\"diff_ids\":[\"" A "\"]}}"

static int parse(const char *text, size_t n_diffs, const struct digest *layers, size_t n_layers,
		 struct image_config *ret, struct error *e)
{
	struct digest d = hash_bytes(text, strlen(text));

	return image_config_parse(text, strlen(text), &d, n_diffs, layers, n_layers, ret, e);
}

static void test_shared_layers(void **state)
{
	static const struct {
		const char *config;
		size_t n_diffs;
		const char *here[3];
		size_t shared;
	} cases[] = {
		{CONFIG("\"" A "\",\"" B "\""), 2, {A, B}, 2},
		{CONFIG("\"" A "\",\"" B "\""), 2, {A, B, A}, 2},
		{CONFIG("\"" A "\",\"" B "\""), 2, {A}, 1},
		{CONFIG("\"" A "\",\"" B "\""), 2, {A, A}, 1},
		/* Upon another one it is another one. */
		{CONFIG("\"" A "\",\"" B "\""), 2, {B, B}, 0},
		{CONFIG("\"" A "\",\"" B "\""), 2, {NULL}, 0},
		{CONFIG(""), 0, {A}, 0},
		{"{}", 0, {A}, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct image_config c = {.shared = 99};
		struct error e = {0};
		struct digest here[3];
		size_t n = 0;

		for (; n < 3 && cases[i].here[n]; n++)
			assert_int_equal(digest_parse(cases[i].here[n], &here[n]), 0);
		if (parse(cases[i].config, cases[i].n_diffs, here, n, &c, &e) < 0)
			fail_msg("case %zu: %s", i, e.text);
		if (c.shared != cases[i].shared)
			fail_msg("case %zu: %zu", i, c.shared);
		assert_int_equal(digest_is_set(&c.chain), cases[i].n_diffs > 0);
	}
}

/* The labels are not parsed: what is no short text under that key is no version, and nothing else. */
static void test_version(void **state)
{
	static const struct {
		const char *text, *version;
	} cases[] = {
		{CONFIG_WITH("\"config\":{\"Labels\":{\"" VERSION_LABEL "\":\"1.4.2\"}}"), "1.4.2"},
		{CONFIG_WITH("\"config\":{\"Labels\":{\"" VERSION_LABEL "\":  \"1.4.2\"}}"),
		 "1.4.2"},
		{CONFIG_WITH("\"config\":{\"Labels\":{\"" VERSION_LABEL "\":[[[\"1\"]]]}}"), ""},
		{CONFIG_WITH("\"config\":{\"Labels\":{\"" VERSION_LABEL "\":\"\\u001b[2J\"}}"), ""},
		{CONFIG_WITH("\"author\":\"\\\"" VERSION_LABEL "\\\":\\\"6\\\"\""), ""},
		{CONFIG_WITH("\"author\":\"a\""), ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct image_config c = {.version = "?"};
		struct error e = {0};

		if (parse(cases[i].text, 1, NULL, 0, &c, &e) < 0)
			fail_msg("case %zu: %s", i, e.text);
		assert_string_equal(c.version, cases[i].version);
	}
}

/* The vectors are of containerd's identity.ChainID. */
static void test_chain(void **state)
{
	struct digest two = hash_bytes(A " " B, strlen(A " " B));
	char text[3 * sizeof(two.text)];
	struct digest three;
	json_t *j = json_pack("[s, s]", A, B);
	struct digest d = image_config_chain(j);

	assert_string_equal(d.text, two.text);
	(void)snprintf(text, sizeof(text), "%s %s", two.text, A);
	three = hash_bytes(text, strlen(text));
	json_append(j, json_string(A));
	d = image_config_chain(j);
	assert_string_equal(d.text, three.text);
	json_append(j, json_integer(7));
	d = image_config_chain(j);
	assert_false(digest_is_set(&d));
	json_decref(j);
	d = image_config_chain(NULL);
	assert_false(digest_is_set(&d));
}

static void test_platform(void **state)
{
	struct image_config c = {0};
	struct error e = {0};

	assert_int_equal(
		parse(CONFIG_WITH("\"os\":\"linux\",\"architecture\":\"arm\",\"variant\":\"v6\","
				  "\"config\":{\"Labels\":{\"OS\":\"x\",\"rootfs\":\"y\"}}"),
		      1, NULL, 0, &c, &e),
		0);
	assert_string_equal(c.platform.os, "linux");
	assert_string_equal(c.platform.architecture, "arm");
	assert_string_equal(c.platform.variant, "v6");
}

static void test_refused(void **state)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{"", "image config"},
		{"[]", "layers"},
		{"{}", "1 layers"},
		{CONFIG(""), "1 layers"},
		{CONFIG("7"), "1 layers"},
		{CONFIG("\"" A "\",\"" B "\""), "1 layers"},
		{CONFIG_WITH("\"architecture\":7"), "architecture"},
		{CONFIG_WITH("\"Architecture\":\"s390x\""), "\"Architecture\""},
		{CONFIG_WITH("\"o\xc5\xbf\":\"windows\""), "misspelled"},
		{CONFIG_WITH("\"RootFS\":{\"diff_ids\":[]}"), "\"RootFS\""},
		{CONFIG_WITH("\"Config\":{\"Cmd\":[\"x\"]}"), "\"Config\""},
		{CONFIG_WITH("\"os\":\"linux\",\"os\":\"linux\""), "os"},
		{"{\"rootfs\":{\"diff_ids\":[\"" A "\"],\"Diff_IDs\":[]}}", "\"Diff_IDs\""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct image_config c = {.shared = 99};
		struct digest other = {A};
		struct error e = {0};

		if (parse(cases[i].text, 1, NULL, 0, &c, &e) != -EKEYREJECTED)
			fail_msg("%s: %s", cases[i].text, e.text);
		if (!strstr(e.text, cases[i].why))
			fail_msg("%s: %s", cases[i].text, e.text);
		assert_int_equal(c.shared, 99);
		/* Not what was asked for: that says nothing about the digest. */
		assert_int_equal(image_config_parse(cases[i].text, strlen(cases[i].text), &other, 1,
						    NULL, 0, &c, &e),
				 -EBADMSG);
	}
}

static char *filled(const char *before, char c, size_t n, const char *after)
{
	char *text = xmalloc(strlen(before) + n + strlen(after) + 1), *p = stpcpy(text, before);

	memset(p, c, n);
	(void)strcpy(p + n, after);
	return text;
}

/* Labels end in the engine's answers, again and again. Ports do, too; but an honest image has 16,000 of them. */
static void test_size(void **state)
{
	static const char rest[] = "\"}},\"rootfs\":{\"diff_ids\":[\"" A "\"]}}";
	_cleanup_free_ char *well = filled("{\"config\":{\"Labels\":{\"x\":\"", 'y', 200000, rest);
	_cleanup_free_ char *large = filled("{\"config\":{\"Labels\":{\"x\":\"", 'y', 300000, rest);
	_cleanup_free_ char *ports = filled("{\"config\":{\"ExposedPorts\":{\"x\":{}", ' ', 900000,
					    "}},\"rootfs\":{\"diff_ids\":[\"" A "\"]}}");
	struct image_config c = {0};
	struct error e = {0};

	assert_int_equal(parse(well, 1, NULL, 0, &c, &e), 0);
	assert_int_equal(parse(ports, 1, NULL, 0, &c, &e), 0);
	assert_int_equal(parse(large, 1, NULL, 0, &c, &e), -EKEYREJECTED);
	assert_non_null(strstr(e.text, "more than the 262144 that are taken"));
}

static void test_diff_ids(void **state)
{
	static const char text[] = CONFIG("\"" B "\",\"" A "\"");
	struct digest ids[3];
	struct error e;

	assert_int_equal(image_config_diff_ids(text, strlen(text), ids, 2, &e), 0);
	assert_string_equal(ids[0].text, B);
	assert_string_equal(ids[1].text, A);
	assert_int_equal(image_config_diff_ids(text, strlen(text), ids, 3, &e), -EKEYREJECTED);
	assert_string_equal(e.text, "the image's config has no DiffID of layer 3");
	assert_int_equal(image_config_diff_ids("{}", 2, ids, 1, &e), -EKEYREJECTED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shared_layers), cmocka_unit_test(test_chain),
		cmocka_unit_test(test_platform),      cmocka_unit_test(test_refused),
		cmocka_unit_test(test_size),	      cmocka_unit_test(test_version),
		cmocka_unit_test(test_diff_ids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
