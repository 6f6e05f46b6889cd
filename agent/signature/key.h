/* SPDX-License-Identifier: MIT */
/* key: the configured keys as libcrypto has them, and whether one of them made a signature. */
#pragma once

#include "config.h"
#include "record.h"

struct evp_pkey_st;

struct key {
	char name[sizeof(
		((struct signed_key *)NULL)->name)]; /* of its file, without the directory */
	struct digest id;			     /* SHA-256 of its SubjectPublicKeyInfo */
	bool revoked;
	struct evp_pkey_st *pkey;
};

/* Different keys: one that is configured twice is here once, under its first name. */
struct key_set {
	struct key items[SIGNATURE_KEYS_MAX];
	size_t n;
};

/* Reads the keys of a container, and which of them are revoked. -EINVAL or the errno of a file, with its path. The caller
 * frees ret by key_set_free(). */
int key_set_read(const struct container_config *c, struct key_set *ret,
		 struct error *ret_error) warn_unused;
void key_set_free(struct key_set *s);

/* Marks what the container's lists revoke; ids of n keys, a flag for each. Errors as key_set_read(). */
int key_find_revoked(const struct container_config *c, const struct digest *const ids[], size_t n,
		     bool *ret_revoked, struct error *ret_error) warn_unused;

/* Whether the key signed the n bytes: ECDSA with SHA-256, in strict DER, or PKCS #1 v1.5 with SHA-256. */
bool key_signed(const struct key *k, const void *data, size_t n, const void *signature,
		size_t n_signature);
