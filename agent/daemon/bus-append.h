/* SPDX-License-Identifier: MIT */
/* bus-append: appends the values of properties to a message of D-Bus. All return a negative errno, or not. */
#pragma once

#include <systemd/sd-bus.h>

#include "unit.h"

int bus_append_history(sd_bus_message *reply, const struct unit *u, const struct record *r);
int bus_append_rejected(sd_bus_message *reply, const struct record *record);
int bus_append_download(sd_bus_message *reply, const struct unit *u);
/* The names of the keys. */
int bus_append_signers(sd_bus_message *reply, const struct signature *s);
/* names: an array of strings. */
int bus_append_names(sd_bus_message *reply, const json_t *names);
