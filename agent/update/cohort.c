/* SPDX-License-Identifier: MIT */
#include "cohort.h"

#include "crypto.h"

uint32_t cohort_position(const char *device, const struct digest *d)
{
	_cleanup_free_ char *text = xasprintf("%s %s", device, d->text);
	struct digest sum = hash_bytes(text, strlen(text));
	char first[9] = "";

	memcpy(first, sum.text + strlen("sha256:"), sizeof(first) - 1);
	return (uint32_t)(((uint64_t)strtoul(first, NULL, 16) * COHORT_ALL) >> 32);
}
