/* SPDX-License-Identifier: MIT */
/* The files of public keys and of revoked ones; the first byte of an input chooses: 'k' or 'r'. libcrypto must read what is
 * taken, and as the same bytes: else a key would have two ids. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "public-key.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check(const struct public_key *key)
{
	const unsigned char *at = key->der;
	unsigned char *again = NULL;
	EVP_PKEY *pkey = d2i_PUBKEY(NULL, &at, (long)key->n);
	int n = pkey ? i2d_PUBKEY(pkey, &again) : 0;

	/* Only libcrypto sees that a point is not on its curve. */
	if (!pkey && key->kind == PUBLIC_KEY_RSA)
		abort();
	if (pkey && (n != (int)key->n || memcmp(again, key->der, key->n) != 0 ||
		     !EVP_PKEY_is_a(pkey, key->kind == PUBLIC_KEY_RSA ? "RSA" : "EC")))
		abort();
	if (pkey && key->kind == PUBLIC_KEY_RSA &&
	    (EVP_PKEY_get_bits(pkey) < 2048 || EVP_PKEY_get_bits(pkey) > 8192))
		abort();
	OPENSSL_free(again);
	EVP_PKEY_free(pkey);
	ERR_clear_error();
}

static void read_revoked(const char *text, size_t n)
{
	struct revoked_list list;
	struct error e = {0};

	if (revoked_parse(text, n, "list", &list, &e) < 0) {
		if (e.code != -EINVAL || !after_prefix(e.text, "list: ") || list.n > 0)
			abort();
		return;
	}
	for (size_t i = 0; i < list.n; i++) {
		if (!list.items[i].key == !digest_is_set(&list.items[i].id))
			abort();
		if (list.items[i].key)
			check(list.items[i].key);
	}
	revoked_free(&list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_free_ char *text = NULL;
	struct public_key key;
	struct error e = {0};

	if (n == 0 || n > PUBLIC_KEY_FILE_MAX)
		return 0;
	text = xmalloc(n);
	memcpy(text, data + 1, n - 1);
	text[n - 1] = '\0';
	if (data[0] == 'r')
		read_revoked(text, n - 1);
	else if (public_key_parse(text, n - 1, "key", &key, &e) == 0)
		check(&key);
	else if (e.code != -EINVAL || !after_prefix(e.text, "key: "))
		abort();
	return 0;
}
