/* SPDX-License-Identifier: MIT */
/* crypto: SHA-256, and base64 (RFC 4648, section 4), by libcrypto. */
#pragma once

#include "digest.h"

#define BASE64_MAX ((size_t)24 * 1024)

struct digest hash_bytes(const void *data, size_t n);
/* The same of bytes that come in pieces. hash_end() frees what hash_begin() made. */
struct evp_md_ctx_st *hash_begin(void) warn_unused;
void hash_add(struct evp_md_ctx_st *hash, const void *data, size_t n);
struct digest hash_end(struct evp_md_ctx_st *hash);
/* Of the first size bytes of the file fd, read in pieces. -errno; -ENODATA: it is shorter. */
int hash_file(int fd, uint64_t size, struct digest *ret) warn_unused;

/* Strict: no white space, whole groups of four, BASE64_MAX of them at most. NUL-terminated; NULL when
 * it is not base64. The caller frees, and wipes where it is a secret. */
char *base64_decode(const char *s, size_t *ret_len);
char *base64_encode(const char *data, size_t n);
