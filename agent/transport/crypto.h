/* SPDX-License-Identifier: MIT */
/* crypto: SHA-256, and base64 (RFC 4648, section 4), by libcrypto. Pure. */
#pragma once

#include "digest.h"

#define BASE64_MAX ((size_t)24 * 1024)

struct digest hash_bytes(const void *data, size_t n);

/* Strict: no white space, whole groups of four, BASE64_MAX of them at most. NUL-terminated; NULL when
 * it is not base64. The caller frees, and wipes where it is a secret. */
char *base64_decode(const char *s, size_t *ret_len);
char *base64_encode(const char *data, size_t n);
