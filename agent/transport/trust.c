/* SPDX-License-Identifier: MIT */
#include "trust.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "credential.h"
#include "crypto.h"

#define FILE_MAX  ((size_t)4 * 1024 * 1024)
#define FILES_MAX 64 /* of one directory */

static char *text_of_bio(BIO *bio)
{
	char *data = NULL;
	long n = BIO_get_mem_data(bio, &data);
	char *text = n > 0 ? xstrndup(data, (size_t)n) : NULL;

	BIO_free(bio);
	return text;
}

static X509 *parse_certificate(const char *name, const unsigned char *der, long n)
{
	if (streq(name, PEM_STRING_X509) || streq(name, PEM_STRING_X509_OLD))
		return d2i_X509(NULL, &der, n);
	return streq(name, PEM_STRING_X509_TRUSTED) ? d2i_X509_AUX(NULL, &der, n) : NULL;
}

/* The valid certificates in data, in PEM; NULL: none. libcurl would refuse all for one damaged block, Go skips it.
 * Caller frees. */
static char *find_certificates(const char *data, size_t n)
{
	BIO *in = BIO_new_mem_buf(data, (int)n), *out = BIO_new(BIO_s_mem());

	if (!in || !out)
		abort();
	for (;;) {
		unsigned char *der = NULL;
		char *name = NULL, *header = NULL;
		X509 *x = NULL;
		long size = 0;
		int r = PEM_read_bio(in, &name, &header, &der, &size);

		if (r == 1)
			x = parse_certificate(name, der, size);
		else if (ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE)
			break;
		ERR_clear_error();
		if (x && PEM_write_bio_X509(out, x) != 1)
			abort();
		X509_free(x);
		OPENSSL_free(name);
		OPENSSL_free(header);
		OPENSSL_free(der);
	}
	ERR_clear_error();
	BIO_free(in);
	return text_of_bio(out);
}

static void add_authorities(struct trust *t, const char *pem)
{
	char *before = t->authorities;

	if (!pem)
		return;
	t->authorities = xasprintf("%s%s", before ? before : "", pem);
	free(before);
}

int trust_add_file(struct trust *t, const char *path, struct error *ret_error)
{
	_cleanup_free_ char *data = NULL, *found = NULL;
	size_t n = 0;
	int r = read_file_at(AT_FDCWD, path, FILE_MAX, &data, &n);

	if (r < 0)
		return error_set(ret_error, r, "%s: %s", path, strerror(-r));
	found = find_certificates(data, n);
	if (!found)
		return error_set(ret_error, -EBADMSG, "%s: no certificate in PEM form in it", path);
	add_authorities(t, found);
	t->alone = t->is_set = true;
	return 0;
}

/* A file that this user may not read need not be needed: the failure without it names it. */
static void skip(struct trust *t, const char *path, int code)
{
	if (!t->skipped)
		t->skipped =
			xasprintf("%s is not used: %s%s", path, strerror(-code),
				  code != -EACCES	     ? ""
				  : has_suffix(path, ".key") ? "; let the user pullet-fetch read "
							       "it (chgrp pullet-fetch, chmod 640)"
							     : "; run chmod a+r on it");
}

/* Caller frees; NULL: skipped. */
static char *read_or_skip(struct trust *t, const char *path, size_t *ret_n)
{
	char *data = NULL;
	int r = read_file_at(AT_FDCWD, path, FILE_MAX, &data, ret_n);

	if (r < 0)
		skip(t, path, r);
	return data;
}

static bool key_fits(const char *certificate, const char *key)
{
	BIO *a = BIO_new_mem_buf(certificate, -1), *b = BIO_new_mem_buf(key, -1);
	X509 *x = PEM_read_bio_X509(a, NULL, NULL, (void *)"");
	/* With a passphrase, no callback asks for it. */
	EVP_PKEY *k = PEM_read_bio_PrivateKey(b, NULL, NULL, (void *)"");
	bool fits = x && k && X509_check_private_key(x, k) == 1;

	ERR_clear_error();
	X509_free(x);
	EVP_PKEY_free(k);
	BIO_free(a);
	BIO_free(b);
	return fits;
}

/* The first pair of the directory counts. */
static int add_client(struct trust *t, const char *certificate, const char *key,
		      struct error *ret_error)
{
	_cleanup_free_ char *data = NULL;
	_cleanup_(credential_wipe) char *secret = NULL;
	size_t n = 0;

	if (t->certificate)
		return 0;
	data = read_or_skip(t, certificate, &n);
	secret = data ? read_or_skip(t, key, &n) : NULL;
	if (!secret)
		return 0;
	if (!key_fits(data, secret))
		return error_set(ret_error, -EBADMSG, "%s: not the private key of %s", key,
				 certificate);
	t->certificate = steal(data);
	t->key = steal(secret);
	return 0;
}

/* moby, registry.loadTLSConfig(): the other half of a pair, by its name. */
static int take_pair(struct trust *t, const char *path, const char *suffix, const char *other,
		     struct error *ret_error)
{
	_cleanup_free_ char *pair =
		xasprintf("%.*s%s", (int)(strlen(path) - strlen(suffix)), path, other);

	if (access(pair, F_OK) < 0 && errno == ENOENT)
		return error_set(ret_error, -ENOKEY, "%s has no %s beside it%s", path,
				 strrchr(pair, '/') + 1,
				 streq(suffix, ".cert")
					 ? " (the certificate of an authority ends in .crt)"
					 : "");
	return streq(suffix, ".cert") ? add_client(t, path, pair, ret_error) : 0;
}

static int take_file(struct trust *t, const char *path, bool authorities, struct error *ret_error)
{
	_cleanup_free_ char *data = NULL, *found = NULL;
	size_t n = 0;

	t->is_set |= has_suffix(path, ".crt") || has_suffix(path, ".cert");
	if (has_suffix(path, ".cert"))
		return take_pair(t, path, ".cert", ".key", ret_error);
	if (has_suffix(path, ".key"))
		return take_pair(t, path, ".key", ".cert", ret_error);
	if (!has_suffix(path, ".crt") || !authorities)
		return 0;
	data = read_or_skip(t, path, &n);
	found = data ? find_certificates(data, n) : NULL;
	add_authorities(t, found);
	return 0;
}

int trust_add_directory(struct trust *t, const char *dir, struct error *ret_error)
{
	bool authorities = !t->alone;
	struct dirent **list = NULL;
	int n = scandir(dir, &list, NULL, alphasort), r = 0;

	if (n < 0 && errno != ENOENT && errno != ENOTDIR)
		skip(t, dir, -errno);
	for (int i = 0; i < n; i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", dir, list[i]->d_name);

		if (r == 0 && i < FILES_MAX)
			r = take_file(t, path, authorities, ret_error);
		free(list[i]);
	}
	free(list);
	return r;
}

void trust_add(struct trust *t, const struct trust *other)
{
	add_authorities(t, other->authorities);
}

struct digest trust_hash(const struct trust *t)
{
	_cleanup_free_ char *text =
		xasprintf("%d\n%s\n%s", t->alone, t->authorities ? t->authorities : "",
			  t->certificate ? t->certificate : "");

	return hash_bytes(text, strlen(text));
}

void trust_free(struct trust *t)
{
	free(t->authorities);
	free(t->certificate);
	credential_wipe(&t->key);
	free(t->skipped);
	*t = (struct trust){0};
}
