/* SPDX-License-Identifier: MIT */
/* digest: "sha256:" and 64 lower-case hex digits (OCI image-spec, "Digests"). Plain data; empty: none. */
#pragma once

#include "util.h"

#define DIGEST_TEXT_LEN 71

struct digest {
	char text[DIGEST_TEXT_LEN + 1]; /* "sha256:<hex>", or "" for none */
};

/* Accepts exactly ^sha256:[0-9a-f]{64}$ (CVE-2024-3727); -EINVAL and an untouched ret otherwise, as for NULL. */
int digest_parse(const char *s, struct digest *ret) warn_unused;

static inline bool digest_is_set(const struct digest *d)
{
	return d->text[0] != '\0';
}

static inline bool digest_eq(const struct digest *a, const struct digest *b)
{
	return digest_is_set(a) && streq(a->text, b->text);
}
