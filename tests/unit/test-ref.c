/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "ref.h"
#include "test.h"

static void test_good(void **state)
{
	static const struct {
		const char *text, *host, *path, *tag;
	} cases[] = {
		{"hello-world", "docker.io", "library/hello-world", "latest"},
		{"hello:1", "docker.io", "library/hello", "1"},
		{"team/app", "docker.io", "team/app", "latest"},
		{"docker.io/app", "docker.io", "library/app", "latest"},
		{"docker.io/library/app", "docker.io", "library/app", "latest"},
		{"index.docker.io/app:x", "docker.io", "library/app", "x"},
		{"localhost/app", "localhost", "app", "latest"},
		{"localhost:5000/app:v1", "localhost:5000", "app", "v1"},
		{"registry.example:5000/a/b/c:stable", "registry.example:5000", "a/b/c", "stable"},
		{"Registry.Example/app", "Registry.Example", "app", "latest"},
		{"127.0.0.1:5000/app", "127.0.0.1:5000", "app", "latest"},
		{"[::1]:5000/app:t", "[::1]:5000", "app", "t"},
		{"[2001:db8::1]/app", "[2001:db8::1]", "app", "latest"},
		{"host.:80/a", NULL, NULL, NULL},
		{"a.b/c__d/e-f--g/h.i/j_k:T_1.-", "a.b", "c__d/e-f--g/h.i/j_k", "T_1.-"},
		{"host:5000", "docker.io", "library/host", "5000"},
		{"r.io:65535/a:_", "r.io:65535", "a", "_"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *why = NULL;
		struct ref r = {0};
		int q = ref_parse(cases[i].text, &r, &why);

		if (!cases[i].host) {
			assert_int_equal(q, -EINVAL);
			continue;
		}
		assert_int_equal(q, 0);
		assert_string_equal(r.text, cases[i].text);
		assert_string_equal(r.host, cases[i].host);
		assert_string_equal(r.path, cases[i].path);
		assert_string_equal(r.tag, cases[i].tag);
		assert_false(digest_is_set(&r.digest));
		ref_free(&r);
	}
}

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void test_digests(void **state)
{
	const char *why = NULL;
	struct ref r = {0};
	_cleanup_free_ char *pinned = NULL;

	assert_int_equal(ref_parse("r.io/app@sha256:" HEX64, &r, &why), 0);
	assert_null(r.tag);
	assert_string_equal(r.digest.text, "sha256:" HEX64);
	assert_null(ref_tagged(&r));
	pinned = ref_pinned(&r, &r.digest);
	assert_string_equal(pinned, "r.io/app@sha256:" HEX64);
	ref_free(&r);
	assert_int_equal(ref_parse("r.io/app:1@sha256:" HEX64, &r, &why), 0);
	assert_string_equal(r.tag, "1");
	assert_true(digest_is_set(&r.digest));
	ref_free(&r);
}

static void test_bad(void **state)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{"", "empty"},
		{"Upper", "lower case"},
		{"r.io/Upper", "lower case"},
		{"Upper/app", "lower case"},
		{"r.io/", "missing"},
		{"r.io//a", "empty component"},
		{"r.io/a/", "empty component"},
		{"/a", "empty component"},
		{"a//b", "empty component"},
		{"r.io/..", "single separators"},
		{"r.io/../etc", "single separators"},
		{"r.io/a..b", "single separators"},
		{"r.io/a___b", "single separators"},
		{"r.io/a.-b", "single separators"},
		{"r.io/-a", "single separators"},
		{"r.io/a-", "single separators"},
		{"r.io/a b", "single separators"},
		{"r.io/a\nb", "single separators"},
		{"r.io/\303\244", "single separators"},
		{"r.io/a?b", "single separators"},
		{"r.io/a%2fb", "single separators"},
		{"r.io/a:", "tag is empty"},
		{"r.io/a:-x", "tag may"},
		{"r.io/a:.x", "tag may"},
		{"r.io/a:b:c", "tag may"},
		{"r.io/a:b c", "tag may"},
		{"r.io/a@", "digest"},
		{"r.io/a@sha256:abc", "digest"},
		{"r.io/a@sha512:" HEX64, "digest"},
		{"r.io/a@sha256:" HEX64 "@sha256:" HEX64, "digest"},
		{"r.io/a@sha256:../" HEX64, "digest"},
		{"r.io:0/a", "port"},
		{"r.io:65536/a", "port"},
		{"r.io:4294967376/a", "port"}, /* 80 in 32 bits */
		{"r.io:/a", "port"},
		{"https://r.io/a:1", "has no scheme"},
		{"r.io:5x/a", "port"},
		{"[::1]5000/a:b", "port"},
		{"[::1]:/a", "port"},
		{"[::g]/a:b", "IPv6"},
		{"[:]/a", "IPv6"},
		{"-r.io/a", "host name"},
		{"r-.io/a", "host name"},
		{"r..io/a", "host name"},
		{"us er@r.io/a", "digest"},
		{"http://r.io/a", "has no scheme"},
		{HEX64, "image Id"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *why = NULL;
		struct ref r = {.text = (char *)"untouched"};

		if (ref_parse(cases[i].text, &r, &why) != -EINVAL)
			fail_msg("\"%s\" was taken", cases[i].text);
		assert_string_equal(r.text, "untouched");
		if (!strstr(why, cases[i].why))
			fail_msg("\"%s\": %s", cases[i].text, why);
	}
}

static int parse_of_length(size_t path, size_t tag)
{
	_cleanup_free_ char *p = xcalloc(path + 1, 1), *t = xcalloc(tag + 1, 1), *text = NULL;
	const char *why = NULL;
	struct ref r = {0};
	int q;

	memset(p, 'a', path);
	memset(t, 'b', tag);
	text = xasprintf("r.io/%s:%s", p, t);
	q = ref_parse(text, &r, &why);
	ref_free(&r);
	return q;
}

static void test_lengths(void **state)
{
	assert_int_equal(parse_of_length(250, 128), 0);
	assert_int_equal(parse_of_length(251, 128), -EINVAL);
	assert_int_equal(parse_of_length(250, 129), -EINVAL);
	assert_int_equal(parse_of_length(100000, 1), -EINVAL);
}

static void test_names(void **state)
{
	static const struct {
		const char *text, *repository, *tagged;
	} cases[] = {
		{"hello-world", "docker.io/library/hello-world", "hello-world:latest"},
		{"docker.io/team/app:1", "docker.io/team/app", "team/app:1"},
		{"r.io/library/app:1", "r.io/library/app", "r.io/library/app:1"},
		/* short, they would name other images */
		{"docker.io/a.b/app", "docker.io/a.b/app", "docker.io/a.b/app:latest"},
		{"docker.io/localhost/app", "docker.io/localhost/app",
		 "docker.io/localhost/app:latest"},
		{"docker.io/" HEX64, "docker.io/library/" HEX64,
		 "docker.io/library/" HEX64 ":latest"},
		{"docker.io/localhost", "docker.io/library/localhost", "localhost:latest"},
		{"library/a/b", "docker.io/library/a/b", "library/a/b:latest"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *repository = NULL, *tagged = NULL;
		const char *why = NULL;
		struct ref r = {0};

		assert_int_equal(ref_parse(cases[i].text, &r, &why), 0);
		repository = ref_repository(&r);
		tagged = ref_tagged(&r);
		assert_string_equal(repository, cases[i].repository);
		assert_string_equal(tagged, cases[i].tagged);
		ref_free(&r);
	}
}

static void test_loopback(void **state)
{
	static const char *const yes[] = {"localhost",	    "LocalHost:5000", "127.0.0.1",
					  "127.255.1.2:80", "[::1]",	      "[::1]:5000"};
	static const char *const no[] = {"localhost.example",
					 "127.0.0.1.example",
					 "128.0.0.1",
					 "[::2]",
					 "[::ffff:10.0.0.1]",
					 "127.1",
					 "",
					 "10.0.0.1:127"};

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++)
		assert_true(ref_host_is_loopback(yes[i]));
	for (size_t i = 0; i < ARRAY_SIZE(no); i++)
		assert_false(ref_host_is_loopback(no[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),  cmocka_unit_test(test_digests),
		cmocka_unit_test(test_bad),   cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_names), cmocka_unit_test(test_loopback),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
