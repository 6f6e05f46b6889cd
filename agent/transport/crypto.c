/* SPDX-License-Identifier: MIT */
#include "crypto.h"

#include <openssl/evp.h>
#include <stdio.h>

char *base64_decode(const char *s, size_t *ret_len)
{
	size_t n = strlen(s), pad = 0;
	char *out;
	int len;

	while (pad < 2 && pad < n && s[n - 1 - pad] == '=')
		pad++;
	if (n == 0 || n % 4 != 0 || n > BASE64_MAX || strspn(s, ALPHANUMERIC "+/") != n - pad)
		return NULL;
	out = xmalloc(n / 4 * 3 + 1);
	len = EVP_DecodeBlock((unsigned char *)out, (const unsigned char *)s, (int)n);
	if (len < (int)pad) {
		free(out);
		return NULL;
	}
	*ret_len = (size_t)len - pad;
	out[*ret_len] = '\0';
	return out;
}

char *base64_encode(const char *data, size_t n)
{
	char *out = xmalloc((n + 2) / 3 * 4 + 1);

	(void)EVP_EncodeBlock((unsigned char *)out, (const unsigned char *)data, (int)n);
	return out;
}

struct digest hash_bytes(const void *data, size_t n)
{
	unsigned char sum[EVP_MAX_MD_SIZE];
	struct digest d = {.text = "sha256:"};
	unsigned int len = 0;

	/* Fails only without memory or without the algorithm. */
	if (EVP_Digest(data, n, sum, &len, EVP_sha256(), NULL) != 1 || len != 32)
		abort();
	for (unsigned int i = 0; i < len; i++)
		(void)snprintf(d.text + 7 + (size_t)2 * i, 3, "%02x", sum[i]);
	return d;
}
