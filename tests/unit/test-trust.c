/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "test.h"
#include "trust.h"

/* openssl req -x509 -newkey ed25519 -nodes -subj /CN=x -days 1 */
static const char certificate[] =
	"-----BEGIN CERTIFICATE-----\n"
	"MIIBLDCB36ADAgECAhRuVS73nsoqixQ38wSiYre5GlLSnzAFBgMrZXAwDDEKMAgG\n"
	"A1UEAwwBeDAeFw0yNjExMjkwMjIyMDdaFw0yNjExMzAwMjIyMDdaMAwxCjAIBgNV\n"
	"BAMMAXgwKjAFBgMrZXADIQDDCaNWUuOt1CgJVy1ngIm9SjkQw7g318aV2N7wQWvD\n"
	"baNTMFEwHQYDVR0OBBYEFOXK0wCDygsOl+5Hlzkj295MsImJMB8GA1UdIwQYMBaA\n"
	"FOXK0wCDygsOl+5Hlzkj295MsImJMA8GA1UdEwEB/wQFMAMBAf8wBQYDK2VwA0EA\n"
	"YmwAjI5UjHswDNZ1ku/KMtOqk+O7wR/aHcJUmxf+xYqjqzPTJyYdhrEE+hZDnUfP\n"
	"ef0YyMIQp1cxj8M7rpyqCg==\n"
	"-----END CERTIFICATE-----\n";
static const char key[] = "-----BEGIN PRIVATE KEY-----\n"
			  "MC4CAQAwBQYDK2VwBCIEIEm2/iRwbMO92xjycymrWTIreH14dtCxh9fd9+wnGQIx\n"
			  "-----END PRIVATE KEY-----\n";

static const char *in_dir(const char *name)
{
	static char path[96];

	(void)snprintf(path, sizeof(path), "%s/%s", scratch_path, name);
	return path;
}

static void put(const char *name, const char *text)
{
	int fd = open(in_dir(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write_all(fd, text, strlen(text)), 0);
	close(fd);
}

static int clear(void **state)
{
	static const char *const names[] = {"a.crt", "b.crt",  "c.crt",	   "d.crt", "x.cert",
					    "x.key", "ca.pem", "none.pem", "readme"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		(void)unlink(in_dir(names[i]));
	return 0;
}

static void test_directory(void **state)
{
	struct trust t = {0};
	struct error e;

	assert_int_equal(trust_add_directory(&t, in_dir("none"), &e), 0);
	assert_false(t.is_set);
	assert_null(t.skipped);
	put("readme", "x");
	put("ca.pem", certificate);
	assert_int_equal(trust_add_directory(&t, scratch_path, &e), 0);
	assert_false(t.is_set);
	assert_null(t.authorities);
	put("a.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
	put("b.crt", "text before\n");
	put("c.crt", certificate);
	put("d.crt", key);
	assert_int_equal(trust_add_directory(&t, scratch_path, &e), 0);
	assert_true(t.is_set && !t.alone);
	assert_string_equal(t.authorities, certificate);
	trust_free(&t);
}

static void test_client(void **state)
{
	struct trust t = {0};
	struct error e;

	put("x.cert", certificate);
	assert_int_equal(trust_add_directory(&t, scratch_path, &e), -ENOKEY);
	assert_non_null(
		strstr(e.text, "x.cert has no x.key beside it (the certificate of an authority"));
	trust_free(&t);
	put("x.key", certificate);
	assert_int_equal(trust_add_directory(&t, scratch_path, &e), -EBADMSG);
	assert_non_null(strstr(e.text, "x.key: not the private key of"));
	trust_free(&t);
	put("x.key", key);
	assert_int_equal(trust_add_directory(&t, scratch_path, &e), 0);
	assert_string_equal(t.certificate, certificate);
	assert_string_equal(t.key, key);
	trust_free(&t);
	assert_int_equal(unlink(in_dir("x.cert")), 0);
	assert_int_equal(trust_add_directory(&t, scratch_path, &e), -ENOKEY);
	assert_non_null(strstr(e.text, "x.key has no x.cert beside it"));
	trust_free(&t);
}

static void test_file(void **state)
{
	struct trust t = {0}, other = {0};
	struct digest first;
	struct error e;

	put("ca.pem", certificate);
	put("none.pem", "nothing");
	assert_int_equal(trust_add_file(&t, in_dir("gone.pem"), &e), -ENOENT);
	assert_int_equal(trust_add_file(&t, in_dir("none.pem"), &e), -EBADMSG);
	first = trust_hash(&t);
	assert_int_equal(trust_add_file(&t, in_dir("ca.pem"), &e), 0);
	assert_true(t.alone && t.is_set);
	assert_false(digest_eq(&first, &(struct digest){0}));
	trust_add(&other, &t);
	assert_string_equal(other.authorities, certificate);
	assert_false(other.alone);
	/* With ca = the directory's authorities do not count. */
	put("c.crt", certificate);
	assert_int_equal(trust_add_directory(&t, scratch_path, &e), 0);
	assert_string_equal(t.authorities, certificate);
	trust_free(&t);
	trust_free(&other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_directory, clear),
		cmocka_unit_test_teardown(test_client, clear),
		cmocka_unit_test_teardown(test_file, clear),
	};

	return cmocka_run_group_tests(tests, open_scratch, close_scratch);
}
