/* SPDX-License-Identifier: MIT */
#include "platform.h"

#include <errno.h>
#include <stdio.h>
#include <sys/utsname.h>

#define RANK_NATIVE 100

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

/* containerd's platforms.normalizeArch */
static const char *normal_architecture(const char *s)
{
	static const char aliases[][2][8] = {
		{"aarch64", "arm64"}, {"x86_64", "amd64"}, {"x86-64", "amd64"},
		{"i386", "386"},      {"armhf", "arm"},	   {"armel", "arm"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(aliases); i++) {
		if (strcasecmp(s, aliases[i][0]) == 0)
			return aliases[i][1];
	}
	return s;
}

/* "v7" and "7" are 7; a missing one is the architecture's; -1 for anything else. */
static int variant_of(const struct oci_platform *p, const char *architecture)
{
	const char *s = p->variant;
	int missing = 1;

	if (streq(architecture, "arm"))
		missing = strcasecmp(p->architecture, "armel") == 0 ? 6 : 7;
	else if (streq(architecture, "arm64"))
		missing = 8;
	if (!*s)
		return missing;
	if (*s == 'v')
		s++;
	return *s >= '1' && *s <= '9' && !s[1] ? *s - '0' : -1;
}

unsigned int oci_platform_rank(const struct oci_platform *host, const struct oci_platform *p)
{
	const char *ha = normal_architecture(host->architecture);
	const char *pa = normal_architecture(p->architecture);
	int hv = variant_of(host, ha), pv = variant_of(p, pa);

	if (!p->os[0] || !pa[0] || strcasecmp(host->os, p->os) != 0)
		return 0;
	if (streq(ha, "arm64") && streq(pa, "arm"))
		return hv > 0 && pv >= 5 && pv <= 8 ? (unsigned int)pv : 0;
	if (streq(ha, "amd64") && streq(pa, "386"))
		return 1;
	if (strcasecmp(ha, pa) != 0)
		return 0;
	if (!streq(ha, "arm") && !streq(ha, "arm64") && !streq(ha, "amd64"))
		return streq(host->variant, p->variant) || !p->variant[0] ? RANK_NATIVE : 0;
	if (pv < 0 || hv < pv || (streq(ha, "arm") && pv < 5))
		return 0;
	return RANK_NATIVE + (unsigned int)pv;
}
