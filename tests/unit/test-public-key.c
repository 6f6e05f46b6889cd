/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/stat.h>

#include "base64.h"
#include "public-key.h"
#include "test.h"

#define KEYS TEST_DATA "/cosign/keys/"
#define P256                                                                 \
	"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE07ZvbJdZE1RfVg59U3AEKcTwt2PB\n" \
	"M4J4HKWXkF/UqUZfpqvlRBmop7SWwWdNFWgjAJ7thHXmqMzFYSG2L33DHA==\n"
#define PEM(body) "-----BEGIN PUBLIC KEY-----\n" body "-----END PUBLIC KEY-----\n"

static int parse(const char *text, struct public_key *ret, struct error *e)
{
	return public_key_parse(text, strlen(text), "k.pub", ret, e);
}

static void expect(const char *text, const char *fault)
{
	struct public_key key;
	struct error e = {0};
	int r = parse(text, &key, &e);

	if (r != -EINVAL || !after_prefix(e.text, "k.pub: ") || !strstr(e.text, fault))
		fail_msg("%s\n got: %s\nwant: %s", text, e.text, fault);
}

static void test_real_files(void **state)
{
	static const struct {
		const char *path, *fault;
		enum public_key_kind kind;
	} rows[] = {
		{KEYS "p256.pub", NULL, PUBLIC_KEY_P256},
		{KEYS "other.pub", NULL, PUBLIC_KEY_P256},
		{KEYS "plain.pub", NULL, PUBLIC_KEY_P256},
		{KEYS "sk.pub", NULL, PUBLIC_KEY_P256},
		{KEYS "rsa.pub", NULL, PUBLIC_KEY_RSA},
		{KEYS "ed.pub",
		 "Ed25519 is not supported: cosign 2 signs with it in another way than cosign 3; "
		 "cosign generate-key-pair makes a key that is supported",
		 0},
		{KEYS "ed-t.pub", "Ed25519 is not supported", 0},
		{KEYS "p384.pub", "P-384 is not supported", 0},
		{KEYS "sigstore.private", "it is cosign's private key: keep it off devices", 0},
		{KEYS "cosign.private", "it is cosign's private key: keep it off devices", 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct public_key key = {.n = 0};
		struct error e = {0};
		int r = public_key_read(rows[i].path, &key, &e);

		if (!rows[i].fault) {
			assert_int_equal(r, 0);
			assert_int_equal(key.kind, rows[i].kind);
			assert_int_equal(key.n, rows[i].kind == PUBLIC_KEY_P256 ? 91 : 422);
			continue;
		}
		assert_int_equal(r, -EINVAL);
		assert_non_null(after_prefix(e.text, rows[i].path));
		if (!strstr(e.text, rows[i].fault))
			fail_msg("%s", e.text);
		assert_int_equal(key.n, 0);
	}
}

static void test_files(void **state)
{
	struct public_key key;
	struct error e = {0};
	_cleanup_free_ char *path = xasprintf("%s/open.pub", scratch_path);
	FILE *f = fopen(path, "we");

	assert_int_equal(public_key_read(KEYS "gone.pub", &key, &e), -ENOENT);
	assert_string_equal(e.text, KEYS "gone.pub: No such file or directory");
	assert_int_equal(public_key_read(TEST_DATA "/cosign", &key, &e), -EISDIR);
	/* Another user may have written it. */
	assert_non_null(f);
	assert_true(fputs(PEM(P256), f) >= 0);
	assert_int_equal(fchmod(fileno(f), 0666), 0);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(public_key_read(path, &key, &e), -EPERM);
	assert_int_equal(chmod(path, 0644), 0);
	assert_int_equal(public_key_read(path, &key, &e), 0);
	assert_int_equal(unlink(path), 0);
}

static void test_pem(void **state)
{
	static const char *const valid[] = {
		PEM(P256),
		"-----BEGIN PUBLIC KEY-----\r\n"
		"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE07ZvbJdZE1RfVg59U3AEKcTwt2PB\r\n"
		"M4J4HKWXkF/UqUZfpqvlRBmop7SWwWdNFWgjAJ7thHXmqMzFYSG2L33DHA==\r\n"
		"-----END PUBLIC KEY-----\r\n",
		PEM(P256) "\n \n",
		"-----BEGIN PUBLIC KEY-----\n" P256 "-----END PUBLIC KEY-----",
	};
	static const struct {
		const char *text, *fault;
	} wrong[] = {
		{"", "it is no PEM file of a public key"},
		{"a key\n", "it is no PEM file of a public key"},
		{"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI a@b\n", "it is a key of SSH"},
		{"ecdsa-sha2-nistp256 AAAAE2 a@b\n", "it is a key of SSH"},
		{"# mine\n" PEM(P256), "it is no public key"},
		{" " PEM(P256), "it is no public key"},
		{"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
		 "it is a certificate: name its public key, which openssl x509 -noout -pubkey"},
		{"-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----\n",
		 "it is a private key: keep it off devices, and name the public key"},
		{"-----BEGIN EC PARAMETERS-----\nBggq\n-----END EC PARAMETERS-----\n-----BEGIN EC "
		 "PRIVATE KEY-----\n",
		 "it is no public key"},
		{"-----BEGIN RSA PRIVATE KEY-----\nMIGH\n", "it is a private key"},
		{"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGH\n", "it is a private key"},
		{"-----BEGIN OPENSSH PRIVATE KEY-----\nMIGH\n", "it is a private key"},
		{"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\neyJr\n",
		 "it is cosign's private key"},
		{"-----BEGIN RSA PUBLIC KEY-----\nMIIB\n-----END RSA PUBLIC KEY-----\n",
		 "PKCS #1: convert it"},
		{"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQ\n", "it is a key of PGP"},
		{PEM(P256) PEM(P256), "it holds more than one key"},
		{PEM(P256) "\n" PEM(P256), "it holds more than one key"},
		{PEM(P256) "x", "there is text behind the key"},
		{PEM(P256) "# mine\n", "there is text behind the key"},
		{"-----BEGIN PUBLIC KEY-----\n" P256, "is no base64"},
		{PEM(""), "is no base64"},
		{PEM("\n" P256 " "), "is no base64"},
		{PEM("Comment: mine\n\n" P256), "is no base64"},
		{PEM("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE07ZvbJdZE1RfVg59U3AEKcTwt2PB\n"
		     "M4J4HKWXkF/UqUZfpqvlRBmop7SWwWdNFWgjAJ7thHXmqMzFYSG2L33DHA\n"),
		 "is no base64"},
		{PEM("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE07ZvbJdZE1RfVg59U3AEKcTwt2PB\n"
		     "M4J4HKWXkF_UqUZfpqvlRBmop7SWwWdNFWgjAJ7thHXmqMzFYSG2L33DHA==\n"),
		 "is no base64"},
		{PEM("MFkw EwYH\n"), "is no base64"},
		{PEM("MFkw\n"), "it is not the DER of a public key"},
		{PEM("AAAA\n"), "it is not the DER of a public key"},
	};
	struct public_key key;
	struct error e;

	for (size_t i = 0; i < ARRAY_SIZE(valid); i++) {
		if (parse(valid[i], &key, &e) < 0)
			fail_msg("%s: %s", valid[i], e.text);
	}
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		expect(wrong[i].text, wrong[i].fault);
	assert_int_equal(
		public_key_parse(PEM(P256) "\0x", strlen(PEM(P256)) + 2, "k.pub", &key, &e),
		-EINVAL);
	assert_string_equal(e.text, "k.pub: it is not a text file: it contains a NUL byte");
}

static char *pem_of(const unsigned char *der, size_t n)
{
	_cleanup_free_ char *text = base64_encode((const char *)der, n);

	return xasprintf("-----BEGIN PUBLIC KEY-----\n%s\n-----END PUBLIC KEY-----\n", text);
}

static char *pem_of_key(EVP_PKEY *pkey)
{
	unsigned char *der = NULL;
	int n = i2d_PUBKEY(pkey, &der);
	char *text;

	assert_true(n > 0);
	text = pem_of(der, (size_t)n);
	OPENSSL_free(der);
	EVP_PKEY_free(pkey);
	return text;
}

static EVP_PKEY *generate(const char *type, int bits, unsigned int exponent)
{
	EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	EVP_PKEY *pkey = NULL;
	OSSL_PARAM p[3] = {OSSL_PARAM_construct_end(), OSSL_PARAM_construct_end(),
			   OSSL_PARAM_construct_end()};

	if (bits)
		p[0] = OSSL_PARAM_construct_int("bits", &bits);
	if (exponent)
		p[1] = OSSL_PARAM_construct_uint("e", &exponent);
	assert_int_equal(EVP_PKEY_keygen_init(c), 1);
	assert_int_equal(EVP_PKEY_CTX_set_params(c, p), 1);
	assert_int_equal(EVP_PKEY_generate(c, &pkey), 1);
	EVP_PKEY_CTX_free(c);
	return pkey;
}

static EVP_PKEY *with_form(const char *group, const char *parameter, const char *value)
{
	EVP_PKEY *pkey = EVP_EC_gen(group);

	assert_non_null(pkey);
	if (parameter)
		assert_int_equal(EVP_PKEY_set_utf8_string_param(pkey, parameter, value), 1);
	return pkey;
}

/* What OpenSSL makes. */
static void test_kinds(void **state)
{
	struct {
		EVP_PKEY *pkey;
		const char *fault;
	} rows[] = {
		{with_form("P-256", NULL, NULL), NULL},
		{generate("RSA", 2048, 0), NULL},
		{generate("RSA", 2049, 0), NULL},
		{generate("RSA", 2048, 3), NULL},
		{generate("RSA", 2047, 0), "RSA of less than 2048 bits is too short"},
		{generate("RSA", 1024, 0), "RSA of less than 2048 bits is too short"},
		{generate("RSA-PSS", 2048, 0), "RSASSA-PSS is not supported"},
		{generate("ED25519", 0, 0), "Ed25519 is not supported"},
		{generate("ED448", 0, 0), "Ed448 is not supported"},
		{generate("X25519", 0, 0), "its algorithm is not supported"},
		{with_form("P-384", NULL, NULL), "P-384 is not supported"},
		{with_form("P-521", NULL, NULL), "P-521 is not supported"},
		{with_form("secp256k1", NULL, NULL), "secp256k1 is not supported"},
		{with_form("brainpoolP256r1", NULL, NULL), "only the curve P-256 is supported"},
		{with_form("P-256", "encoding", "explicit"), "its curve is spelt out"},
		{with_form("P-256", "point-format", "compressed"), "its point is compressed"},
		{with_form("P-256", "point-format", "hybrid"), "its point is not valid"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *text = pem_of_key(rows[i].pkey);
		struct public_key key;
		struct error e = {0};

		if (rows[i].fault)
			expect(text, rows[i].fault);
		else if (parse(text, &key, &e) < 0)
			fail_msg("%zu: %s", i, e.text);
	}
}

/* SubjectPublicKeyInfo of RSA with these numbers, of which the first byte may be 0. */
static char *make_rsa(size_t n_modulus, unsigned char first, unsigned char last,
		      const void *exponent, size_t n_exponent)
{
	static const unsigned char algorithm[] = {0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86,
						  0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00};
	size_t n_numbers = 4 + n_modulus + 2 + n_exponent;
	size_t n_bits = 1 + 4 + n_numbers, n_all = sizeof(algorithm) + 4 + n_bits;
	unsigned char der[2048], *at = der;

#define HEAD(tag, n)                               \
	do {                                       \
		*at++ = (tag);                     \
		*at++ = 0x82;                      \
		*at++ = (unsigned char)((n) >> 8); \
		*at++ = (unsigned char)(n);        \
	} while (0)
	HEAD(0x30, n_all);
	at = mempcpy(at, algorithm, sizeof(algorithm));
	HEAD(0x03, n_bits);
	*at++ = 0;
	HEAD(0x30, n_numbers);
	HEAD(0x02, n_modulus);
	memset(at, 0x5a, n_modulus);
	at[0] = first;
	if (first == 0)
		at[1] = 0x80;
	at[n_modulus - 1] = last;
	at += n_modulus;
	*at++ = 0x02;
	*at++ = (unsigned char)n_exponent;
	at = mempcpy(at, exponent, n_exponent);
	return pem_of(der, (size_t)(at - der));
}

static void test_rsa_numbers(void **state)
{
	struct {
		char *text;
		const char *fault;
	} rows[] = {
		{make_rsa(257, 0, 1, "\1\0\1", 3), NULL},
		{make_rsa(1025, 0, 1, "\1\0\1", 3), NULL}, /* 8192 bits */
		{make_rsa(1025, 0, 1, "\0\x80\0\0\0\0\0\0\1", 9), NULL},
		{make_rsa(1025, 1, 1, "\1\0\1", 3), "RSA of more than 8192 bits"},
		{make_rsa(256, 0x7f, 1, "\1\0\1", 3), "RSA of less than 2048 bits"},
		{make_rsa(257, 0, 2, "\1\0\1", 3), "its modulus is even"},
		{make_rsa(256, 0x80, 1, "\1\0\1", 3), "it is not a valid RSA key"},
		{make_rsa(257, 0, 1, "\1", 1), "its RSA exponent is not an odd number from 3 on"},
		{make_rsa(257, 0, 1, "\4", 1), "its RSA exponent is not an odd number from 3 on"},
		{make_rsa(257, 0, 1, "\0", 1), "it is not a valid RSA key"},
		{make_rsa(257, 0, 1, "", 0), "it is not a valid RSA key"},
		{make_rsa(257, 0, 1, "\x83", 1), "it is not a valid RSA key"},
		{make_rsa(257, 0, 1, "\0\3", 2), "it is not a valid RSA key"},
		{make_rsa(257, 0, 1, "\1\0\0\0\0\0\0\0\1", 9),
		 "its RSA exponent has more than 64 bits"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct public_key key;
		struct error e = {0};

		if (rows[i].fault)
			expect(rows[i].text, rows[i].fault);
		else if (parse(rows[i].text, &key, &e) < 0)
			fail_msg("%zu: %s", i, e.text);
		free(rows[i].text);
	}
}

/* Whatever one byte of a key is, libcrypto takes what is taken here, and writes the same again. */
static void test_every_byte(void **state)
{
	static const char *const files[] = {KEYS "p256.pub", KEYS "rsa.pub"};
	size_t taken = 0, refused = 0;

	for (size_t f = 0; f < ARRAY_SIZE(files); f++) {
		struct public_key key, other;
		struct error e;

		assert_int_equal(public_key_read(files[f], &key, &e), 0);
		for (size_t i = 0; i < 26 * 256; i++) {
			struct public_key changed = key;
			_cleanup_free_ char *text = NULL;
			const unsigned char *at = changed.der;
			unsigned char *again = NULL;
			EVP_PKEY *pkey;

			changed.der[i / 256] = (unsigned char)i;
			text = pem_of(changed.der, changed.n);
			if (parse(text, &other, &e) < 0) {
				refused++;
				continue;
			}
			taken++;
			pkey = d2i_PUBKEY(NULL, &at, (long)changed.n);
			assert_non_null(pkey);
			assert_int_equal(i2d_PUBKEY(pkey, &again), changed.n);
			assert_memory_equal(again, changed.der, changed.n);
			OPENSSL_free(again);
			EVP_PKEY_free(pkey);
		}
	}
	assert_int_equal(taken, 52); /* as they are */
	assert_int_equal(refused, 2 * 26 * 256 - 52);
}

/* --- revoked ------------------------------------------------------------------------------------------------ */

#define ID "sha256:5952705abfe94ac74fe71e32f413349efaf2f2dd960f8157d778b0ca89fc0435"

static void expect_revoked_fault(const char *text, const char *fault)
{
	struct revoked_list list;
	struct error e = {0};

	if (revoked_parse(text, strlen(text), "list", &list, &e) != -EINVAL ||
	    !after_prefix(e.text, "list: ") || !strstr(e.text, fault))
		fail_msg("%s\n got: %s\nwant: %s", text, e.text, fault);
	assert_int_equal(list.n, 0);
}

static void test_revoked(void **state)
{
	static const char text[] =
		"# lost\n\n" ID "\n \t" ID " \t\n" PEM(P256) "  # more\r\n" ID "\r\n" PEM(
			"MCowBQYDK2VwAyEAN7qEBUUr2Xxl+AnpUwtYX/8Hco0Or3qKyvdgczujzTE=\n") PEM(P256);
	struct revoked_list list;
	struct error e = {0};

	assert_int_equal(revoked_parse(text, strlen(text), "list", &list, &e), 0);
	assert_int_equal(list.n, 5); /* no configured key is Ed25519 */
	assert_string_equal(list.items[0].id.text, ID);
	assert_string_equal(list.items[1].id.text, ID);
	assert_int_equal(list.items[2].key->n, 91);
	assert_string_equal(list.items[2].id.text, "");
	assert_null(list.items[3].key);
	assert_true(public_key_eq(list.items[2].key, list.items[4].key));
	revoked_free(&list);
	assert_int_equal(revoked_parse("", 0, "list", &list, &e), 0);
	assert_int_equal(list.n, 0);
	assert_int_equal(revoked_read(KEYS "rsa.pub", &list, &e), 0);
	assert_int_equal(list.n, 1);
	revoked_free(&list);
	assert_int_equal(revoked_read(KEYS "gone", &list, &e), -ENOENT);
}

/* A line that revokes nothing would look as if it did. */
static void test_revoked_faults(void **state)
{
	_cleanup_free_ char *compressed =
		pem_of_key(with_form("P-256", "point-format", "compressed"));
	_cleanup_free_ char *explicit = pem_of_key(with_form("P-256", "encoding", "explicit"));
	_cleanup_free_ char *many = xmalloc(257 * 72 + 1);
	char *at = many;

	expect_revoked_fault("prod.pub\n", "'prod.pub' is neither the PEM of a public key");
	expect_revoked_fault(ID "0\n", "is neither");
	expect_revoked_fault("5952705abfe94ac74fe71e32f413349efaf2f2dd960f8157d778b0ca89fc0435\n",
			     "is neither");
	expect_revoked_fault(
		"SHA256:5952705abfe94ac74fe71e32f413349efaf2f2dd960f8157d778b0ca89fc0435",
		"is neither");
	expect_revoked_fault(ID " " ID "\n", "is neither");
	expect_revoked_fault(ID " prod\n", "is neither");
	expect_revoked_fault("sha256:\n", "is neither");
	expect_revoked_fault(" " PEM(P256), "is neither");
	expect_revoked_fault(ID "\n-----BEGIN PUBLIC KEY-----\n" P256, "is no base64");
	expect_revoked_fault(PEM(P256) "-----BEGIN CERTIFICATE-----\n", "it is a certificate");
	expect_revoked_fault("-----BEGIN PRIVATE KEY-----\n", "it is a private key");
	expect_revoked_fault(compressed, "its point is compressed");
	expect_revoked_fault(explicit, "its curve is spelt out");
	for (size_t i = 0; i < 257; i++)
		at = stpcpy(at, ID "\n");
	expect_revoked_fault(many, "more than 256 keys");
	expect_revoked_fault(PEM("MFkw\n"), "it is not the DER of a public key");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_real_files),  cmocka_unit_test(test_files),
		cmocka_unit_test(test_pem),	    cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_rsa_numbers), cmocka_unit_test(test_every_byte),
		cmocka_unit_test(test_revoked),	    cmocka_unit_test(test_revoked_faults),
	};

	return cmocka_run_group_tests(tests, open_scratch, close_scratch);
}
