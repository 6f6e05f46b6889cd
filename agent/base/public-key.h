/* SPDX-License-Identifier: MIT */
/* public-key: the files of public keys that key = and revoked = name. Strict PEM (RFC 7468) and DER, without libcrypto:
 * pulletd and pullet read them, too. */
#pragma once

#include "digest.h"
#include "error.h"

enum public_key_kind {
	PUBLIC_KEY_P256,
	PUBLIC_KEY_RSA, /* PKCS #1 */
};

#define PUBLIC_KEY_DER_MAX  1200
#define PUBLIC_KEY_FILE_MAX ((size_t)64 * 1024)

struct public_key {
	enum public_key_kind kind;
	size_t n;
	unsigned char der[PUBLIC_KEY_DER_MAX]; /* SubjectPublicKeyInfo, RFC 5280 */
};

/* Reads a trusted file of one "PUBLIC KEY" and nothing else: P-256 with an uncompressed point, or RSA of 2048 to 8192
 * bits. Other keys are refused by name: cosign's two versions sign in different ways with Ed25519, and neither verifies
 * what it signs with P-384. The message begins with path. -EINVAL, or the errno of the file. */
int public_key_read(const char *path, struct public_key *ret, struct error *ret_error) warn_unused;
/* The same of the n bytes of a file, with a NUL behind them; path for messages. */
int public_key_parse(const char *text, size_t n, const char *path, struct public_key *ret,
		     struct error *ret_error) warn_unused;

static inline bool public_key_eq(const struct public_key *a, const struct public_key *b)
{
	return a->n == b->n && memcmp(a->der, b->der, a->n) == 0;
}

#define REVOKED_MAX 256 /* of one file */

/* A key that counts no more: by its id, or by itself. */
struct revoked_key {
	struct digest id;	/* SHA-256 of its DER; empty: key is set */
	struct public_key *key; /* NULL: id is set */
};

struct revoked_list {
	struct revoked_key items[REVOKED_MAX];
	size_t n;
};

/* Reads a trusted file of PEM public keys of any kind, of lines "sha256:HEX" and of comments, which begin with '#'. Those
 * that no configuration takes are left out. A key in a form that only hides one that it takes is refused, since it would
 * revoke nothing. Errors as
 * public_key_read(). The caller frees ret by revoked_free(). */
int revoked_read(const char *path, struct revoked_list *ret, struct error *ret_error) warn_unused;
int revoked_parse(const char *text, size_t n, const char *path, struct revoked_list *ret,
		  struct error *ret_error) warn_unused;
void revoked_free(struct revoked_list *l);
