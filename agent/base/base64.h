/* SPDX-License-Identifier: MIT */
/* base64: RFC 4648, section 4, strictly: the standard alphabet, padded, without white space. Pure. */
#pragma once

#include "util.h"

#define BASE64_MAX ((size_t)24 * 1024)

/* Whole groups of four, BASE64_MAX characters at most, and no bits behind the last byte (section 3.5): so no two texts
 * have the same bytes. NUL-terminated; NULL when s is anything else, or empty. The caller frees, and wipes where it is a
 * secret. */
char *base64_decode(const char *s, size_t *ret_len);
/* Caller frees. */
char *base64_encode(const char *data, size_t n);
