/* SPDX-License-Identifier: MIT */
/* recreate-json: what the values in an inspect answer mean. Only the files of recreate include it. */
#pragma once

#include "json.h"

/* Absent, null, "", 0, [] and {} mean the same to the engine's merge. */
bool recreate_is_empty(const json_t *j);
bool recreate_same(const json_t *a, const json_t *b);
/* Of Entrypoint and Cmd: [""] means none, too. */
bool recreate_is_no_command(const json_t *j);
bool recreate_is_short_id(const json_t *container, const char *text);

/* HostConfig.NetworkMode with "" and "default" told as "bridge"; borrowed. */
const char *recreate_network_mode(const json_t *host);
static inline bool recreate_mode_has_endpoints(const char *mode)
{
	return !streq(mode, "host") && !streq(mode, "none") && !after_prefix(mode, "container:");
}
