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
	int fd;

	(void)unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write_all(fd, text, strlen(text)), 0);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static const struct credential *find(struct credentials *set, const char *json, const char *host,
				     const char *repository)
{
	struct error e = {0};

	put(json, 0600);
	if (credentials_load(path, host, set, &e) < 0)
		fail_msg("%s: %s", json, e.text);
	return credentials_find(set, repository);
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
		{"{\"auths\":{\"r.io/v2/\":{\"auth\":\"am86cGE6c3M=\"}}}", "r.io", "jo", "pa:ss",
		 NULL},
		{"{\"auths\":{\"r.io/\":{\"auth\":\"am86cGE6c3M=\"}}}", "r.io", "jo", "pa:ss",
		 NULL},
		{"{\"auths\":{\"https://r.io/team\":{\"auth\":\"am86cGE6c3M=\"}}}", "r.io", "jo",
		 "pa:ss", NULL},
		{"{\"auths\":{\"https://index.docker.io/v1/\":{\"auth\":\"am86cGE6c3M=\"}}}",
		 "docker.io", "jo", "pa:ss", NULL},
		{"{\"auths\":{\"docker.io\":{\"auth\":\"am86cGE6c3M=\"}}}", "docker.io", "jo",
		 "pa:ss", NULL},
		{"{\"auths\":{\"registry-1.docker.io\":{\"auth\":\"am86cGE6c3M=\"}}}", "docker.io",
		 "jo", "pa:ss", NULL},
		{"{\"auths\":{\"[::1]:5000\":{\"auth\":\"am86cGE6c3M=\"}}}", "[::1]:5000", "jo",
		 "pa:ss", NULL},
		{"{\"auths\":{\"r.io\":{\"username\":\"jo\",\"password\":\"\"}}}", "r.io", "jo", "",
		 NULL},
		{"{\"auths\":{\"r.io\":{\"auth\":\"am86\"}}}", "r.io", "jo", "", NULL},
		{"{\"auths\":{\"r.io\":{\"auth\":\"am86cHcAAA==\"}}}", "r.io", "jo", "pw", NULL},
		/* What "docker login" wrote, beside an old key and the tokens of a login by web. */
		{"{\"auths\":{\"docker.io\":{\"auth\":\"eDp5\"},"
		 "\"https://index.docker.io/v1/access-token\":{\"auth\":\"eDp5\"},"
		 "\"https://index.docker.io/v1/\":{\"auth\":\"am86cGE6c3M=\"}}}",
		 "docker.io", "jo", "pa:ss", NULL},
		{"{\"auths\":{\"https://r.io\":{\"auth\":\"eDp5\"},"
		 "\"r.io\":{\"auth\":\"am86cGE6c3M=\"}}}",
		 "r.io", "jo", "pa:ss", NULL},
		{"{\"auths\":{\"r.io\":{\"auth\":\"PHRva2VuPjo=\",\"identitytoken\":\"tok\"}}}",
		 "r.io", NULL, NULL, "tok"},
		{"{\"auths\":{\"r.io\":{\"auth\":\"eDp5\"}},\"credsStore\":\"pass\"}", "r.io", "x",
		 "y", NULL},
		/* not there */
		{"{\"auths\":{}}", "r.io", NULL, NULL, NULL},
		{"{\"auths\":{\"r.io:5000\":{\"auth\":\"eDp5\"}}}", "r.io", NULL, NULL, NULL},
		{"{\"auths\":{\"r.io\":{\"auth\":\"eDp5\"}}}", "r.io:5000", NULL, NULL, NULL},
		{"{\"auths\":{\"r.io.evil\":{\"auth\":\"eDp5\"}}}", "r.io", NULL, NULL, NULL},
		{"{\"auths\":{\"https://r.io@evil/\":{\"auth\":\"eDp5\"}}}", "r.io", NULL, NULL,
		 NULL},
		{"{\"auths\":{\"r.io/team\":{\"auth\":\"eDp5\"}}}", "r.io", NULL, NULL, NULL},
		{"{\"auths\":{},\"credHelpers\":{\"other.io\":\"pass\"}}", "r.io", NULL, NULL,
		 NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct credentials set;
		const struct credential *c = find(&set, cases[i].json, cases[i].host, "other/app");

		if (c->faulty || !streq_null(c->username, cases[i].username) ||
		    !streq_null(c->password, cases[i].password) ||
		    !streq_null(c->identity_token, cases[i].token))
			fail_msg("%s: %s", cases[i].json, c->hint);
		assert_int_equal(credential_is_set(c), cases[i].username || cases[i].token);
		assert_non_null(strstr(c->hint, path));
		credentials_free(&set);
	}
}

/* containers-auth.json(5); docker/cli sends any of a host's. Case 18. */
static void test_the_longest_key_counts(void **state)
{
	static const char json[] = "{\"auths\":{\"r.io\":{\"auth\":\"YTpi\"}," /* a:b */
				   "\"r.io/team\":{\"auth\":\"Yzpk\"},"	       /* c:d */
				   "\"r.io/team/app/\":{\"auth\":\"ZTpm\"},"   /* e:f */
				   "\"r.io/broken\":{},"
				   "\"other.io/team/app/x\":{\"auth\":\"Zzpo\"}}}";
	static const struct {
		const char *repository, *username;
	} cases[] = {{"team/app", "e"},	 {"team/app/x", "e"}, {"team/apple", "c"}, {"team", "c"},
		     {"teams/app", "a"}, {"app", "a"},	      {"broken/app", NULL}};
	struct credentials set;
	struct error e;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct credential *c = find(&set, json, "r.io", cases[i].repository);

		if (!streq_null(c->username, cases[i].username))
			fail_msg("%s: %s", cases[i].repository, c->username);
		assert_int_equal(credential_check(c, &e), c->username ? 0 : -EBADMSG);
		credentials_free(&set);
	}
	assert_non_null(strstr(find(&set, json, "r.io", "team/x")->hint, "\"r.io/team\" in "));
	credentials_free(&set);
}

static void test_registry_token(void **state)
{
	struct credentials set;
	const struct credential *c =
		find(&set, "{\"auths\":{\"r.io\":{\"registrytoken\":\"ab.cd-e\"}}}", "r.io", "app");
	_cleanup_free_ char *header = credential_engine_header(c, "r.io");

	assert_string_equal(c->registry_token, "ab.cd-e");
	assert_true(credential_is_set(c));
	assert_null(c->basic);
	/* {"registrytoken":"ab.cd-e","serveraddress":"r.io"} */
	assert_string_equal(header,
			    "eyJyZWdpc3RyeXRva2VuIjoiYWIuY2QtZSIsInNlcnZlcmFkZHJlc3MiOiJyLmlvIn0=");
	credentials_free(&set);
}

/* Case 17: helpers are other programs, which may need a session, the network or a home. */
static void test_helpers_are_named(void **state)
{
	static const struct {
		const char *json;
		bool faulty;
		const char *helper;
	} cases[] = {
		{"{\"auths\":{\"r.io\":{}},\"credsStore\":\"pass\"}", true, "nor is pass"},
		{"{\"auths\":{\"r.io\":{}}}", true, "helpers are not asked)"},
		{"{\"credsStore\":\"desktop\"}", true, "nor is desktop"},
		{"{\"credHelpers\":{\"r.io\":\"ecr-login\"}}", true, "nor is ecr-login"},
		{"{\"auths\":{},\"credHelpers\":{\"https://r.io\":\"gcloud\"}}", true,
		 "nor is gcloud"},
		{"{\"auths\":{\"r.io\":{}},\"credsStore\":\"a\",\"credHelpers\":{\"r.io\":\"b\"}}",
		 true, "nor is b"},
		/* the store may have nothing for this host */
		{"{\"auths\":{\"other.io\":{}},\"credsStore\":\"pass\"}", false, "nor is pass"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct credentials set;
		const struct credential *c = find(&set, cases[i].json, "r.io", "app");

		if (c->faulty != cases[i].faulty || !strstr(c->hint, cases[i].helper) ||
		    !strstr(c->hint, "credential helpers are not asked"))
			fail_msg("%s: %s", cases[i].json, c->hint);
		assert_false(credential_is_set(c));
		credentials_free(&set);
	}
}

static void test_broken(void **state)
{
	static const char *const files[] = {"",
					    "[]",
					    "{}",
					    "{\"auths\":[]}",
					    "{\"auths\":[],\"credsStore\":\"pass\"}",
					    "{\"secret\":\"hunter2\" oops}"};
	static const char *const entries[] = {
		"{}",
		"7",
		"{\"auth\":\"am8=\"}",	   /* jo */
		"{\"auth\":\"OnB3\"}",	   /* :pw */
		"{\"auth\":\"am86AHB3\"}", /* jo:\0pw */
		"{\"auth\":\"am86cGE6c3M\"}",
		"{\"auth\":\"am86 cGE6c3M=\"}",
		"{\"auth\":\"a===\"}",
		"{\"auth\":\"====\"}",
		"{\"auth\":\"am8_cGE6c3M=\"}",
		"{\"username\":\"jo\"}",
		"{\"username\":\"j:o\",\"password\":\"hunter2\"}",
		"{\"registrytoken\":\"hunter2\\r\\nX-Evil: 1\"}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		struct credentials set;
		struct error e = {0};

		put(files[i], 0600);
		if (credentials_load(path, "r.io", &set, &e) != -EBADMSG)
			fail_msg("%s: %s", files[i], e.text);
		assert_int_equal(set.n, 0);
		assert_non_null(strstr(e.text, path));
		assert_null(strstr(e.text, "hunter2"));
	}
	for (size_t i = 0; i < ARRAY_SIZE(entries); i++) {
		_cleanup_free_ char *json = xasprintf("{\"auths\":{\"r.io\":%s}}", entries[i]);
		struct credentials set;
		struct error e = {0};

		if (credential_check(find(&set, json, "r.io", "app"), &e) != -EBADMSG)
			fail_msg("%s", json);
		assert_non_null(strstr(e.text, path));
		assert_null(strstr(e.text, "hunter2"));
		assert_false(credential_is_set(credentials_find(&set, "app")));
		credentials_free(&set);
	}
}

static int load(const char *file, struct error *e)
{
	struct credentials set;
	int r = credentials_load(file, "r.io", &set, e);

	credentials_free(&set);
	return r;
}

static void test_file(void **state)
{
	static const mode_t bad[] = {0620, 0602, 0666};
	_cleanup_free_ char *big = xmalloc(300 * 1024);
	struct credentials none = {0};
	struct error e;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		put("{\"auths\":{}}", bad[i]);
		assert_int_equal(load(path, &e), -EPERM);
	}
	put("{\"auths\":{}}", 0444);
	assert_int_equal(load(path, &e), 0);
	memset(big, ' ', 300 * 1024);
	big[300 * 1024 - 1] = '\0';
	put(big, 0600);
	assert_int_equal(load(path, &e), -EFBIG);
	assert_int_equal(load("/nonexistent/x", &e), -ENOENT);
	assert_int_equal(load(scratch_path, &e), -EISDIR);
	assert_int_equal(load(NULL, &e), 0);
	assert_false(credential_is_set(credentials_find(&none, "app")));
	if (geteuid() == 0) {
		put("{\"auths\":{}}", 0600);
		assert_int_equal(chown(path, 12345, 0), 0);
		assert_int_equal(load(path, &e), -EPERM);
	}
}

static void test_headers(void **state)
{
	/* bytes that make + and / in ordinary base64 */
	struct credential c = {.username = (char *)"jo", .password = (char *)"~~~??\?>>>"};
	struct credential t = {.identity_token = (char *)"tok"}, none = {0};
	struct credentials set;
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
	assert_string_equal(
		find(&set, "{\"auths\":{\"r.io\":{\"auth\":\"am86fn5+Pz8/Pj4+\"}}}", "r.io", "app")
			->basic,
		"Authorization: Basic am86fn5+Pz8/Pj4+");
	credentials_free(&set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_found),
		cmocka_unit_test(test_the_longest_key_counts),
		cmocka_unit_test(test_registry_token),
		cmocka_unit_test(test_helpers_are_named),
		cmocka_unit_test(test_broken),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_headers),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
