/* SPDX-License-Identifier: MIT */
#include "digest.h"

#include <errno.h>

int digest_parse(const char *s, struct digest *ret)
{
	const char *hex = s ? after_prefix(s, "sha256:") : NULL;

	if (!hex || strlen(hex) != 64 || strspn(hex, "0123456789abcdef") != 64)
		return -EINVAL;
	memcpy(ret->text, s, sizeof(ret->text));
	return 0;
}
