/* SPDX-License-Identifier: MIT */
/* delta: the commands of pullet-delta. Each returns the exit status. */
#pragma once

#include "bar.h"
#include "source.h"

struct delta_options {
	const char *config, *platform, *from;
	bool json, dry_run;
};

/* OLD, or with o->from a file of references, and NEW. */
int delta_make(const struct delta_options *o, const char *old, const char *new);
int delta_show(const struct delta_options *o, const char *image);

/* A session with the registry of image; NULL after an error message. The caller frees it with fetch_free(). */
struct fetch *delta_connect(const struct fetch_options *o, const char *image);
/* "arm64" for linux/arm64, "windows/amd64". Caller frees. */
char *delta_platform_text(const struct oci_platform *p);
/* "arm64", "arm/v7" or "linux/arm/v7". -EINVAL. */
int delta_parse_platform(const char *text, struct oci_platform *ret) warn_unused;
void delta_print_json(json_t *j);
/* "1/129". Caller frees. */
char *delta_ratio(uint64_t size, uint64_t plain);
