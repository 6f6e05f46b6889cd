/* SPDX-License-Identifier: MIT */
#include "base64.h"

static const char alphabet[] = UPPER LOWER DIGITS "+/";

/* The 24 bits of a group, for which '=' counts as 'A'. */
static uint32_t read_group(const char *s)
{
	uint32_t bits = 0;

	for (int i = 0; i < 4; i++) {
		const char *at = s[i] == '=' ? alphabet : strchr(alphabet, s[i]);

		bits = bits << 6 | (uint32_t)(at - alphabet);
	}
	return bits;
}

char *base64_decode(const char *s, size_t *ret_len)
{
	size_t n = strlen(s), pad = 0, len;
	char *out;

	while (pad < 2 && pad < n && s[n - 1 - pad] == '=')
		pad++;
	if (n == 0 || n % 4 != 0 || n > BASE64_MAX || strspn(s, alphabet) != n - pad)
		return NULL;
	if (read_group(s + n - 4) & ((1U << 8 * pad) - 1))
		return NULL;
	len = n / 4 * 3 - pad;
	out = xmalloc(n / 4 * 3 + 1);
	for (size_t i = 0; i < n / 4; i++) {
		uint32_t bits = read_group(s + 4 * i);

		out[3 * i] = (char)(bits >> 16);
		out[3 * i + 1] = (char)(bits >> 8);
		out[3 * i + 2] = (char)bits;
	}
	out[len] = '\0';
	*ret_len = len;
	return out;
}

char *base64_encode(const char *data, size_t n)
{
	char *out = xmalloc((n + 2) / 3 * 4 + 1), *p = out;

	for (size_t i = 0; i < n; i += 3) {
		uint32_t bits = 0;

		for (size_t k = i; k < i + 3; k++)
			bits = bits << 8 | (k < n ? (unsigned char)data[k] : 0);
		*p++ = alphabet[bits >> 18];
		*p++ = alphabet[bits >> 12 & 63];
		*p++ = i + 1 < n ? alphabet[bits >> 6 & 63] : '=';
		*p++ = i + 2 < n ? alphabet[bits & 63] : '=';
	}
	*p = '\0';
	return out;
}
