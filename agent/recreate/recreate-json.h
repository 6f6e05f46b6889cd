/* SPDX-License-Identifier: MIT */
/* recreate-json: how the engine reads values of a container's configuration. Only the files of recreate
 * include it. */
#pragma once

#include "json.h"

/* Absent, null, "", 0, [] and {} mean the same to the engine's merge. */
bool recreate_is_empty(const json_t *j);
bool recreate_same(const json_t *a, const json_t *b);
/* The same for Entrypoint and Cmd, where [""] is empty, too. */

bool recreate_is_no_command(const json_t *j);
/* Whether text is the container's id of 12 digits. */
bool recreate_is_short_id(const json_t *container, const char *text);

/* HostConfig.NetworkMode; "bridge" for "" and "default". Borrowed. */
const char *recreate_network_mode(const json_t *host);
static inline bool recreate_mode_has_endpoints(const char *mode)
{
	return !streq(mode, "host") && !streq(mode, "none") && !after_prefix(mode, "container:");
}
