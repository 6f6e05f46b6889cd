/* SPDX-License-Identifier: MIT */
/* recreate-internal: what the files of recreate share; nobody else includes it. */
#pragma once

#include <strings.h>

#include "json.h"
#include "recreate.h"

/* Building on documents that are parsed already: where memory ends here, it ends for all. */
static inline json_t *need(json_t *j)
{
	if (!j)
		abort();
	return j;
}

/* Takes over value. */
static inline void put(json_t *object, const char *key, json_t *value)
{
	if (json_object_set_new(object, key, need(value)) < 0)
		abort();
}

static inline void append(json_t *array, json_t *value)
{
	if (json_array_append_new(array, need(value)) < 0)
		abort();
}

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

/* What the container has from this image's Config unless it has something else; without what the
 * label tells to be the operator's. Caller owns it. */
json_t *recreate_defaults(const json_t *container, const json_t *image);
/* Writes that label into body, which has Labels: what it says itself though image says the same. */
void recreate_note_own(json_t *body, const json_t *image);

/* The part of the body that is Config, image defaults taken out. */
int recreate_config(const struct recreate_input *in, json_t **ret,
		    struct error *ret_error) warn_unused;

/* HostConfig with its traps corrected, anonymous volumes attached by name. */
int recreate_host_config(const struct recreate_input *in, json_t **ret,
			 struct error *ret_error) warn_unused;

/* Endpoints of all networks into body's NetworkingConfig and connect; host's NetworkMode and Sysctls
 * are brought in line. */
int recreate_networks(const struct recreate_input *in, json_t *body, json_t *host, json_t *connect,
		      struct error *ret_error) warn_unused;

/* Where this API version wants endpoints (object by network name; taken over): all in body, or the
 * main one in body and the others in connect. */
int recreate_place_endpoints(json_t *body, json_t *endpoints, const char *main_network,
			     int api_minor, json_t *connect, struct error *ret_error) warn_unused;
