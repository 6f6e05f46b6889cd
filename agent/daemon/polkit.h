/* SPDX-License-Identifier: MIT */
/* polkit: may the sender of a method call do that? Root and our own user may; others when polkit says
 * so; where there is no polkit, they may not. */
#pragma once

#include <systemd/sd-bus.h>

struct polkit {
	unsigned int questions; /* that wait for an answer */
};

/* Answers the call. */
typedef int polkit_allowed_fn(sd_bus_message *call, void *userdata);

/* Calls allowed at once, or when polkit has answered, or else refuses the call. container: for the
 * question that people are asked. Returns what a method's handler has to return. */
int polkit_check(struct polkit *p, sd_bus_message *call, const char *action, const char *container,
		 polkit_allowed_fn *allowed, void *userdata, sd_bus_error *error);
