/* SPDX-License-Identifier: MIT */
/* polkit: root and our own user are authorized; others if polkit says so, and without a polkit they are not. */
#pragma once

#include <systemd/sd-bus.h>

#include "operation.h"

/* Carries out the call, and answers it. */
typedef int polkit_then_fn(void *userdata, sd_bus_message *call, enum operation operation);

/* Asks polkit whether the sender of call may do the operation, and calls then if so; else the sender gets the reason.
 * container: its name, for the dialog. *pending counts the questions under way, of which there is a limit. Returns 1, or
 * a negative errno with error set. */
int polkit_ask(unsigned int *pending, sd_bus_message *call, enum operation operation,
	       const char *container, polkit_then_fn *then, void *userdata, sd_bus_error *error);
