/* SPDX-License-Identifier: MIT */
/* platform: what kind of machine an image is for, in the terms of the OCI image-spec. */
#pragma once

#include "util.h"

struct oci_platform {
	char os[32];
	char architecture[32];
	char variant[16];
};

/* "linux/arm/v7" into buf of n bytes; returns buf. */
const char *oci_platform_text(const struct oci_platform *p, char *buf, size_t n);

/* The other way; -EINVAL. */
int platform_parse(const char *text, struct oci_platform *ret) warn_unused;

/* What a machine of uname(2)'s name runs, for programs of so many bits: a Pi's kernel may have 64 under a
 * system of 32. */
void platform_of_machine(const char *machine, unsigned int bits, struct oci_platform *ret);

/* This machine, as programs like this one see it. */
void platform_of_host(struct oci_platform *ret);
