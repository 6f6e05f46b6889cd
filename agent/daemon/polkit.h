/* SPDX-License-Identifier: MIT */
/* polkit: authorizes D-Bus method calls. Root and our own user are authorized; others if polkit says so, and
 * without a polkit they are not. */
#pragma once

#include <systemd/sd-bus.h>

/* Answers the call. */
typedef int polkit_allowed_fn(sd_bus_message *call, void *userdata);

/* Calls allowed at once or once polkit has agreed, else answers the call with an error. container: for the
 * dialog. pending: counts the requests without an answer, which are limited. Returns the value that a method's handler has to return. */
int polkit_check(unsigned int *pending, sd_bus_message *call, const char *action,
		 const char *container, polkit_allowed_fn *allowed, void *userdata,
		 sd_bus_error *error);
