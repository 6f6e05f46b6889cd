/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "credential.h"
#include "test.h"

static char path[64];

static int set_up(void **state)
{
	if (open_scratch(state) < 0)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/config.json", scratch_path);
	return 0;
}

static int tear_down(void **state)
{
	(void)unlink(path);
	return close_scratch(state);
}

static void put(const char *text, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write_all(fd, text, strlen(text)), 0);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void test_found(void **state)
{
	static const struct {
		const char *json, *host, *username, *password, *token;
	} cases[] = {
		/* printf jo:pa:ss | base64 */
		{"{\"auths\":{\"r.io:5000\":{\"auth\":\"am86cGE6c3M=\"}}}", "r.io:5000", "jo",
		 "pa:ss", NULL},
		{"{\"auths\":{\"https://r.io\":{\"auth\":\"am86cGE6c3M=\"}}}", "r.io", "jo",
		 "pa:ss", NULL},
		{"{\"auths\":{\"http://r.io/v1/\":{\"auth\":\"am86cGE6c3M=\"}}}", "r.io", "jo",
		 "pa:ss", NULL},
		{"{\"auths\":{\"R.io/team\":{\"auth\":\"am86cGE6c3M=\"}}}", "r.io", "jo", "pa:ss",
		 NULL},
		{"{\"auths\":{\"https://index.docker.io/v1/\":{\"auth\":\"am86cGE6c3M=\"}}}",
		 "docker.io", "jo", "pa:ss", NULL},
		{"{\"auths\":{\"docker.io\":{\"auth\":\"am86cGE6c3M=\"}}}", "docker.io", "jo",
		 "pa:ss", NULL},
		{"{\"auths\":{\"r.io\":{\"username\":\"jo\",\"password\":\"\"}}}", "r.io", "jo", "",
		 NULL},
		{"{\"auths\":{\"https://r.io\":{\"auth\":\"eDp5\"},"
		 "\"r.io\":{\"auth\":\"am86cGE6c3M=\"}}}",
		 "r.io", "jo", "pa:ss", NULL},
		{"{\"auths\":{\"r.io\":{\"auth\":\"PHRva2VuPjo=\",\"identitytoken\":\"tok\"}}}",
		 "r.io", NULL, NULL, "tok"},
		/* not there */
		{"{\"auths\":{}}", "r.io", NULL, NULL, NULL},
		{"{\"auths\":{\"r.io:5000\":{\"auth\":\"eDp5\"}}}", "r.io", NULL, NULL, NULL},
		{"{\"auths\":{\"r.io\":{\"auth\":\"eDp5\"}}}", "r.io:5000", NULL, NULL, NULL},
		{"{\"auths\":{\"r.io.evil\":{\"auth\":\"eDp5\"}}}", "r.io", NULL, NULL, NULL},
		{"{\"auths\":{\"https://r.io@evil/\":{\"auth\":\"eDp5\"}}}", "r.io", NULL, NULL,
		 NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct credential c = {0};
		struct error e = {0};

		put(cases[i].json, 0600);
		if (credential_load(path, cases[i].host, &c, &e) < 0)
			fail_msg("%s: %s", cases[i].json, e.text);
		if (!streq_null(c.username, cases[i].username) ||
		    !streq_null(c.password, cases[i].password) ||
		    !streq_null(c.identity_token, cases[i].token))
			fail_msg("%s", cases[i].json);
		assert_int_equal(credential_is_set(&c), cases[i].username || cases[i].token);
		credential_free(&c);
	}
}

static void test_broken(void **state)
{
	static const struct {
		const char *json;
		int code;
	} cases[] = {
		{"", -EBADMSG},
		{"[]", -EBADMSG},
		{"{}", -EBADMSG},
		{"{\"auths\":[]}", -EBADMSG},
		{"{\"auths\":{\"r.io\":{}}}", -EBADMSG},
		{"{\"auths\":{\"r.io\":{}},\"credsStore\":\"pass\"}", -EBADMSG},
		{"{\"auths\":{\"r.io\":7}}", -EBADMSG},
		{"{\"auths\":{\"r.io\":{\"auth\":\"am8=\"}}}", -EBADMSG},     /* jo */
		{"{\"auths\":{\"r.io\":{\"auth\":\"OnB3\"}}}", -EBADMSG},     /* :pw */
		{"{\"auths\":{\"r.io\":{\"auth\":\"am86AHB3\"}}}", -EBADMSG}, /* jo:\0pw */
		{"{\"auths\":{\"r.io\":{\"auth\":\"am86cGE6c3M\"}}}", -EBADMSG},
		{"{\"auths\":{\"r.io\":{\"auth\":\"am86 cGE6c3M=\"}}}", -EBADMSG},
		{"{\"auths\":{\"r.io\":{\"auth\":\"a===\"}}}", -EBADMSG},
		{"{\"auths\":{\"r.io\":{\"auth\":\"====\"}}}", -EBADMSG},
		{"{\"auths\":{\"r.io\":{\"auth\":\"am8_cGE6c3M=\"}}}", -EBADMSG},
		{"{\"auths\":{\"r.io\":{\"username\":\"jo\"}}}", -EBADMSG},
		{"{\"auths\":{\"r.io\":{\"username\":\"j:o\",\"password\":\"x\"}}}", -EBADMSG},
		{"{\"secret\":\"hunter2\" oops}", -EBADMSG},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct credential c = {.username = (char *)"untouched"};
		struct error e = {0};

		put(cases[i].json, 0600);
		if (credential_load(path, "r.io", &c, &e) != cases[i].code)
			fail_msg("%s: %s", cases[i].json, e.text);
		assert_string_equal(c.username, "untouched");
		assert_non_null(strstr(e.text, path));
		assert_null(strstr(e.text, "hunter2"));
	}
}

static void test_file(void **state)
{
	static const mode_t bad[] = {0620, 0602, 0666};
	_cleanup_free_ char *big = xmalloc(300 * 1024);
	struct credential c = {0};
	struct error e;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		put("{\"auths\":{}}", bad[i]);
		assert_int_equal(credential_load(path, "r.io", &c, &e), -EPERM);
	}
	put("{\"auths\":{}}", 0444);
	assert_int_equal(credential_load(path, "r.io", &c, &e), 0);
	memset(big, ' ', 300 * 1024);
	big[300 * 1024 - 1] = '\0';
	put(big, 0600);
	assert_int_equal(credential_load(path, "r.io", &c, &e), -EFBIG);
	assert_int_equal(credential_load("/nonexistent/x", "r.io", &c, &e), -ENOENT);
	assert_int_equal(credential_load(scratch_path, "r.io", &c, &e), -EISDIR);
	assert_int_equal(credential_load(NULL, "r.io", &c, &e), 0);
	assert_false(credential_is_set(&c));
	if (geteuid() == 0) {
		put("{\"auths\":{}}", 0600);
		assert_int_equal(chown(path, 12345, 0), 0);
		assert_int_equal(credential_load(path, "r.io", &c, &e), -EPERM);
	}
}

static void test_headers(void **state)
{
	/* bytes that make + and / in ordinary base64 */
	struct credential c = {.username = (char *)"jo", .password = (char *)"~~~??\?>>>"};
	struct credential t = {.identity_token = (char *)"tok"}, none = {0};
	char *header;

	/* printf '{"username":"jo","password":"~~~???>>>","serveraddress":"r.io:5000"}' |
	 * basenc --base64url */
	header = credential_engine_header(&c, "r.io:5000");
	assert_string_equal(header,
			    "eyJ1c2VybmFtZSI6ImpvIiwicGFzc3dvcmQiOiJ-fn4_Pz8-Pj4iLCJzZXJ2ZXJhZGRy"
			    "ZXNzIjoici5pbzo1MDAwIn0=");
	free(header);
	/* {"identitytoken":"tok","serveraddress":"https://index.docker.io/v1/"} */
	header = credential_engine_header(&t, "docker.io");
	assert_string_equal(header,
			    "eyJpZGVudGl0eXRva2VuIjoidG9rIiwic2VydmVyYWRkcmVzcyI6Imh0dHBzOi8vaW5k"
			    "ZXguZG9ja2VyLmlvL3YxLyJ9");
	free(header);
	assert_null(credential_engine_header(&none, "r.io"));
	header = credential_basic(&c);
	assert_string_equal(header, "Authorization: Basic am86fn5+Pz8/Pj4+");
	free(header);
	assert_null(credential_basic(&t));
	assert_null(credential_basic(&none));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_found),
		cmocka_unit_test(test_broken),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_headers),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
