/* SPDX-License-Identifier: MIT */
/* hash: SHA-256 over bytes, by libcrypto. */
#pragma once

#include "digest.h"

/* The digest of n bytes. Pure. */
struct digest hash_bytes(const void *data, size_t n);
