/* SPDX-License-Identifier: MIT */
/* device: by what name this device counts among all, for its place in the interval and in a cohort. */
#pragma once

#include "util.h"

#define DEVICE_ID_SIZE 65

/* configured, or if that is NULL the machine id as in /etc/machine-id; empty when there is none. */
void device_id(const char *configured, char ret[DEVICE_ID_SIZE]);

/* A number for schedule_next_poll. Pure. */
uint64_t device_number(const char *id);
