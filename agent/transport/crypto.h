/* SPDX-License-Identifier: MIT */
/* crypto: SHA-256, by libcrypto. */
#pragma once

#include "base64.h"
#include "digest.h"

struct digest hash_bytes(const void *data, size_t n);
/* The same of bytes that come in pieces. hash_end() frees what hash_begin() made. */
struct evp_md_ctx_st *hash_begin(void) warn_unused;
void hash_add(struct evp_md_ctx_st *hash, const void *data, size_t n);
struct digest hash_end(struct evp_md_ctx_st *hash);
/* Of the first size bytes of the file fd, read in pieces. -errno; -ENODATA: it is shorter. */
int hash_file(int fd, uint64_t size, struct digest *ret) warn_unused;
