/* SPDX-License-Identifier: MIT */
/* Base64 of credentials, of artifacts and of an engine's headers. */
#include "base64.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_bytes(const char *data, size_t n)
{
	_cleanup_free_ char *text = base64_encode(data, n), *back = NULL;
	size_t len = 0;

	if (!text || strlen(text) != (n + 2) / 3 * 4 || text[strspn(text, ALPHANUMERIC "+/=")])
		abort();
	back = base64_decode(text, &len);
	if (!back || len != n || memcmp(back, data, n) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_free_ char *text = xstrndup((const char *)data, n), *bytes = NULL, *back = NULL;
	size_t len = 0;

	if (n > 0 && n <= 3 * BASE64_MAX / 4)
		check_bytes((const char *)data, n);
	bytes = base64_decode(text, &len);
	if (!bytes)
		return 0;
	if (strlen(text) % 4 != 0 || text[strspn(text, ALPHANUMERIC "+/=")] ||
	    len > strlen(text) / 4 * 3 || bytes[len] != '\0')
		abort();
	back = base64_encode(bytes, len);
	if (!streq(back, text))
		abort();
	return 0;
}
