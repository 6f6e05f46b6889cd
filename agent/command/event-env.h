/* SPDX-License-Identifier: MIT */
/* event-env: an event as an EnvironmentFile= of systemd.exec(5), for programs without a parser of JSON. Pure. */
#pragma once

#include "json.h"

/* PULLET_KEY="VALUE" for each field that is a string, null or a list of lines. Keys that are not lower-case letters are
 * left out, so no event sets another variable. Caller frees. */
char *event_environment(json_t *event);
