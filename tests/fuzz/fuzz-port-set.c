/* SPDX-License-Identifier: MIT */
/* Ports of an image. An input is a key a line; those behind an empty line are taken away again. */
#include "port-set.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static int add(void *userdata, const char *key)
{
	if (!port_set_add(userdata, key))
		abort();
	return 0;
}

static void check(const struct port_set *s)
{
	struct port_set again = {0};

	if (port_set_count(s) > (size_t)PORT_PROTOCOLS * 65536 ||
	    port_set_walk(s, true, add, &again) != 0 || memcmp(s, &again, sizeof(again)) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_free_ char *text = xstrndup((const char *)data, n);
	struct port_set sets[2] = {0}, *s = &sets[0];
	char *rest = text, *line;

	while ((line = strsep(&rest, "\n"))) {
		if (!line[0])
			s = &sets[1];
		else if (port_set_add(s, line) != port_set_has(s, line))
			abort();
	}
	port_set_subtract(&sets[0], &sets[1]);
	check(&sets[0]);
	return 0;
}
