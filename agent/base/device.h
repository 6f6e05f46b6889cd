/* SPDX-License-Identifier: MIT */
/* device: the name of this device, which decides its place in the interval and in a cohort. */
#pragma once

#include "util.h"

#define DEVICE_ID_SIZE 65

/* Writes configured, or if that is NULL the id in /etc/machine-id; empty when there is none. */
void device_id(const char *configured, char ret[DEVICE_ID_SIZE]);

/* A number made of a text: of the id for schedule_next_poll(), of a configuration to tell it from another. Pure. */
uint64_t device_number(const char *text);
