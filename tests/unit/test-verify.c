/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "base64.h"
#include "crypto.h"
#include "json.h"
#include "test.h"
#include "verify.h"

#define HEX_A	 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define HEX_B	 "ff23456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define DIGEST_A "sha256:" HEX_A
#define DIGEST_B "sha256:" HEX_B
#define IMAGE	 "registry.example/acme/app"

/* --- keys and signatures ------------------------------------------------------------------------------------ */

struct signer {
	EVP_PKEY *pkey;
	char *path;
	struct digest id;
};

enum { FIRST, SECOND, THIRD, RSA_KEY, SIGNERS };
static struct signer signers[SIGNERS];

static void write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void make_signer(struct signer *s, const char *name, EVP_PKEY *pkey)
{
	unsigned char *der = NULL;
	int n = i2d_PUBKEY(pkey, &der);
	FILE *f;

	assert_true(n > 0);
	s->pkey = pkey;
	s->path = xasprintf("%s/%s.pub", scratch_path, name);
	s->id = hash_bytes(der, (size_t)n);
	OPENSSL_free(der);
	f = fopen(s->path, "we");
	assert_non_null(f);
	assert_int_equal(PEM_write_PUBKEY(f, pkey), 1);
	assert_int_equal(fclose(f), 0);
}

static int open_signers(void **state)
{
	static const char *const names[] = {"first", "second", "third"};

	if (open_scratch(state) < 0)
		return -1;
	for (size_t i = FIRST; i <= THIRD; i++)
		make_signer(&signers[i], names[i], EVP_EC_gen("P-256"));
	make_signer(&signers[RSA_KEY], "rsa", EVP_RSA_gen(2048));
	return 0;
}

static int close_signers(void **state)
{
	for (size_t i = 0; i < SIGNERS; i++) {
		(void)unlink(signers[i].path);
		free(signers[i].path);
		EVP_PKEY_free(signers[i].pkey);
	}
	return close_scratch(state);
}

/* Takes the payload over. */
static struct signature_pair sign(const struct signer *s, enum signature_format format,
				  char *payload)
{
	struct signature_pair p = {
		.format = format, .payload = payload, .n_payload = strlen(payload)};
	_cleanup_free_ char *envelope = xasprintf("DSSEv1 28 application/vnd.in-toto+json %zu %s",
						  strlen(payload), payload);
	const char *data = format == SIGNATURE_BUNDLE ? envelope : payload;
	EVP_MD_CTX *c = EVP_MD_CTX_new();

	p.n_bytes = SIGNATURE_BYTES_MAX;
	p.bytes = xmalloc(p.n_bytes);
	assert_int_equal(EVP_DigestSignInit(c, NULL, EVP_sha256(), NULL, s->pkey), 1);
	assert_int_equal(EVP_DigestSign(c, (unsigned char *)p.bytes, &p.n_bytes,
					(const unsigned char *)data, strlen(data)),
			 1);
	EVP_MD_CTX_free(c);
	return p;
}

static void free_pairs(struct signature_pair *pairs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(pairs[i].payload);
		free(pairs[i].bytes);
	}
}

/* --- statements --------------------------------------------------------------------------------------------- */

#define SIMPLE(digest, reference, optional)                              \
	"{\"critical\":{\"identity\":{\"docker-reference\":\"" reference \
	"\"},\"image\":{\"docker-manifest-digest\":\"" digest            \
	"\"},\"type\":\"cosign container image signature\"},\"optional\":" optional "}"
#define TOP(rest)      "{\"_type\":\"https://in-toto.io/Statement/v1\"," rest "}"
#define PREDICATE      "\"predicateType\":\"https://sigstore.dev/cosign/sign/v1\",\"predicate\":{}"
#define SUBJECT(inner) "\"subject\":[{" inner "}]"
#define BUNDLE(hex, annotations)                    \
	TOP(SUBJECT("\"digest\":{\"sha256\":\"" hex \
		    "\"},\"annotations\":" annotations) "," PREDICATE)
#define OURS "{\"image\":\"" IMAGE "\"}"

/* --- rules -------------------------------------------------------------------------------------------------- */

static struct container_config config;
static struct ref ref;
static char *config_keys[SIGNERS + 2], *config_revoked[3];
static struct record record;

/* The first signer's key, IMAGE:stable, and an empty record. */
static struct verify_rule default_rule(void)
{
	const char *why;

	ref_free(&ref);
	assert_int_equal(ref_parse(IMAGE ":stable", &ref, &why), 0);
	memset(config_keys, 0, sizeof(config_keys));
	memset(config_revoked, 0, sizeof(config_revoked));
	config_keys[0] = signers[FIRST].path;
	config = (struct container_config){
		.name = (char *)"app", .keys = config_keys, .key_threshold = 1};
	record_init(&record);
	return (struct verify_rule){
		.config = &config, .ref = &ref, .record = &record, .now_s = 1800000000};
}

static void follow(const char *image)
{
	const char *why;

	ref_free(&ref);
	assert_int_equal(ref_parse(image, &ref, &why), 0);
}

static struct digest digest(const char *text)
{
	struct digest d;

	assert_int_equal(digest_parse(text, &d), 0);
	return d;
}

static struct error error;
static struct signature signature;

/* Of the pairs: 0 or -EKEYREJECTED, and whether all that goes with it is so. Frees them. */
static int verify(const struct verify_rule *rule, const char *d, struct signature_pair *pairs,
		  size_t n, struct judgement *judged)
{
	struct verified *v = NULL;
	struct digest of = digest(d);
	int r;

	error = (struct error){0};
	signature = (struct signature){0};
	r = verify_signatures(rule, &of, pairs, n, judged, &signature, &v, &error);
	if (r == 0) {
		assert_string_equal(verified_digest(v)->text, d);
		assert_true(signature.n_keys >= rule->config->key_threshold);
		assert_string_equal(error.text, "");
	} else {
		assert_int_equal(r, -EKEYREJECTED);
		assert_int_equal(error.code, r);
		assert_null(v);
		assert_int_equal(signature.n_keys, 0);
	}
	free(v);
	free_pairs(pairs, n);
	return r;
}

static struct judgement judged;

/* The fault of a statement of one signer on DIGEST_A; "": it counts. */
static const char *fault_by(int signer, const struct verify_rule *rule,
			    enum signature_format format, const char *payload)
{
	struct signature_pair p = sign(&signers[signer], format, xstrdup(payload));
	int r = verify(rule, DIGEST_A, &p, 1, &judged);

	assert_int_equal(r, judged.fault[0] ? -EKEYREJECTED : 0);
	assert_int_equal(judged.format, format);
	if (r < 0)
		assert_non_null(strstr(error.text, judged.fault));
	return judged.fault;
}

static const char *fault_of(const struct verify_rule *rule, enum signature_format format,
			    const char *payload)
{
	const char *fault = fault_by(FIRST, rule, format, payload);

	assert_string_equal(judged.key, "first.pub");
	assert_string_equal(judged.key_id.text, signers[FIRST].id.text);
	return fault;
}

static void expect(const struct verify_rule *rule, enum signature_format format,
		   const char *payload, const char *fault)
{
	const char *got = fault_of(rule, format, payload);

	if (fault[0] ? !strstr(got, fault) : got[0])
		fail_msg("%s\n got: %s\nwant: %s", payload, got, fault);
}

static struct record *set_sequence(size_t i, int signer, uint64_t seq, const char *d)
{
	record.sequences[i] = (struct key_sequence){signers[signer].id, seq, digest(d)};
	record.n_sequences = i + 1;
	return &record;
}

/* --- unsigned ----------------------------------------------------------------------------------------------- */

static void test_without_keys(void **state)
{
	struct verify_rule rule = default_rule();
	_cleanup_free_ struct verified *v = NULL, *w = NULL, *x = NULL;
	struct digest d = digest(DIGEST_A), none = {0};
	struct signature s = {.n_keys = 1};
	struct error e = {0};

	config.keys = NULL;
	assert_int_equal(verify_unsigned(&config, &d, &v, &e), 0);
	assert_int_equal(verify_signatures(&rule, &d, NULL, 0, NULL, &s, &w, &e), 0);
	assert_int_equal(s.n_keys, 0);
	assert_int_equal(verify_recorded(&rule, &d, &s, false, &x, &e), 0);
	memset(&d, 0, sizeof(d)); /* a copy, not a view */
	assert_string_equal(verified_digest(v)->text, DIGEST_A);
	assert_string_equal(verified_digest(w)->text, DIGEST_A);
	assert_string_equal(verified_digest(x)->text, DIGEST_A);
	assert_int_equal(verify_unsigned(&config, &none, NULL, &e), -EINVAL);
	assert_int_equal(verify_signatures(&rule, &none, NULL, 0, NULL, &s, NULL, &e), -EINVAL);
	assert_int_equal(verify_recorded(&rule, &none, &s, true, NULL, &e), -EINVAL);
}

static void test_unsigned_with_keys(void **state)
{
	char *none[] = {NULL};
	struct digest d = digest(DIGEST_A);
	struct verified *v = NULL;
	struct error e = {0};

	(void)default_rule();
	assert_int_equal(verify_unsigned(&config, &d, &v, &e), -EKEYREJECTED);
	assert_string_equal(e.text,
			    "app: key= is set, and no signature of " DIGEST_A " was checked");
	config.keys = none;
	assert_int_equal(verify_unsigned(&config, &d, &v, &e), -EKEYREJECTED);
	assert_null(v);
}

static void test_keys_that_cannot_be_read(void **state)
{
	struct verify_rule rule = default_rule();
	struct signature_pair p =
		sign(&signers[FIRST], SIGNATURE_SIMPLE, xstrdup(SIMPLE(DIGEST_A, IMAGE, "null")));
	struct digest d = digest(DIGEST_A);
	struct signature s = {.n_keys = 1, .keys = {{.id = signers[FIRST].id}}};
	_cleanup_free_ char *gone = xasprintf("%s/gone.pub", scratch_path);
	_cleanup_free_ char *curve = xasprintf("%s/curve.pub", scratch_path);
	struct verified *v = NULL;
	struct error e = {0};

	config_keys[1] = gone;
	assert_int_equal(verify_signatures(&rule, &d, &p, 1, NULL, &s, &v, &e), -ENOENT);
	assert_non_null(strstr(e.text, "gone.pub"));
	assert_int_equal(verify_recorded(&rule, &d, &s, true, &v, &e), -ENOENT);
	config_keys[1] = NULL;
	config_revoked[0] = gone;
	config.revoked = config_revoked;
	assert_int_equal(verify_signatures(&rule, &d, &p, 1, NULL, &s, &v, &e), -ENOENT);
	assert_int_equal(verify_recorded(&rule, &d, &s, true, &v, &e), -ENOENT);
	config.revoked = NULL;
	/* Base cannot see whether a point is on the curve. */
	write_text(curve, "-----BEGIN PUBLIC KEY-----\n"
			  "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE07ZvbJdZE1RfVg59U3AEKcTwt2PB\n"
			  "M4J4HKWXkF/UqUZfpqvlRBmop7SWwWdNFWgjAJ7thHXmqMzFYSG2L33DHQ==\n"
			  "-----END PUBLIC KEY-----\n");
	config_keys[1] = curve;
	assert_int_equal(verify_signatures(&rule, &d, &p, 1, NULL, &s, &v, &e), -EINVAL);
	assert_non_null(strstr(e.text, "curve.pub: it is not a valid key"));
	assert_null(v);
	(void)unlink(curve);
	free_pairs(&p, 1);
}

/* --- real signatures ---------------------------------------------------------------------------------------- */

static char *vector_keys[] = {
	(char *)TEST_DATA "/cosign/keys/p256.pub",  (char *)TEST_DATA "/cosign/keys/other.pub",
	(char *)TEST_DATA "/cosign/keys/plain.pub", (char *)TEST_DATA "/cosign/keys/rsa.pub",
	(char *)TEST_DATA "/cosign/keys/sk.pub",    NULL};

static json_t *load_vectors(void)
{
	json_t *vectors = json_load_file(TEST_DATA "/cosign/vectors.json", 0, NULL);

	assert_int_equal(json_array_size(vectors), 42);
	return vectors;
}

static struct signature_pair read_vector(const json_t *v)
{
	struct signature_pair p = {.format = streq(json_get_string(v, "format"), "bundle")
						     ? SIGNATURE_BUNDLE
						     : SIGNATURE_SIMPLE};

	p.payload = base64_decode(json_get_string(v, "payload"), &p.n_payload);
	p.bytes = base64_decode(json_get_string(v, "signature"), &p.n_bytes);
	assert_true(p.payload && p.bytes);
	return p;
}

/* The beginning of a vector's name, and its fault for IMAGE:stable; "": it counts. repository: for which it counts instead. */
static const struct {
	const char *name, *fault, *repository;
	uint64_t seq;
} outcomes[] = {
	{"attached/", "", NULL, 9},
	{"attest31/", "it is an attestation and not a signature", NULL, 0},
	{"both/", "", NULL, 7},
	{"bundle31-ed/", "no configured key made it", NULL, 0},
	{"bundle31-p384/", "no configured key made it", NULL, 0},
	{"bundle31-referrers-api/", "", NULL, 42},
	{"bundle31-rsa/", "it names no repository: sign with cosign sign -a image=" IMAGE, NULL, 1},
	{"bundle31/01", "", NULL, 42},
	{"bundle31/02", "", NULL, 44},
	{"bundle31/03", "it names no repository", NULL, 42},
	{"bundle31r/", "it names no repository", NULL, 43},
	{"classic25-ed/", "no configured key made it", NULL, 0},
	{"classic25-oci11-referrers-api/",
	 "it is for 127.0.0.1:5112/classic25-oci11/app, and not for " IMAGE,
	 "127.0.0.1:5112/classic25-oci11/app", 1},
	{"classic25-oci11/", "it is for 127.0.0.1:5111/", "127.0.0.1:5111/classic25-oci11/app", 1},
	{"classic25/", "", NULL, 42},
	{"classic25r/", "", NULL, 43},
	{"classic31-ed/", "no configured key made it", NULL, 0},
	{"classic31-p384/", "no configured key made it", NULL, 0},
	{"classic31-rsa/", "it is for 127.0.0.1:5111/", "127.0.0.1:5111/classic31-rsa/app", 1},
	{"classic31/", "", NULL, 42},
	{"evil/", "", NULL, 7},
	{"no-annotations/01", "it names no repository", NULL, 0},
	{"no-annotations/02", "it is for 127.0.0.1:5111/", "127.0.0.1:5111/plain/app", 0},
	{"skopeo118/", "", NULL, 0},
	/* Nobody can tell those from a signature: use a key for images only. */
	{"sign-blob/", "", NULL, 9},
	{"twice25/01", "it is for 127.0.0.1:5111/", "127.0.0.1:5111/twice25/app", 42},
	{"twice25/02", "it is for 127.0.0.1:5111/", "127.0.0.1:5111/twice25/app", 43},
	{"twice31/02", "it names no repository", NULL, 43},
	{"twice31/", "it names no repository", NULL, 42},
};

static size_t outcome_of(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(outcomes); i++) {
		if (after_prefix(name, outcomes[i].name))
			return i;
	}
	fail_msg("%s", name);
	return 0;
}

static void expect_vector(const struct verify_rule *rule, const json_t *v, const char *fault,
			  uint64_t seq)
{
	struct signature_pair p = read_vector(v);
	struct judgement j;
	const char *name = json_get_string(v, "name"), *key = json_get_string(v, "key");
	int r = verify(rule, json_get_string(v, "digest"), &p, 1, &j);

	if (fault[0] ? r == 0 || !after_prefix(j.fault, fault) : r < 0 || j.fault[0])
		fail_msg("%s: %s", name, j.fault);
	assert_string_equal(j.key, key ? key : "");
	if (!fault[0])
		assert_string_equal(signature.keys[0].name, key);
	if (j.seq != seq)
		fail_msg("%s: seq %d", name, (int)j.seq);
}

static void test_vectors(void **state)
{
	_cleanup_json_ json_t *vectors = load_vectors();
	const json_t *v;
	size_t i, counted = 0;

	json_array_foreach (vectors, i, v) {
		struct verify_rule rule = default_rule();
		const char *name = json_get_string(v, "name");
		size_t k = outcome_of(name);

		rule.config =
			&(struct container_config){.name = (char *)"app", .keys = vector_keys};
		expect_vector(&rule, v, outcomes[k].fault, outcomes[k].seq);
		counted += !outcomes[k].fault[0];
		follow("127.0.0.1:5111/evil/app:stable");
		if (!outcomes[k].fault[0])
			expect_vector(&rule, v,
				      "it is for " IMAGE ", and not for 127.0.0.1:5111/evil/app",
				      outcomes[k].seq);
		if (!outcomes[k].repository)
			continue;
		follow(outcomes[k].repository);
		expect_vector(&rule, v, "", outcomes[k].seq);
	}
	assert_int_equal(counted, 20);
}

/* A copy of p in which one bit of data is other. */
static struct signature_pair flip(const struct signature_pair *p, bool of_payload, size_t bit)
{
	struct signature_pair c = *p;
	char *data;

	c.payload = memcpy(xmalloc(p->n_payload + 1), p->payload, p->n_payload);
	c.bytes = memcpy(xmalloc(p->n_bytes + 1), p->bytes, p->n_bytes);
	data = of_payload ? c.payload : c.bytes;
	data[bit / 8] = (char)(data[bit / 8] ^ 1 << bit % 8);
	return c;
}

/* Every bit of the payload and of the signature is flipped, of signatures in both formats and of both kinds of keys. */
static void test_bits(void **state)
{
	static const char *const names[] = {"both/01", "both/02", "skopeo118/01", "bundle31-rsa/01",
					    "classic31-rsa/01"};
	_cleanup_json_ json_t *vectors = load_vectors();
	const json_t *v;
	size_t i, total = 0;

	json_array_foreach (vectors, i, v) {
		struct verify_rule rule = default_rule();
		_cleanup_free_ struct signature_pair *flipped = NULL;
		_cleanup_free_ struct judgement *all = NULL;
		struct signature_pair p;
		char key[256];
		size_t n = 0, k = 0;

		while (k < ARRAY_SIZE(names) && !streq(names[k], json_get_string(v, "name")))
			k++;
		if (k == ARRAY_SIZE(names))
			continue;
		(void)snprintf(key, sizeof(key), TEST_DATA "/cosign/keys/%s",
			       json_get_string(v, "key"));
		config_keys[0] = key;
		p = read_vector(v);
		flipped = xcalloc(8 * (p.n_payload + p.n_bytes), sizeof(*flipped));
		all = xcalloc(8 * (p.n_payload + p.n_bytes), sizeof(*all));
		for (size_t bit = 0; bit < 8 * p.n_payload; bit++)
			flipped[n++] = flip(&p, true, bit);
		for (size_t bit = 0; bit < 8 * p.n_bytes; bit++)
			flipped[n++] = flip(&p, false, bit);
		assert_int_equal(verify(&rule, json_get_string(v, "digest"), flipped, n, all),
				 -EKEYREJECTED);
		for (size_t bit = 0; bit < n; bit++)
			assert_string_equal(all[bit].fault, "no configured key made it");
		total += n;
		free_pairs(&p, 1);
	}
	assert_true(total > 15000);
}

/* Neither format is taken for the other, although the key is the same. */
static void test_formats_are_not_mixed(void **state)
{
	struct verify_rule rule = default_rule();
	struct signature_pair p[] = {
		sign(&signers[FIRST], SIGNATURE_SIMPLE, xstrdup(SIMPLE(DIGEST_A, IMAGE, "null"))),
		sign(&signers[FIRST], SIGNATURE_BUNDLE, xstrdup(BUNDLE(HEX_A, OURS))),
		sign(&signers[FIRST], SIGNATURE_SIMPLE, xstrdup(BUNDLE(HEX_A, OURS))),
		sign(&signers[FIRST], SIGNATURE_BUNDLE, xstrdup(SIMPLE(DIGEST_A, IMAGE, "null"))),
	};
	struct judgement j[ARRAY_SIZE(p)];

	p[0].format = SIGNATURE_BUNDLE;
	p[1].format = SIGNATURE_SIMPLE;
	assert_int_equal(verify(&rule, DIGEST_A, p, ARRAY_SIZE(p), j), -EKEYREJECTED);
	assert_string_equal(j[0].fault, "no configured key made it");
	assert_string_equal(j[1].fault, "no configured key made it");
	assert_string_equal(j[2].fault, "it has no \"critical\"");
	assert_string_equal(j[3].fault, "it has no \"_type\"");
}

/* SEQUENCE { INTEGER r, INTEGER s } of these bytes, with the length of the sequence. */
static struct signature_pair with_bytes(const struct signature_pair *p, const char *bytes, size_t n)
{
	struct signature_pair c = *p;

	c.payload = memcpy(xmalloc(p->n_payload + 1), p->payload, p->n_payload);
	c.bytes = memcpy(xmalloc(n + 1), bytes, n);
	c.n_bytes = n;
	return c;
}

/* A signature whose r and s have these bytes; lengths are below 128. */
static struct signature_pair with_numbers(const struct signature_pair *p, const void *r, size_t n_r,
					  const void *s, size_t n_s)
{
	char der[256], *at = der;

	*at++ = 0x30;
	*at++ = (char)(4 + n_r + n_s);
	*at++ = 0x02;
	*at++ = (char)n_r;
	at = mempcpy(at, r, n_r);
	*at++ = 0x02;
	*at++ = (char)n_s;
	at = mempcpy(at, s, n_s);
	return with_bytes(p, der, (size_t)(at - der));
}

/* Only one text of a signature is taken: strict DER without anything behind it. */
static void test_der(void **state)
{
	struct verify_rule rule = default_rule();
	struct signature_pair p =
		sign(&signers[FIRST], SIGNATURE_SIMPLE, xstrdup(SIMPLE(DIGEST_A, IMAGE, "null")));
	size_t n_r = (size_t)p.bytes[3], n_s = (size_t)p.bytes[5 + n_r], n = 0;
	const char *r = p.bytes + 4, *s = p.bytes + 6 + n_r;
	struct signature_pair forms[24];
	struct judgement j[24];
	char bytes[256], zeros[80] = {0};

	/* The parts put together again, without a change, are taken. */
	forms[0] = with_numbers(&p, r, n_r, s, n_s);
	assert_int_equal(verify(&rule, DIGEST_A, forms, 1, j), 0);
	memcpy(bytes, p.bytes, p.n_bytes);
	memset(bytes + p.n_bytes, 0, 8);
	forms[n++] = with_bytes(&p, bytes, 0);
	forms[n++] = with_bytes(&p, bytes, p.n_bytes + 1);
	forms[n++] = with_bytes(&p, bytes, p.n_bytes + 8);
	forms[n++] = with_bytes(&p, bytes, p.n_bytes - 1);
	bytes[1]++; /* what is behind belongs to the sequence */
	forms[n++] = with_bytes(&p, bytes, p.n_bytes + 1);
	/* the length in two bytes, and without an end */
	memcpy(bytes, "\x30\x81", 2);
	memcpy(bytes + 2, p.bytes + 1, p.n_bytes - 1);
	forms[n++] = with_bytes(&p, bytes, p.n_bytes + 1);
	bytes[1] = (char)0x80;
	memcpy(bytes + 2, p.bytes + 2, p.n_bytes - 2);
	memset(bytes + p.n_bytes, 0, 2);
	forms[n++] = with_bytes(&p, bytes, p.n_bytes + 2);
	/* zeros before r and before s */
	memcpy(zeros + 1, r, n_r);
	forms[n++] = with_numbers(&p, zeros, n_r + 1, s, n_s);
	memcpy(zeros + 1, s, n_s);
	forms[n++] = with_numbers(&p, r, n_r, zeros, n_s + 1);
	/* 0, 1, -1, nothing */
	forms[n++] = with_numbers(&p, "\0", 1, s, n_s);
	forms[n++] = with_numbers(&p, r, n_r, "\0", 1);
	forms[n++] = with_numbers(&p, "\0", 1, "\0", 1);
	forms[n++] = with_numbers(&p, "\1", 1, "\1", 1);
	forms[n++] = with_numbers(&p, "\xff", 1, s, n_s);
	forms[n++] = with_numbers(&p, r, n_r, "\xff", 1);
	forms[n++] = with_numbers(&p, "", 0, "", 0);
	/* r and s without their sign's zero are negative, or the same: one of the two has such a zero, mostly */
	if (r[0] == 0)
		forms[n++] = with_numbers(&p, r + 1, n_r - 1, s, n_s);
	if (s[0] == 0)
		forms[n++] = with_numbers(&p, r, n_r, s + 1, n_s - 1);
	forms[n++] = with_numbers(&p, s, n_s, r, n_r);
	assert_int_equal(verify(&rule, DIGEST_A, forms, n, j), -EKEYREJECTED);
	for (size_t i = 0; i < n; i++) {
		if (!streq(j[i].fault, "no configured key made it"))
			fail_msg("form %zu is taken", i);
	}
	free_pairs(&p, 1);
}

/* PKCS #1 v1.5 alone: neither PSS, nor a longer signature, nor another hash. */
static void test_rsa(void **state)
{
	struct verify_rule rule = default_rule();
	const char *payload = SIMPLE(DIGEST_A, IMAGE, "null");
	struct signature_pair p[4];
	struct judgement j[4];

	config_keys[0] = signers[RSA_KEY].path;
	assert_string_equal(fault_by(RSA_KEY, &rule, SIGNATURE_SIMPLE, payload), "");
	for (size_t i = 0; i < ARRAY_SIZE(p); i++)
		p[i] = sign(&signers[RSA_KEY], SIGNATURE_SIMPLE, xstrdup(payload));
	for (size_t i = 0; i < 2; i++) {
		EVP_MD_CTX *c = EVP_MD_CTX_new();
		EVP_PKEY_CTX *k;

		assert_int_equal(EVP_DigestSignInit(c, &k, i ? EVP_sha512() : EVP_sha256(), NULL,
						    signers[RSA_KEY].pkey),
				 1);
		if (i == 0)
			assert_true(EVP_PKEY_CTX_set_rsa_padding(k, 6 /* PSS */) > 0);
		assert_int_equal(EVP_DigestSign(c, (unsigned char *)p[i].bytes, &p[i].n_bytes,
						(const unsigned char *)payload, strlen(payload)),
				 1);
		EVP_MD_CTX_free(c);
	}
	p[2].bytes[p[2].n_bytes++] = 0;
	memmove(p[3].bytes + 1, p[3].bytes, p[3].n_bytes++);
	p[3].bytes[0] = 0;
	assert_int_equal(verify(&rule, DIGEST_A, p, ARRAY_SIZE(p), j), -EKEYREJECTED);
	for (size_t i = 0; i < ARRAY_SIZE(p); i++)
		assert_string_equal(j[i].fault, "no configured key made it");
}

/* --- identity ----------------------------------------------------------------------------------------------- */

static void test_identity(void **state)
{
	struct verify_rule rule = default_rule();
	static const struct {
		enum signature_format format;
		const char *payload, *fault;
	} rows[] = {
		{SIGNATURE_SIMPLE, SIMPLE(DIGEST_A, IMAGE, "null"), ""},
		{SIGNATURE_SIMPLE, SIMPLE(DIGEST_A, IMAGE ":stable", "{}"), ""},
		{SIGNATURE_SIMPLE, SIMPLE(DIGEST_A, "elsewhere/app", OURS), ""},
		{SIGNATURE_SIMPLE, SIMPLE(DIGEST_A, IMAGE "@" DIGEST_A, "null"), ""},
		{SIGNATURE_SIMPLE, SIMPLE(DIGEST_A, IMAGE ":stable@" DIGEST_A, "null"), ""},
		{SIGNATURE_BUNDLE, BUNDLE(HEX_A, OURS), ""},
		{SIGNATURE_BUNDLE, BUNDLE(HEX_A, "{\"image\":\"" IMAGE "\",\"tag\":\"stable\"}"),
		 ""},
		{SIGNATURE_SIMPLE, SIMPLE(DIGEST_B, IMAGE, "null"),
		 "it is for another digest, " DIGEST_B},
		{SIGNATURE_BUNDLE, BUNDLE(HEX_B, OURS), "it is for another digest, " DIGEST_B},
		{SIGNATURE_SIMPLE, SIMPLE(DIGEST_A, "registry.example/acme/other", "null"),
		 "it is for registry.example/acme/other, and not for " IMAGE},
		{SIGNATURE_SIMPLE, SIMPLE(DIGEST_A, "registry.example:5000/acme/app", "null"),
		 "and not for"},
		{SIGNATURE_SIMPLE, SIMPLE(DIGEST_A, "acme/app", "null"),
		 "it is for docker.io/acme/app"},
		{SIGNATURE_SIMPLE, SIMPLE(DIGEST_A, "", "null"), "which is no reference"},
		{SIGNATURE_SIMPLE, SIMPLE(DIGEST_A, IMAGE "/more", "null"), "and not for"},
		/* the annotation decides, although the reference is right */
		{SIGNATURE_SIMPLE, SIMPLE(DIGEST_A, IMAGE, "{\"image\":\"registry.example/x\"}"),
		 "it is for registry.example/x"},
		{SIGNATURE_SIMPLE, SIMPLE(DIGEST_A, IMAGE, "{\"image\":\"\"}"),
		 "which is no reference"},
		{SIGNATURE_BUNDLE, BUNDLE(HEX_A, "{\"image\":\"registry.example/x\"}"),
		 "it is for registry.example/x"},
		{SIGNATURE_BUNDLE, BUNDLE(HEX_A, "{}"), "it names no repository"},
		{SIGNATURE_BUNDLE, BUNDLE(HEX_A, "null"), "it names no repository"},
		{SIGNATURE_BUNDLE, BUNDLE(HEX_A, "{\"seq\":\"1\"}"), "it names no repository"},
		{SIGNATURE_SIMPLE, SIMPLE(DIGEST_A, IMAGE ":edge", "null"),
		 "it is for the tag edge, and not for stable"},
		{SIGNATURE_SIMPLE, SIMPLE(DIGEST_A, IMAGE ":edge", OURS), "it is for the tag edge"},
		{SIGNATURE_SIMPLE, SIMPLE(DIGEST_A, IMAGE ":latest", "null"),
		 "it is for the tag latest"},
		{SIGNATURE_SIMPLE, SIMPLE(DIGEST_A, IMAGE ":edge@" DIGEST_A, "null"),
		 "it is for the tag edge"},
		{SIGNATURE_SIMPLE, SIMPLE(DIGEST_A, IMAGE "@" DIGEST_B, "null"),
		 "its reference is of " DIGEST_B},
		{SIGNATURE_SIMPLE, SIMPLE(DIGEST_A, IMAGE ":stable.rollout", "null"),
		 "it is for the tag"},
		{SIGNATURE_SIMPLE, SIMPLE(DIGEST_A, IMAGE, "{\"tag\":\"edge\"}"),
		 "it is for the tag edge"},
		{SIGNATURE_SIMPLE, SIMPLE(DIGEST_A, IMAGE ":stable", "{\"tag\":\"edge\"}"),
		 "it is for the tag edge"},
		{SIGNATURE_SIMPLE, SIMPLE(DIGEST_A, IMAGE, "{\"tag\":\"\"}"), "it is for the tag"},
		{SIGNATURE_BUNDLE, BUNDLE(HEX_A, "{\"image\":\"" IMAGE "\",\"tag\":\"edge\"}"),
		 "it is for the tag edge"},
		{SIGNATURE_BUNDLE, BUNDLE(HEX_A, "{\"image\":\"" IMAGE ":edge\"}"),
		 "it is for the tag edge"},
		{SIGNATURE_BUNDLE,
		 BUNDLE(HEX_A, "{\"image\":\"" IMAGE ":stable\",\"tag\":\"edge\"}"),
		 "it is for the tag edge"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		expect(&rule, rows[i].format, rows[i].payload, rows[i].fault);
	/* Docker Hub has several names, and a pinned reference no tag. */
	follow("app:v1");
	expect(&rule, SIGNATURE_SIMPLE, SIMPLE(DIGEST_A, "index.docker.io/library/app", "null"),
	       "");
	expect(&rule, SIGNATURE_SIMPLE, SIMPLE(DIGEST_A, "app", "null"), "");
	expect(&rule, SIGNATURE_SIMPLE, SIMPLE(DIGEST_A, "acme/app", "null"),
	       "and not for docker.io/library/app");
	follow(IMAGE "@" DIGEST_A);
	expect(&rule, SIGNATURE_SIMPLE, SIMPLE(DIGEST_A, IMAGE, "null"), "");
	expect(&rule, SIGNATURE_SIMPLE, SIMPLE(DIGEST_A, IMAGE ":stable", "null"),
	       "it is for the tag stable, and the reference has no tag");
}

static void test_policy(void **state)
{
	struct verify_rule rule = default_rule();

	rule.policy = true;
	set_sequence(0, FIRST, 9, DIGEST_B);
	expect(&rule, SIGNATURE_SIMPLE, SIMPLE(DIGEST_A, IMAGE, "null"), "");
	expect(&rule, SIGNATURE_SIMPLE,
	       SIMPLE(DIGEST_A, IMAGE ":stable.rollout", "{\"seq\":\"9\"}"), "");
	expect(&rule, SIGNATURE_SIMPLE, SIMPLE(DIGEST_A, IMAGE ":stable", "{\"seq\":\"8\"}"), "");
	expect(&rule, SIGNATURE_SIMPLE, SIMPLE(DIGEST_A, IMAGE ":edge.rollout", "null"),
	       "it is for the tag");
	expect(&rule, SIGNATURE_SIMPLE, SIMPLE(DIGEST_A, IMAGE ":stable.rollout.rollout", "null"),
	       "it is for the tag");
	expect(&rule, SIGNATURE_SIMPLE,
	       SIMPLE(DIGEST_A, IMAGE, "{\"expires\":\"2027-01-15T07:59:59Z\"}"), "it expired at");
}

/* --- sequence numbers and ends ------------------------------------------------------------------------------ */

#define SEQ(n) BUNDLE(HEX_A, "{\"image\":\"" IMAGE "\",\"seq\":\"" n "\"}")

static void test_sequence(void **state)
{
	struct verify_rule rule = default_rule();

	expect(&rule, SIGNATURE_BUNDLE, SEQ("1"), "");
	assert_int_equal(signature.keys[0].seq, 1);
	set_sequence(0, SECOND, 1000, DIGEST_B); /* of another key */
	set_sequence(1, FIRST, 42, DIGEST_B);
	expect(&rule, SIGNATURE_BUNDLE, SEQ("43"), "");
	expect(&rule, SIGNATURE_BUNDLE, SEQ("999999999999999999"), "");
	assert_true(signature.keys[0].seq == 999999999999999999);
	expect(&rule, SIGNATURE_BUNDLE, SEQ("41"), "its seq 41 is below 42, which was seen");
	expect(&rule, SIGNATURE_BUNDLE, SEQ("42"),
	       "its seq 42 was seen with another digest, " DIGEST_B);
	expect(&rule, SIGNATURE_BUNDLE, BUNDLE(HEX_A, OURS),
	       "it has no seq, and seq 42 of that key was seen");
	expect(&rule, SIGNATURE_SIMPLE, SIMPLE(DIGEST_A, IMAGE, "{\"seq\":\"41\"}"),
	       "its seq 41 is below 42");
	set_sequence(1, FIRST, 42, DIGEST_A);
	expect(&rule, SIGNATURE_BUNDLE, SEQ("42"), "");
	/* Others signed it, too; then another version. */
	set_sequence(2, SECOND, 1001, DIGEST_A);
	expect(&rule, SIGNATURE_BUNDLE, SEQ("42"), "");
	set_sequence(2, SECOND, 1002, DIGEST_B);
	expect(&rule, SIGNATURE_BUNDLE, SEQ("42"), "a version of another key: an older version");
	expect(&rule, SIGNATURE_BUNDLE, SEQ("43"), "");
	rule.exempt = true;
	expect(&rule, SIGNATURE_BUNDLE, SEQ("41"), "");
	expect(&rule, SIGNATURE_BUNDLE, BUNDLE(HEX_A, OURS), "");
	rule.exempt = false;
	rule.record = NULL;
	expect(&rule, SIGNATURE_BUNDLE, SEQ("1"), "");
}

/* A text that is no number does not count as none, and a number that is none is none to nobody. */
static void test_sequence_texts(void **state)
{
	struct verify_rule rule = default_rule();
	static const char *const wrong[] = {
		SEQ("0"),
		SEQ("01"),
		SEQ("-1"),
		SEQ("+1"),
		SEQ("1.0"),
		SEQ("1e3"),
		SEQ(" 1"),
		SEQ("1 "),
		SEQ(""),
		SEQ("0x1"),
		SEQ("1000000000000000000"),
		SEQ("99999999999999999999"),
		SEQ("\\u0031\\u0660"),
		BUNDLE(HEX_A, "{\"image\":\"" IMAGE "\",\"seq\":1}"),
		BUNDLE(HEX_A, "{\"image\":\"" IMAGE "\",\"seq\":null}"),
		BUNDLE(HEX_A, "{\"image\":\"" IMAGE "\",\"seq\":[\"1\"]}"),
	};

	rule.exempt = true; /* not for these */
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		expect(&rule, SIGNATURE_BUNDLE, wrong[i], "\"seq\" is not a number from 1 on");
}

#define EXPIRES(t) BUNDLE(HEX_A, "{\"image\":\"" IMAGE "\",\"expires\":\"" t "\"}")

static void test_expires(void **state)
{
	struct verify_rule rule = default_rule(); /* it is 2027-01-15T08:00:00Z */

	expect(&rule, SIGNATURE_BUNDLE, EXPIRES("2027-01-15T08:00:01Z"), "");
	assert_int_equal(signature.expires_s, 1800000001);
	expect(&rule, SIGNATURE_BUNDLE, EXPIRES("2027-01-15T09:00:01+01:00"), "");
	expect(&rule, SIGNATURE_BUNDLE, EXPIRES("2027-01-15T08:00:00Z"),
	       "it expired at 2027-01-15T08:00:00Z: sign the image again");
	expect(&rule, SIGNATURE_BUNDLE, EXPIRES("2026-01-15T08:00:00Z"), "it expired at");
	rule.now_s = 0;
	expect(&rule, SIGNATURE_BUNDLE, EXPIRES("2026-01-15T08:00:00Z"), "");
	rule.now_s = 1800000000;
	rule.exempt = true;
	expect(&rule, SIGNATURE_BUNDLE, EXPIRES("2026-01-15T08:00:00Z"), "");
	expect(&rule, SIGNATURE_BUNDLE, EXPIRES("tomorrow"), "\"expires\" is not a time");
	expect(&rule, SIGNATURE_BUNDLE, EXPIRES(""), "\"expires\" is not a time");
	expect(&rule, SIGNATURE_BUNDLE, EXPIRES("2027-02-30T08:00:00Z"),
	       "\"expires\" is not a time");
	expect(&rule, SIGNATURE_BUNDLE, EXPIRES("1970-01-01T00:00:00Z"),
	       "\"expires\" is not a time");
	expect(&rule, SIGNATURE_BUNDLE, BUNDLE(HEX_A, "{\"image\":\"" IMAGE "\",\"expires\":4}"),
	       "\"expires\" is not a time");
}

/* --- several signatures and keys ---------------------------------------------------------------------------- */

static struct signature_pair statement_by(int signer, const char *payload)
{
	return sign(&signers[signer], SIGNATURE_BUNDLE, xstrdup(payload));
}

static void test_several_statements(void **state)
{
	struct verify_rule rule = default_rule();
	struct signature_pair p[] = {
		statement_by(FIRST, SEQ("42")),
		statement_by(FIRST, SEQ("44")),
		statement_by(FIRST, SEQ("43")),
		statement_by(THIRD, SEQ("99")),
		statement_by(FIRST, BUNDLE(HEX_B, "{\"image\":\"" IMAGE "\",\"seq\":\"98\"}")),
	};
	struct signature_pair ends[] = {
		statement_by(FIRST, EXPIRES("2027-01-15T08:00:09Z")),
		statement_by(FIRST, EXPIRES("2027-01-15T08:00:20Z")),
		statement_by(FIRST, EXPIRES("2027-01-15T08:00:01Z")),
	};
	struct judgement j[5];

	assert_int_equal(verify(&rule, DIGEST_A, p, 5, j), 0);
	assert_int_equal(signature.n_keys, 1);
	assert_int_equal(signature.keys[0].seq, 44);
	assert_string_equal(signature.keys[0].name, "first.pub");
	assert_string_equal(signature.keys[0].id.text, signers[FIRST].id.text);
	assert_string_equal(j[0].fault, "");
	assert_int_equal(j[2].seq, 43);
	assert_string_equal(j[3].fault, "no configured key made it");
	assert_string_equal(j[3].key, "");
	assert_string_equal(j[4].fault, "it is for another digest, " DIGEST_B);
	assert_int_equal(verify(&rule, DIGEST_A, ends, 3, NULL), 0);
	assert_int_equal(signature.expires_s, 1800000020);
}

static void test_threshold(void **state)
{
	struct verify_rule rule = default_rule();
	struct signature_pair one[] = {statement_by(FIRST, SEQ("1")), statement_by(FIRST, SEQ("2")),
				       statement_by(THIRD, SEQ("3")),
				       statement_by(SECOND, BUNDLE(HEX_A, "{}"))};
	struct signature_pair two[] = {statement_by(SECOND, EXPIRES("2027-01-15T08:00:09Z")),
				       statement_by(FIRST, EXPIRES("2027-01-15T08:00:07Z"))};
	struct signature_pair three[] = {statement_by(RSA_KEY, EXPIRES("2027-01-15T08:00:03Z")),
					 statement_by(SECOND, EXPIRES("2027-01-15T08:00:09Z")),
					 statement_by(FIRST, BUNDLE(HEX_A, OURS))};
	struct signature_pair again[] = {statement_by(FIRST, SEQ("1")),
					 statement_by(FIRST, SEQ("2"))};

	config_keys[1] = signers[SECOND].path;
	config_keys[2] = signers[RSA_KEY].path;
	config.key_threshold = 2;
	assert_int_equal(verify(&rule, DIGEST_A, one, 4, NULL), -EKEYREJECTED);
	assert_string_equal(error.text,
			    "app: " DIGEST_A " is signed by 1 of the configured keys, and "
			    "key-threshold = 2; by second.pub: it names no repository: sign with "
			    "cosign sign -a image=" IMAGE);
	assert_int_equal(verify(&rule, DIGEST_A, two, 2, NULL), 0);
	assert_int_equal(signature.n_keys, 2);
	assert_int_equal(signature.expires_s, 1800000007); /* then one is left */
	assert_int_equal(verify(&rule, DIGEST_A, three, 3, NULL), 0);
	assert_int_equal(signature.n_keys, 3);
	assert_int_equal(signature.expires_s, 1800000009);
	/* A key in two files is one key. */
	config_keys[1] = xasprintf("%s/copy.pub", scratch_path);
	config_keys[2] = NULL;
	assert_int_equal(link(signers[FIRST].path, config_keys[1]), 0);
	assert_int_equal(verify(&rule, DIGEST_A, again, 2, NULL), -EKEYREJECTED);
	assert_non_null(strstr(error.text, "by 1 of the configured keys"));
	(void)unlink(config_keys[1]);
	free(config_keys[1]);
}

static void test_revoked(void **state)
{
	struct verify_rule rule = default_rule();
	_cleanup_free_ char *by_id = xasprintf("%s/revoked", scratch_path);
	_cleanup_free_ char *line = xasprintf("# lost\n%s\n", signers[FIRST].id.text);
	struct signature_pair p[] = {statement_by(FIRST, SEQ("9")), statement_by(SECOND, SEQ("1"))};

	write_text(by_id, line);
	config.revoked = config_revoked;
	config_keys[1] = signers[SECOND].path;
	config_revoked[0] = signers[THIRD].path; /* a list may be a key */
	expect(&rule, SIGNATURE_BUNDLE, SEQ("1"), "");
	config_revoked[1] = by_id;
	expect(&rule, SIGNATURE_BUNDLE, SEQ("1"), "the key is revoked");
	assert_string_equal(error.text, "app: of 1 signature of " DIGEST_A
					" none counts; by first.pub: the key is revoked");
	config_revoked[1] = signers[FIRST].path;
	expect(&rule, SIGNATURE_BUNDLE, SEQ("1"), "the key is revoked");
	assert_int_equal(verify(&rule, DIGEST_A, p, 2, NULL), 0);
	assert_int_equal(signature.n_keys, 1);
	assert_string_equal(signature.keys[0].name, "second.pub");
	(void)unlink(by_id);
}

static void test_sentences(void **state)
{
	struct verify_rule rule = default_rule();
	struct signature_pair foreign[] = {statement_by(SECOND, SEQ("1")),
					   statement_by(THIRD, SEQ("1"))};
	struct signature_pair mixed[] = {
		statement_by(FIRST, "{}"),
		statement_by(FIRST, SEQ("1")),
		statement_by(FIRST, BUNDLE(HEX_B, OURS)),
		statement_by(SECOND, SEQ("1")),
	};

	assert_int_equal(verify(&rule, DIGEST_A, NULL, 0, NULL), -EKEYREJECTED);
	assert_string_equal(error.text, "app: key= is set, and there is no signature of " DIGEST_A
					": sign it with cosign sign");
	assert_int_equal(verify(&rule, DIGEST_A, foreign, 2, NULL), -EKEYREJECTED);
	assert_string_equal(error.text, "app: of 2 signatures of " DIGEST_A
					" none counts; no configured key made it");
	set_sequence(0, FIRST, 42, DIGEST_B);
	assert_int_equal(verify(&rule, DIGEST_A, mixed, 4, NULL), -EKEYREJECTED);
	assert_string_equal(error.text,
			    "app: of 4 signatures of " DIGEST_A " none counts; by first.pub: its "
			    "seq 1 is below 42, which was seen: an older version");
}

/* --- what was verified before ------------------------------------------------------------------------------- */

static int recorded(const struct verify_rule *rule, const struct signature *s, bool any_key)
{
	_cleanup_free_ struct verified *v = NULL;
	struct digest d = digest(DIGEST_A);
	int r;

	error = (struct error){0};
	r = verify_recorded(rule, &d, s, any_key, &v, &error);
	if (r == 0)
		assert_string_equal(verified_digest(v)->text, DIGEST_A);
	else
		assert_null(v);
	return r;
}

static void test_recorded(void **state)
{
	struct verify_rule rule = default_rule();
	struct signature s = {.n_keys = 2,
			      .keys = {{"first.pub", signers[FIRST].id, 5},
				       {"second.pub", signers[SECOND].id, 0}},
			      .expires_s = 1800000001};
	struct signature none = {0};
	struct signature_pair p = statement_by(FIRST, SEQ("1"));

	/* The reference has changed since, or is of a record that did not say it. */
	assert_int_equal(recorded(&rule, &s, false), -EKEYREJECTED);
	assert_non_null(strstr(error.text, "was not verified for " IMAGE ":stable"));
	assert_int_equal(verify(&rule, DIGEST_A, &p, 1, NULL), 0);
	s.reference = signature.reference;
	follow(IMAGE ":edge");
	assert_int_equal(recorded(&rule, &s, false), -EKEYREJECTED);
	assert_int_equal(recorded(&rule, &s, true), 0);
	follow(IMAGE ":stable");
	config_keys[1] = signers[SECOND].path;
	assert_int_equal(recorded(&rule, &s, false), 0);
	/* The first is left, and may have an earlier end. */
	config_keys[1] = NULL;
	assert_int_equal(recorded(&rule, &s, false), -EKEYREJECTED);
	assert_non_null(strstr(error.text, "of the 2 keys that signed " DIGEST_A ", 1 count now"));
	config.key_threshold = 2;
	assert_int_equal(recorded(&rule, &s, false), -EKEYREJECTED);
	assert_non_null(strstr(error.text, "is signed by 1 of the configured keys"));
	assert_int_equal(recorded(&rule, &s, true), 0);
	config_keys[0] = signers[THIRD].path;
	config.key_threshold = 1;
	assert_int_equal(recorded(&rule, &s, false), -EKEYREJECTED);
	assert_int_equal(recorded(&rule, &s, true), 0);
	/* What was taken when no key was set is not signed. */
	assert_int_equal(recorded(&rule, &none, false), -EKEYREJECTED);
	assert_int_equal(recorded(&rule, &none, true), -EKEYREJECTED);
	assert_non_null(strstr(error.text, "was taken without a signature"));
	config_keys[0] = signers[FIRST].path;
	config_keys[1] = signers[SECOND].path;
	config_revoked[0] = signers[FIRST].path;
	config.revoked = config_revoked;
	assert_int_equal(recorded(&rule, &s, false), -EKEYREJECTED); /* the second is left */
	assert_int_equal(recorded(&rule, &s, true), -EKEYREJECTED);
	assert_non_null(strstr(error.text, "by a key that is revoked"));
	config_revoked[1] = signers[SECOND].path;
	assert_int_equal(recorded(&rule, &s, false), -EKEYREJECTED);
	config.revoked = NULL;
	rule.now_s = 1800000001;
	assert_int_equal(recorded(&rule, &s, false), -EKEYREJECTED);
	assert_non_null(strstr(error.text, "it expired at 2027-01-15T08:00:01Z"));
	rule.exempt = true;
	assert_int_equal(recorded(&rule, &s, false), 0);
	rule.exempt = false;
	rule.now_s = 0;
	assert_int_equal(recorded(&rule, &s, false), 0);
	set_sequence(0, FIRST, 6, DIGEST_B);
	assert_int_equal(recorded(&rule, &s, false), -EKEYREJECTED);
	assert_string_equal(error.text, "app: the signature of " DIGEST_A
					" by first.pub: its seq 5 is below 6, "
					"which was seen: an older version");
	rule.exempt = true;
	assert_int_equal(recorded(&rule, &s, false), 0);
}

/* --- ten thousand ------------------------------------------------------------------------------------------- */

static unsigned int lot(unsigned int n)
{
	static uint64_t x = 88172645463325252;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (unsigned int)(x % n);
}

/* One of n choices, of which the first good ones are right; mostly one of those. */
static const char *choose(const char *const *choices, unsigned int n, unsigned int good,
			  bool *right)
{
	unsigned int i = lot(12) ? lot(good) : lot(n);

	*right &= i < good;
	return choices[i];
}
#define CHOOSE(list, good, right) choose(list, ARRAY_SIZE(list), good, right)

#define OURS_7 "{\"image\":\"" IMAGE "\",\"seq\":\"7\"}"

static char *mix_simple(bool *right)
{
	static const char *const digests[] = {DIGEST_A, DIGEST_B, HEX_A, "SHA256:" HEX_A,
					      DIGEST_A "0"};
	static const char *const references[] = {IMAGE,	     IMAGE ":stable", IMAGE ":edge",
						 "acme/app", IMAGE "s",	      ""};
	static const char *const types[] = {"cosign container image signature",
					    "atomic container signature",
					    "Cosign container image signature", ""};
	static const char *const optional[] = {
		"{\"seq\":\"7\"}",
		"{\"seq\":\"8\",\"creator\":1}",
		OURS_7,
		"null",
		"{}",
		OURS,
		"{\"seq\":\"5\"}",
		"{\"seq\":7}",
		"{\"seq\":\"6\"}",
		"{\"seq\":\"7\",\"seq\":\"7\"}",
		"{\"seq\":\"7\",\"Seq\":\"7\"}",
		"{\"Seq\":\"7\"}",
		"{\"image\":\"registry.example/x\",\"seq\":\"7\"}",
		"[]",
		"\"\"",
		"{\"tag\":\"edge\",\"seq\":\"7\"}",
		"{\"expires\":\"2020-01-01T00:00:00Z\",\"seq\":\"7\"}"};
	static const char *const extra[] = {"", ",\"x\":1", ",\"Type\":\"\"", ",\"identity\":{}"};
	static const char *const tail[] = {"", "x", "{}", ","};
	bool of_ours = true;
	const char *digest_text = CHOOSE(digests, 1, right);
	const char *reference = CHOOSE(references, 2, &of_ours);
	const char *type = CHOOSE(types, 1, right), *options = CHOOSE(optional, 3, right);
	const char *more = CHOOSE(extra, 1, right), *end = CHOOSE(tail, 1, right);

	/* With the annotation only another tag is wrong. */
	*right &= of_ours || (streq(options, OURS_7) && !streq(reference, IMAGE ":edge"));
	return xasprintf("{\"critical\":{\"identity\":{\"docker-reference\":\"%s\"},\"image\":{"
			 "\"docker-manifest-"
			 "digest\":\"%s\"},\"type\":\"%s\"%s},\"optional\":%s}%s",
			 reference, digest_text, type, more, options, end);
}

static char *mix_bundle(bool *right)
{
	static const char *const types[] = {"https://in-toto.io/Statement/v1",
					    "https://in-toto.io/Statement/v0.1", ""};
	static const char *const digests[] = {"{\"sha256\":\"" HEX_A "\"}",
					      "{\"sha256\":\"" HEX_B "\"}",
					      "{\"sha256\":\"" HEX_A "\",\"sha512\":\"0\"}",
					      "{}",
					      "{\"SHA256\":\"" HEX_A "\"}",
					      "{\"sha256\":\"" DIGEST_A "\"}",
					      "[\"" HEX_A "\"]"};
	static const char *const annotations[] = {
		OURS_7,
		"{\"image\":\"" IMAGE ":stable\",\"seq\":\"9\",\"x\":{}}",
		OURS,
		"{\"seq\":\"7\"}",
		"{}",
		"null",
		"{\"image\":\"registry.example/x\",\"seq\":\"7\"}",
		"{\"image\":\"" IMAGE ":edge\",\"seq\":\"7\"}",
		"{\"image\":\"" IMAGE "\",\"seq\":\"7\",\"Image\":\"" IMAGE "\"}",
		"{\"image\":\"" IMAGE "\",\"seq\":\"0\"}",
		"{\"image\":\"" IMAGE "\",\"seq\":\"6\"}",
		"{\"image\":\"" IMAGE "\",\"seq\":\"5\"}",
		"{\"image\":\"" IMAGE "\",\"seq\":\"7\",\"expires\":\"2020-01-01T00:00:00Z\"}",
		"{\"image\":[\"" IMAGE "\"],\"seq\":\"7\"}"};
	static const char *const predicates[] = {
		"https://sigstore.dev/cosign/sign/v1", "https://cosign.sigstore.dev/attestation/v1",
		"https://slsa.dev/provenance/v1", "https://sigstore.dev/cosign/sign/v2", ""};
	static const char *const bodies[] = {"{}",   "{\"x\":1}",	  "null",
					     "\"\"", "{\"a\":1,\"A\":2}", "{\"a\":1,\"a\":1}"};
	static const char *const second[] = {"", ",{\"digest\":{\"sha256\":\"" HEX_A "\"}}", ",{}"};
	static const char *const more[] = {"", ",\"x\":1", ",\"_Type\":\"\"", ",\"predicate\":{}"};
	const char *type = CHOOSE(types, 1, right), *d = CHOOSE(digests, 1, right);
	const char *notes = CHOOSE(annotations, 2, right),
		   *predicate = CHOOSE(predicates, 1, right);
	const char *body = CHOOSE(bodies, 2, right), *subject = CHOOSE(second, 1, right);
	const char *top = CHOOSE(more, 1, right);

	return xasprintf("{\"_type\":\"%s\",\"subject\":[{\"digest\":%s,\"annotations\":%s}%s],"
			 "\"predicateType\":\"%s\","
			 "\"predicate\":%s%s}",
			 type, d, notes, subject, predicate, body, top);
}

/* Changes signed bytes or signature so that they are others. */
static void damage(struct signature_pair *p)
{
	char **data = lot(2) ? &p->payload : &p->bytes;
	size_t *n = data == &p->payload ? &p->n_payload : &p->n_bytes, at = lot((unsigned int)*n);

	switch (lot(4)) {
	case 0:
		(*data)[at] = (char)((*data)[at] ^ (1 + (int)lot(255)));
		break;
	case 1:
		*n = at;
		break;
	case 2:
		*data = xrealloc(*data, *n + 1);
		(*data)[(*n)++] = (char)lot(256);
		break;
	default:
		p->format = p->format == SIGNATURE_SIMPLE ? SIGNATURE_BUNDLE : SIGNATURE_SIMPLE;
	}
}

/* Whether a statement is right is known from how it was put together, not by reading it. */
static void test_ten_thousand(void **state)
{
	struct verify_rule rule = default_rule();
	struct signature_pair *pairs = xcalloc(10000, sizeof(*pairs));
	struct judgement *all = xcalloc(10000, sizeof(*all));
	bool *right = xcalloc(10000, sizeof(*right));
	size_t taken = 0;

	set_sequence(0, FIRST, 6, DIGEST_B);
	for (size_t i = 0; i < 10000; i++) {
		enum signature_format format = lot(2) ? SIGNATURE_BUNDLE : SIGNATURE_SIMPLE;
		int signer = lot(8) ? FIRST : lot(2) ? SECOND : RSA_KEY;

		right[i] = signer == FIRST;
		pairs[i] = sign(&signers[signer], format,
				format == SIGNATURE_BUNDLE ? mix_bundle(&right[i])
							   : mix_simple(&right[i]));
		if (lot(6) == 0) {
			damage(&pairs[i]);
			right[i] = false;
		}
	}
	assert_int_equal(verify(&rule, DIGEST_A, pairs, 10000, all), 0);
	assert_int_equal(signature.n_keys, 1);
	for (size_t i = 0; i < 10000; i++) {
		if (right[i] != !all[i].fault[0])
			fail_msg("statement %zu: %s", i,
				 all[i].fault[0] ? all[i].fault : "is taken");
		taken += right[i];
	}
	assert_in_range(taken, 1000, 8000);
	free(pairs);
	free(all);
	free(right);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_without_keys),
		cmocka_unit_test(test_unsigned_with_keys),
		cmocka_unit_test(test_keys_that_cannot_be_read),
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_bits),
		cmocka_unit_test(test_formats_are_not_mixed),
		cmocka_unit_test(test_der),
		cmocka_unit_test(test_rsa),
		cmocka_unit_test(test_identity),
		cmocka_unit_test(test_policy),
		cmocka_unit_test(test_sequence),
		cmocka_unit_test(test_sequence_texts),
		cmocka_unit_test(test_expires),
		cmocka_unit_test(test_several_statements),
		cmocka_unit_test(test_threshold),
		cmocka_unit_test(test_revoked),
		cmocka_unit_test(test_sentences),
		cmocka_unit_test(test_recorded),
		cmocka_unit_test(test_ten_thousand),
	};
	int failed = cmocka_run_group_tests(tests, open_signers, close_signers);

	ref_free(&ref);
	return failed;
}
