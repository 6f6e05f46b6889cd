/* SPDX-License-Identifier: MIT */
/* Platforms of an index and of a command line, and the machine's name. */
#include "platform.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_free_ char *s = xstrndup((const char *)data, n);
	struct oci_platform p = {0}, again = {0};
	char text[sizeof(p)];

	if (platform_parse(s, &p) == 0) {
		(void)oci_platform_text(&p, text, sizeof(text));
		if (!streq(s, text) || platform_parse(text, &again) < 0 ||
		    memcmp(&p, &again, sizeof(p)) != 0)
			abort();
	}
	for (unsigned int bits = 32; bits <= 64; bits += 32) {
		platform_of_machine(s, bits, &p);
		(void)oci_platform_text(&p, text, sizeof(text));
		if (!streq(p.os, "linux") || !after_prefix(text, "linux/"))
			abort();
	}
	return 0;
}
