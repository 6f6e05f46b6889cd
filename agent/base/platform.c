/* SPDX-License-Identifier: MIT */
#include "platform.h"

#include <errno.h>
#include <stdio.h>
#include <sys/utsname.h>

const char *oci_platform_text(const struct oci_platform *p, char *buf, size_t n)
{
	(void)snprintf(buf, n, "%s/%s%s%s", p->os, p->architecture, p->variant[0] ? "/" : "",
		       p->variant);
	return buf;
}

int platform_parse(const char *text, struct oci_platform *ret)
{
	struct oci_platform p = {0};
	char again[sizeof(p)];
	int n = sscanf(text, "%31[a-z0-9]/%31[a-z0-9_]/%15[a-z0-9]", p.os, p.architecture,
		       p.variant);

	if (n < 2 || !streq(oci_platform_text(&p, again, sizeof(again)), text))
		return -EINVAL;
	*ret = p;
	return 0;
}

void platform_of_machine(const char *machine, unsigned int bits, struct oci_platform *ret)
{
	static const struct {
		char prefix[8]; /* of the machine's name */
		unsigned int bits;
		char architecture[8], variant[4];
	} rows[] = {
		{"x86_64", 64, "amd64", ""}, {"x86_64", 32, "386", ""},
		{"i", 32, "386", ""},	     {"aarch64", 64, "arm64", ""},
		{"armv5", 32, "arm", "v5"},  {"armv6", 32, "arm", "v6"},
		{"arm", 32, "arm", "v7"},    {"aarch64", 32, "arm", "v7"},
	};

	*ret = (struct oci_platform){.os = "linux"};
	copy_text(ret->architecture, sizeof(ret->architecture), machine); /* riscv64, s390x, ... */
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (rows[i].bits != bits || !after_prefix(machine, rows[i].prefix))
			continue;
		copy_text(ret->architecture, sizeof(ret->architecture), rows[i].architecture);
		copy_text(ret->variant, sizeof(ret->variant), rows[i].variant);
		return;
	}
}

void platform_of_host(struct oci_platform *ret)
{
	struct utsname u;

	platform_of_machine(uname(&u) == 0 ? u.machine : "unknown", 8 * sizeof(void *), ret);
}
