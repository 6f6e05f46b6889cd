/* SPDX-License-Identifier: MIT */
#include "delta.h"

#include <errno.h>
#include <stdio.h>

#include "log.h"

struct fetch *delta_connect(const struct fetch_options *o, const char *image)
{
	_cleanup_(ref_free) struct ref ref = {0};
	const char *why;

	if (ref_parse(image, &ref, &why) == 0)
		return fetch_new(o, ref.host);
	log_error("%s: %s", image, why);
	return NULL;
}

char *delta_platform_text(const struct oci_platform *p)
{
	char text[PLATFORM_TEXT_MAX];
	const char *all = oci_platform_text(p, text, sizeof(text));

	return xstrdup(after_prefix(all, "linux/") ?: all);
}

int delta_parse_platform(const char *text, struct oci_platform *ret)
{
	_cleanup_free_ char *full = xasprintf("linux/%s", text);

	/* "arm/v7" is no operating system. */
	if (strchr(text, '/') && !after_prefix(text, "arm/") && !after_prefix(text, "arm64/"))
		return platform_parse(text, ret);
	return platform_parse(full, ret);
}

void delta_print_json(json_t *j)
{
	_cleanup_json_ json_t *line = json_need(j);

	(void)json_dumpf(line, stdout, JSON_COMPACT);
	putchar('\n');
}

char *delta_ratio(uint64_t size, uint64_t plain)
{
	uint64_t times = size > 0 ? (plain + size / 2) / size : 0;

	return times > 1 ? xasprintf("1/%ju", (uintmax_t)times)
			 : xasprintf("%ju%%", (uintmax_t)(plain > 0 ? size * 100 / plain : 0));
}
