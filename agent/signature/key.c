/* SPDX-License-Identifier: MIT */
#include "key.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "crypto.h"
#include "public-key.h"

static bool group_is_p256(const EVP_PKEY *pkey)
{
	char group[32] = "";
	size_t n;

	return EVP_PKEY_get_group_name(pkey, group, sizeof(group), &n) == 1 &&
	       streq(group, "prime256v1");
}

/* Says again what public_key_read() has found: were the two to differ, libcrypto would verify by other rules. */
static EVP_PKEY *load_key(const struct public_key *key)
{
	const unsigned char *at = key->der;
	EVP_PKEY *pkey = d2i_PUBKEY(NULL, &at, (long)key->n);
	bool valid =
		pkey && at == key->der + key->n &&
		(key->kind == PUBLIC_KEY_RSA ? EVP_PKEY_is_a(pkey, "RSA")
					     : EVP_PKEY_is_a(pkey, "EC") && group_is_p256(pkey));

	ERR_clear_error();
	if (valid)
		return pkey;
	EVP_PKEY_free(pkey);
	return NULL;
}

static int add_key(struct key_set *s, const char *path, struct error *ret_error)
{
	const char *slash = strrchr(path, '/');
	struct public_key key;
	struct key *k = &s->items[s->n];
	int r = public_key_read(path, &key, ret_error);

	if (r < 0)
		return r;
	*k = (struct key){.id = hash_bytes(key.der, key.n)};
	copy_text(k->name, sizeof(k->name), slash ? slash + 1 : path);
	for (size_t i = 0; i < s->n; i++) {
		if (digest_eq(&s->items[i].id, &k->id))
			return 0;
	}
	k->pkey = load_key(&key);
	if (!k->pkey)
		return error_set(
			ret_error, -EINVAL,
			"%s: it is not a valid key, its point is not of the curve: copy the "
			"file again",
			path);
	s->n++;
	return 0;
}

int key_find_revoked(const struct container_config *c, const struct digest *const ids[], size_t n,
		     bool *ret_revoked, struct error *ret_error)
{
	_cleanup_free_ struct revoked_list *list = xmalloc(sizeof(*list));
	int r;

	for (size_t i = 0; i < n; i++)
		ret_revoked[i] = false;
	for (char **path = c->revoked; path && *path; path++) {
		r = revoked_read(*path, list, ret_error);
		if (r < 0)
			return r;
		for (size_t k = 0; k < list->n; k++) {
			const struct revoked_key *one = &list->items[k];
			struct digest id =
				one->key ? hash_bytes(one->key->der, one->key->n) : one->id;

			for (size_t i = 0; i < n; i++)
				ret_revoked[i] |= digest_eq(ids[i], &id);
		}
		revoked_free(list);
	}
	return 0;
}

int key_set_read(const struct container_config *c, struct key_set *ret, struct error *ret_error)
{
	const struct digest *ids[SIGNATURE_KEYS_MAX];
	bool revoked[SIGNATURE_KEYS_MAX];
	int r = 0;

	ret->n = 0;
	for (char **path = c->keys; r == 0 && path && *path; path++) {
		if (ret->n == SIGNATURE_KEYS_MAX)
			r = error_set(ret_error, -EINVAL, "%s: more than %d keys; retire one",
				      c->name, SIGNATURE_KEYS_MAX);
		else
			r = add_key(ret, *path, ret_error);
	}
	for (size_t i = 0; i < ret->n; i++)
		ids[i] = &ret->items[i].id;
	if (r == 0)
		r = key_find_revoked(c, ids, ret->n, revoked, ret_error);
	for (size_t i = 0; r == 0 && i < ret->n; i++)
		ret->items[i].revoked = revoked[i];
	if (r < 0)
		key_set_free(ret);
	return r;
}

void key_set_free(struct key_set *s)
{
	for (size_t i = 0; i < s->n; i++)
		EVP_PKEY_free(s->items[i].pkey);
	s->n = 0;
}

bool key_signed(const struct key *k, const void *data, size_t n, const void *signature,
		size_t n_signature)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool valid;

	if (!context)
		abort();
	valid = n_signature > 0 &&
		EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, k->pkey) == 1 &&
		EVP_DigestVerify(context, signature, n_signature, data, n) == 1;
	EVP_MD_CTX_free(context);
	ERR_clear_error();
	return valid;
}
