/* SPDX-License-Identifier: MIT */
#include "port-set.h"

#include <stdio.h>

static const char protocols[PORT_PROTOCOLS][5] = {"tcp", "udp", "sctp"};

/* A decimal number below 65536 without leading zeros. */
static bool read_port(const char **text, unsigned int *ret)
{
	const char *p = *text;
	unsigned int n = 0;

	if (*p == '0' && p[1] >= '0' && p[1] <= '9')
		return false;
	for (; *p >= '0' && *p <= '9' && n < 65536; p++)
		n = n * 10 + (unsigned int)(*p - '0');
	if (p == *text || n > 65535)
		return false;
	*text = p;
	*ret = n;
	return true;
}

static bool read_range(const char *key, unsigned int *ret_first, unsigned int *ret_last,
		       size_t *ret_protocol)
{
	if (!read_port(&key, ret_first))
		return false;
	*ret_last = *ret_first;
	if (*key == '-' && (key++, !read_port(&key, ret_last)))
		return false;
	for (size_t i = 0; *key == '/' && i < PORT_PROTOCOLS; i++) {
		*ret_protocol = i;
		if (streq(key + 1, protocols[i]))
			return *ret_first <= *ret_last;
	}
	return false;
}

static bool has(const struct port_set *s, size_t protocol, unsigned int port)
{
	return s->bits[protocol][port / 64] >> (port % 64) & 1;
}

bool port_set_add(struct port_set *s, const char *key)
{
	unsigned int first, last;
	size_t protocol;

	if (!read_range(key, &first, &last, &protocol))
		return false;
	for (unsigned int port = first; port <= last; port++)
		s->bits[protocol][port / 64] |= (uint64_t)1 << (port % 64);
	return true;
}

bool port_set_has(const struct port_set *s, const char *key)
{
	unsigned int first, last;
	size_t protocol;

	if (!read_range(key, &first, &last, &protocol))
		return false;
	while (first <= last && has(s, protocol, first))
		first++;
	return first > last;
}

void port_set_subtract(struct port_set *s, const struct port_set *other)
{
	for (size_t i = 0; i < PORT_PROTOCOLS; i++)
		for (size_t word = 0; word < ARRAY_SIZE(s->bits[i]); word++)
			s->bits[i][word] &= ~other->bits[i][word];
}

size_t port_set_count(const struct port_set *s)
{
	size_t n = 0;

	for (size_t i = 0; i < PORT_PROTOCOLS; i++)
		for (size_t word = 0; word < ARRAY_SIZE(s->bits[i]); word++)
			n += (size_t)__builtin_popcountll(s->bits[i][word]);
	return n;
}

int port_set_walk(const struct port_set *s, bool ranges,
		  int (*on_range)(void *userdata, const char *key), void *userdata)
{
	for (size_t i = 0; i < PORT_PROTOCOLS; i++) {
		for (unsigned int port = 0; port < 65536; port++) {
			unsigned int first = port;
			char key[32];
			int r;

			if (!has(s, i, port))
				continue;
			while (ranges && port < 65535 && has(s, i, port + 1))
				port++;
			if (port > first)
				(void)snprintf(key, sizeof(key), "%u-%u/%s", first, port,
					       protocols[i]);
			else
				(void)snprintf(key, sizeof(key), "%u/%s", first, protocols[i]);
			r = on_range(userdata, key);
			if (r < 0)
				return r;
		}
	}
	return 0;
}
