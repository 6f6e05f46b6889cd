/* SPDX-License-Identifier: MIT */
#include "crypto.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <sys/param.h>

#define PIECE ((size_t)64 * 1024)

static void print_sum(const unsigned char *sum, unsigned int len, struct digest *ret)
{
	*ret = (struct digest){.text = "sha256:"};
	for (unsigned int i = 0; i < len; i++)
		(void)snprintf(ret->text + 7 + (size_t)2 * i, 3, "%02x", sum[i]);
}

struct digest hash_bytes(const void *data, size_t n)
{
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned int len = 0;
	struct digest d;

	/* Fails only without memory or without the algorithm. */
	if (EVP_Digest(data, n, sum, &len, EVP_sha256(), NULL) != 1 || len != 32)
		abort();
	print_sum(sum, len, &d);
	return d;
}

struct evp_md_ctx_st *hash_begin(void)
{
	EVP_MD_CTX *hash = EVP_MD_CTX_new();

	if (!hash || EVP_DigestInit_ex(hash, EVP_sha256(), NULL) != 1)
		abort();
	return hash;
}

void hash_add(struct evp_md_ctx_st *hash, const void *data, size_t n)
{
	if (EVP_DigestUpdate(hash, data, n) != 1)
		abort();
}

struct digest hash_end(struct evp_md_ctx_st *hash)
{
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned int len = 0;
	struct digest d;

	if (EVP_DigestFinal_ex(hash, sum, &len) != 1 || len != 32)
		abort();
	EVP_MD_CTX_free(hash);
	print_sum(sum, len, &d);
	return d;
}

int hash_file(int fd, uint64_t size, struct digest *ret)
{
	_cleanup_free_ unsigned char *piece = xmalloc(PIECE);
	struct evp_md_ctx_st *hash = hash_begin();
	uint64_t at = 0;
	int q = 0;
	ssize_t n;

	while (at < size && q == 0) {
		n = pread(fd, piece, MIN(PIECE, size - at), (off_t)at);
		if (n <= 0)
			q = n < 0 ? -errno : -ENODATA;
		else
			hash_add(hash, piece, (size_t)n);
		at += n > 0 ? (uint64_t)n : 0;
	}
	*ret = hash_end(hash);
	return q;
}
