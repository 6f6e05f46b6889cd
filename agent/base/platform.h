/* SPDX-License-Identifier: MIT */
/* platform: operating system, architecture and variant, in the terms of the OCI image-spec. */
#pragma once

#include "util.h"

#define PLATFORM_TEXT_MAX 88

struct oci_platform {
	char os[32];
	char architecture[32];
	char variant[16];
};

/* "linux/arm/v7" into buf of n bytes; returns buf. */
const char *oci_platform_text(const struct oci_platform *p, char *buf, size_t n);

/* How well a host runs images of platform p: 0 not at all, higher is better. Follows containerd's platforms.Only: arm64
 * also runs arm v8..v5, arm vN runs vN and older, amd64 also 386. Without a variant arm is v7, arm64 v8. */
unsigned int oci_platform_rank(const struct oci_platform *host, const struct oci_platform *p);

/* Reads the same form; -EINVAL. */
int platform_parse(const char *text, struct oci_platform *ret) warn_unused;

/* The platform of a machine of this name (uname(2)) for programs of 32 or 64 bits: a Pi may have a 64-bit
 * kernel below a 32-bit system. */
void platform_of_machine(const char *machine, unsigned int bits, struct oci_platform *ret);

/* The platform of this program on this machine. */
void platform_of_host(struct oci_platform *ret);
