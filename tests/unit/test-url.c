/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "test.h"
#include "url.h"

static void test_good(void **state)
{
	static const struct {
		const char *text, *again;
		unsigned int port;
	} cases[] = {
		{"https://r.io/v2/", "https://r.io/v2/", 443},
		{"HTTPS://R.io", "https://r.io/", 443},
		{"http://r.io?a=b", "http://r.io/?a=b", 80},
		{"https://r.io:443/x#y", "https://r.io/x", 443},
		{"https://r.io:8443/x?y=z", "https://r.io:8443/x?y=z", 8443},
		{"http://[::1]:5000/", "http://[::1]:5000/", 5000},
		{"http://127.0.0.1/a@b", "http://127.0.0.1/a@b", 80},
		{"https://r.io/a/../b/./c", "https://r.io/b/c", 443},
		{"https://r_1.io/%2e%2e/?", "https://r_1.io/%2e%2e/", 443},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *text = NULL;
		struct url u = {0};

		assert_int_equal(url_parse(cases[i].text, &u), 0);
		text = url_text(&u);
		assert_string_equal(text, cases[i].again);
		assert_int_equal(u.port, cases[i].port);
		url_free(&u);
	}
}

static void test_bad(void **state)
{
	static const char *const cases[] = {
		"",
		"r.io",
		"/x",
		"//r.io/x",
		"ftp://r.io/",
		"file:///etc/passwd",
		"https:/r.io",
		"https://",
		"https:///x",
		"https://:80/",
		"https://user@r.io/",
		"https://user:pw@r.io/",
		"https://r.io:0/",
		"https://r.io:65536/",
		"https://r.io:99999999999/",
		"https://r.io:/",
		"https://r.io:8x/",
		"https://r.io:80:80/",
		"https://r.io\\@evil/",
		"https://r.io /",
		"https://r.io/a b",
		"https://r.io/\r\nX: y",
		"https://r.io/\303\274",
		"https://r.io%2eevil/",
		"https://r.io:080/",
		"https://0.0.1/",
		"https://0x7f.0.0.1/",
		"https://2130706433/",
		"https:////r.io/",
		"https://r.io|evil/",
		"https://[::1/",
		"https://[::1]x/",
		"https://[]/",
		"https://[::g]/",
		"https://[::1%25eth0]/",
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct url u = {.port = 4711};

		if (url_parse(cases[i], &u) != -EINVAL)
			fail_msg("\"%s\" was taken", cases[i]);
		assert_int_equal(u.port, 4711);
	}
}

static void test_too_long(void **state)
{
	_cleanup_free_ char *text = xcalloc(URL_MAX + 100, 1);
	struct url u;

	memset(text, 'a', URL_MAX + 50);
	memcpy(text, "https://r.io/", 13);
	assert_int_equal(url_parse(text, &u), -EINVAL);
	text[URL_MAX] = '\0';
	assert_int_equal(url_parse(text, &u), 0);
	url_free(&u);
}

static void test_resolve(void **state)
{
	static const struct {
		const char *location, *result;
	} cases[] = {
		{"/x?y", "https://r.io:5000/x?y"},
		{"//other/x", "https://other/x"},
		{"http://other/x", "http://other/x"},
		{"https://r.io:5000/y", "https://r.io:5000/y"},
		{"x", NULL},
		{"", NULL},
		{"?x", NULL},
		{"//", NULL},
		{"/\\evil", NULL},
		{"file:///x", NULL},
	};
	struct url base;

	assert_int_equal(url_parse("https://r.io:5000/v2/a", &base), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *text = NULL;
		struct url u = {0};
		int r = url_resolve(&base, cases[i].location, &u);

		assert_int_equal(r, cases[i].result ? 0 : -EINVAL);
		if (r < 0)
			continue;
		text = url_text(&u);
		assert_string_equal(text, cases[i].result);
		url_free(&u);
	}
	url_free(&base);
}

static bool same(const char *a, const char *b)
{
	struct url ua, ub;
	bool r;

	assert_int_equal(url_parse(a, &ua), 0);
	assert_int_equal(url_parse(b, &ub), 0);
	r = url_same_origin(&ua, &ub);
	url_free(&ua);
	url_free(&ub);
	return r;
}

static void test_origin(void **state)
{
	assert_true(same("https://r.io/a", "https://R.IO:443/b"));
	assert_false(same("https://r.io/", "http://r.io/"));
	assert_false(same("https://r.io/", "http://r.io:443/"));
	assert_false(same("https://r.io/", "https://r.io:444/"));
	assert_false(same("https://r.io/", "https://r.io./"));
	assert_false(same("https://r.io/", "https://x.r.io/"));
}

static void test_encode(void **state)
{
	_cleanup_free_ char *text = url_encode("aZ09-._~ /:?&=%+\n\303\274", "");

	assert_string_equal(text, "aZ09-._~%20%2F%3A%3F%26%3D%25%2B%0A%C3%BC");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),	 cmocka_unit_test(test_bad),
		cmocka_unit_test(test_too_long), cmocka_unit_test(test_resolve),
		cmocka_unit_test(test_origin),	 cmocka_unit_test(test_encode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
