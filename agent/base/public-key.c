/* SPDX-License-Identifier: MIT */
#include "public-key.h"

#include <errno.h>

#include "base64.h"
#include "der.h"
#include "trusted-file.h"

#define BEGIN	  "-----BEGIN "
#define END	  "-----END PUBLIC KEY-----"
#define BEGIN_KEY BEGIN "PUBLIC KEY-----"

#define RSA_BITS_MIN	  2048
#define RSA_BITS_MAX	  8192
#define RSA_EXPONENT_BITS 64 /* OpenSSL verifies with no larger one */

#define SUPPORTED "cosign generate-key-pair makes a key that is supported"

/* What a key is, and what is wrong with it. */
struct judged_key {
	enum public_key_kind kind;
	const char *fault;
	bool foreign; /* of a kind that no configured key can have, in whatever form */
};

/* Of algorithms and of named curves: the contents of an OBJECT IDENTIFIER. */
#define OID(bytes)  (bytes), sizeof(bytes) - 1
#define OID_EC	    OID("\x2a\x86\x48\xce\x3d\x02\x01")
#define OID_RSA	    OID("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01")
#define OID_RSA_PSS OID("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a")
#define OID_P256    OID("\x2a\x86\x48\xce\x3d\x03\x01\x07")

static const struct {
	const char *oid;
	size_t n;
	const char *fault;
} foreign_kinds[] = {
	{OID("\x2b\x65\x70"), "Ed25519 is not supported: cosign 2 signs with it in another way "
			      "than cosign 3; " SUPPORTED},
	{OID("\x2b\x65\x71"), "Ed448 is not supported: " SUPPORTED},
	{OID_RSA_PSS, "RSASSA-PSS is not supported: cosign signs with PKCS #1 v1.5; " SUPPORTED},
	{OID("\x2a\x86\x48\xce\x38\x04\x01"), "DSA is not supported: " SUPPORTED},
};

static const struct {
	const char *oid;
	size_t n;
	const char *fault;
} foreign_curves[] = {
	{OID("\x2b\x81\x04\x00\x22"),
	 "P-384 is not supported: cosign does not verify what it signs with it; " SUPPORTED},
	{OID("\x2b\x81\x04\x00\x23"), "P-521 is not supported: " SUPPORTED},
	{OID("\x2b\x81\x04\x00\x0a"), "secp256k1 is not supported: " SUPPORTED},
};

static struct judged_key foreign(const char *fault)
{
	return (struct judged_key){.fault = fault, .foreign = true};
}

static struct judged_key broken(const char *fault)
{
	return (struct judged_key){.fault = fault};
}

static struct judged_key judge_ec(struct der parameters, struct der point)
{
	struct der curve;

	if (!der_take(&parameters, DER_OID, &curve) || parameters.n > 0)
		return broken("its curve is spelt out instead of named: " SUPPORTED);
	for (size_t i = 0; i < ARRAY_SIZE(foreign_curves); i++) {
		if (der_is(&curve, foreign_curves[i].oid, foreign_curves[i].n))
			return foreign(foreign_curves[i].fault);
	}
	if (!der_is(&curve, OID_P256))
		return foreign("only the curve P-256 is supported: " SUPPORTED);
	if (point.n > 0 && (point.data[0] == 2 || point.data[0] == 3))
		return broken("its point is compressed: run openssl ec -pubin -pubout -conv_form "
			      "uncompressed -in FILE");
	if (point.n != 65 || point.data[0] != 4)
		return broken("its point is not valid: copy the file again");
	return (struct judged_key){.kind = PUBLIC_KEY_P256};
}

static struct judged_key judge_rsa(struct der parameters, struct der key)
{
	struct der null, numbers, modulus, exponent;
	size_t bits;

	if (!der_take(&parameters, DER_NULL, &null) || null.n > 0 || parameters.n > 0 ||
	    !der_take(&key, DER_SEQUENCE, &numbers) || key.n > 0 ||
	    !der_take_positive(&numbers, &modulus) || !der_take_positive(&numbers, &exponent) ||
	    numbers.n > 0)
		return broken("it is not a valid RSA key: copy the file again");
	bits = der_bits(&modulus);
	if (bits < RSA_BITS_MIN)
		return foreign("RSA of less than 2048 bits is too short: " SUPPORTED);
	if (bits > RSA_BITS_MAX)
		return foreign("RSA of more than 8192 bits is not supported: " SUPPORTED);
	if (!der_is_odd(&modulus))
		return broken(
			"it is not a valid RSA key, its modulus is even: copy the file again");
	if (!der_is_odd(&exponent) || der_bits(&exponent) < 2)
		return foreign("its RSA exponent is not an odd number from 3 on: " SUPPORTED);
	if (der_bits(&exponent) > RSA_EXPONENT_BITS)
		return foreign("its RSA exponent has more than 64 bits: " SUPPORTED);
	return (struct judged_key){.kind = PUBLIC_KEY_RSA};
}

static struct judged_key judge_der(const unsigned char *data, size_t n)
{
	struct der all = {data, n}, info, algorithm, oid, bits;

	if (!der_take(&all, DER_SEQUENCE, &info) || all.n > 0 ||
	    !der_take(&info, DER_SEQUENCE, &algorithm) || !der_take(&algorithm, DER_OID, &oid) ||
	    oid.n == 0 || !der_take(&info, DER_BIT_STRING, &bits) || info.n > 0 || bits.n < 2 ||
	    bits.data[0] != 0)
		return broken("it is not the DER of a public key: copy the file again");
	bits.data++;
	bits.n--;
	for (size_t i = 0; i < ARRAY_SIZE(foreign_kinds); i++) {
		if (der_is(&oid, foreign_kinds[i].oid, foreign_kinds[i].n))
			return foreign(foreign_kinds[i].fault);
	}
	if (der_is(&oid, OID_EC))
		return judge_ec(algorithm, bits);
	if (der_is(&oid, OID_RSA))
		return judge_rsa(algorithm, bits);
	return foreign("its algorithm is not supported: " SUPPORTED);
}

/* What a file is that is no public key, by how PEM names its contents. */
static const char *explain_other(const char *text)
{
	const char *label = strstr(text, BEGIN);
	_cleanup_free_ char *line = label ? xstrndup(label, strcspn(label, "\n")) : NULL;

	if (!line)
		return after_prefix(text, "ssh-") || after_prefix(text, "ecdsa-sha2-")
			       ? "it is a key of SSH, not a PEM file: " SUPPORTED
			       : "it is no PEM file of a public key (-----BEGIN PUBLIC "
				 "KEY-----): " SUPPORTED;
	if (strstr(line, "SIGSTORE PRIVATE KEY") || strstr(line, "COSIGN PRIVATE KEY"))
		return "it is cosign's private key: keep it off devices, and name the .pub file "
		       "beside it";
	if (strstr(line, "PRIVATE KEY"))
		return "it is a private key: keep it off devices, and name the public key, which "
		       "openssl pkey -pubout -in FILE prints";
	if (strstr(line, "CERTIFICATE"))
		return "it is a certificate: name its public key, which openssl x509 -noout "
		       "-pubkey -in FILE prints";
	if (strstr(line, "RSA PUBLIC KEY"))
		return "it is an RSA key in the form of PKCS #1: convert it by openssl rsa "
		       "-RSAPublicKey_in -pubout -in FILE";
	if (strstr(line, "PGP"))
		return "it is a key of PGP: " SUPPORTED;
	return "it is no public key (-----BEGIN PUBLIC KEY-----): " SUPPORTED;
}

/* The next line of *text without its end, which may be that of Windows; *text moves behind it. Caller frees. */
static char *take_line(const char **text)
{
	size_t n = strcspn(*text, "\n");
	char *line = xstrndup(*text, n);

	if (n > 0 && line[n - 1] == '\r')
		line[n - 1] = '\0';
	*text += n + ((*text)[n] ? 1 : 0);
	return line;
}

/* Reads one PEM block at *text, whose first line is that of a public key. The DER, or NULL. Caller frees. */
static unsigned char *take_block(const char **text, size_t *ret_n)
{
	_cleanup_free_ char *coded = xstrdup(""), *first = take_line(text);

	while (**text) {
		_cleanup_free_ char *line = take_line(text), *before = NULL;

		if (streq(line, END))
			return (unsigned char *)base64_decode(coded, ret_n);
		if (strlen(coded) + strlen(line) > BASE64_MAX)
			return NULL;
		before = steal(coded);
		coded = xasprintf("%s%s", before, line);
	}
	return NULL;
}

static bool begins_key(const char *text)
{
	const char *rest = after_prefix(text, BEGIN_KEY);

	return rest && (*rest == '\n' || after_prefix(rest, "\r\n"));
}

/* Takes the PEM block at *text. *ret_foreign: it is one, of a kind that cannot be configured, which is -EINVAL, too. */
static int take_key(const char **text, const char *path, struct public_key *ret, bool *ret_foreign,
		    struct error *ret_error)
{
	_cleanup_free_ unsigned char *der = NULL;
	struct judged_key judged;
	size_t n = 0;

	*ret_foreign = false;
	if (!begins_key(*text))
		return error_set(ret_error, -EINVAL, "%s: %s", path, explain_other(*text));
	der = take_block(text, &n);
	if (!der)
		return error_set(ret_error, -EINVAL,
				 "%s: what is between BEGIN PUBLIC KEY and END PUBLIC KEY is no "
				 "base64: copy the file again",
				 path);
	judged = judge_der(der, n);
	*ret_foreign = judged.foreign;
	if (judged.fault)
		return error_set(ret_error, -EINVAL, "%s: %s", path, judged.fault);
	if (n > sizeof(ret->der))
		return error_set(ret_error, -EINVAL, "%s: the key is too large", path);
	*ret = (struct public_key){.kind = judged.kind, .n = n};
	memcpy(ret->der, der, n);
	return 0;
}

int public_key_parse(const char *text, size_t n, const char *path, struct public_key *ret,
		     struct error *ret_error)
{
	struct public_key key;
	const char *at = text;
	bool is_foreign;
	int r;

	if (strlen(text) != n)
		return error_set(ret_error, -EINVAL,
				 "%s: it is not a text file: it contains a NUL byte", path);
	r = take_key(&at, path, &key, &is_foreign, ret_error);
	if (r < 0)
		return r;
	at += strspn(at, " \t\r\n");
	if (after_prefix(at, BEGIN))
		return error_set(ret_error, -EINVAL,
				 "%s: it holds more than one key: write each to a file of its own, "
				 "with a line key = for each",
				 path);
	if (*at)
		return error_set(ret_error, -EINVAL, "%s: there is text behind the key: remove it",
				 path);
	*ret = key;
	return 0;
}

int public_key_read(const char *path, struct public_key *ret, struct error *ret_error)
{
	_cleanup_free_ char *text = NULL;
	size_t n;
	int r = read_trusted_file(path, PUBLIC_KEY_FILE_MAX, &text, &n, ret_error);

	return r < 0 ? r : public_key_parse(text, n, path, ret, ret_error);
}

static int parse_revoked_line(const char **text, const char *path, struct revoked_key *ret,
			      struct error *ret_error)
{
	_cleanup_free_ char *line = NULL, *word = NULL;
	struct public_key key;
	bool is_foreign;
	const char *at;
	int r;

	if (after_prefix(*text, BEGIN)) {
		r = take_key(text, path, &key, &is_foreign, ret_error);
		if (r < 0)
			return is_foreign ? 0 : r;
		ret->key = xmalloc(sizeof(key));
		*ret->key = key;
		return 0;
	}
	line = take_line(text);
	at = line + strspn(line, " \t");
	if (!*at || *at == '#')
		return 0;
	word = xstrndup(at, strcspn(at, " \t"));
	at += strlen(word);
	if (at[strspn(at, " \t")] || digest_parse(word, &ret->id) < 0)
		return error_set(
			ret_error, -EINVAL,
			"%s: '%.80s' is neither the PEM of a public key, nor the id of one "
			"(sha256: and 64 lower-case hex digits), nor a comment",
			path, line);
	return 0;
}

int revoked_parse(const char *text, size_t n, const char *path, struct revoked_list *ret,
		  struct error *ret_error)
{
	int r = 0;

	ret->n = 0;
	if (strlen(text) != n)
		return error_set(ret_error, -EINVAL,
				 "%s: it is not a text file: it contains a NUL byte", path);
	while (*text && r == 0) {
		struct revoked_key one = {0};

		r = parse_revoked_line(&text, path, &one, ret_error);
		if (r < 0 || (!one.key && !digest_is_set(&one.id)))
			continue;
		if (ret->n < REVOKED_MAX) {
			ret->items[ret->n++] = one;
			continue;
		}
		free(one.key);
		r = error_set(ret_error, -EINVAL,
			      "%s: more than %d keys: write the others to a further file", path,
			      REVOKED_MAX);
	}
	if (r < 0)
		revoked_free(ret);
	return r;
}

int revoked_read(const char *path, struct revoked_list *ret, struct error *ret_error)
{
	_cleanup_free_ char *text = NULL;
	size_t n;
	int r = read_trusted_file(path, PUBLIC_KEY_FILE_MAX, &text, &n, ret_error);

	return r < 0 ? r : revoked_parse(text, n, path, ret, ret_error);
}

void revoked_free(struct revoked_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->items[i].key);
	l->n = 0;
}
