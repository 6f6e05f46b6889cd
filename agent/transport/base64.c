/* SPDX-License-Identifier: MIT */
#include "base64.h"

#include <openssl/evp.h>

char *base64_decode(const char *s, size_t *ret_len)
{
	size_t n = strlen(s), pad = 0;
	char *out;
	int len;

	while (pad < 2 && pad < n && s[n - 1 - pad] == '=')
		pad++;
	if (n == 0 || n % 4 != 0 || n > BASE64_MAX ||
	    strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") !=
		    n - pad)
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
