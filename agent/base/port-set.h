/* SPDX-License-Identifier: MIT */
/* port-set: the ports of a container's or image's ExposedPorts. 60,000 of them take 24 kB here, 15 MB as objects of
 * jansson. */
#pragma once

#include "json.h"

#define PORT_PROTOCOLS 3

struct port_set {
	uint64_t bits[PORT_PROTOCOLS][65536 / 64];
};

/* Adds "80/tcp", or "80-90/tcp". false: it is neither, or not as the engine writes it. */
bool port_set_add(struct port_set *s, const char *key);
bool port_set_has(const struct port_set *s, const char *key);
/* Removes those of other. */
void port_set_subtract(struct port_set *s, const struct port_set *other);
size_t port_set_count(const struct port_set *s);

/* Calls on_range for each range of ports that follow each other, "80/tcp" or "80-90/tcp"; without ranges for each port
 * alone. Its negative result ends the walk and is returned. */
int port_set_walk(const struct port_set *s, bool ranges,
		  int (*on_range)(void *userdata, const char *key), void *userdata);
