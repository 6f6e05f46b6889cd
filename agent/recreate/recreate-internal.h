/* SPDX-License-Identifier: MIT */
/* recreate-internal: the parts of a create body, a file each, and how the engine reads a container's values. Only
 * the files of recreate include it. */
#pragma once

#include "json.h"
#include "recreate.h"

/* Absent, null, "", 0, [] and {} mean the same to the engine's merge. */
bool recreate_is_empty(const json_t *j);
bool recreate_same(const json_t *a, const json_t *b);
/* The same for Entrypoint and Cmd, where [""] is empty, too. */
bool recreate_is_no_command(const json_t *j);
/* Whether text is the id under key of object, or the first 12 digits of it or more. */
bool recreate_is_id(const json_t *object, const char *key, const char *text);

/* The index of the first equal value; the array's size if there is none. */
size_t recreate_index_of(const json_t *array, const json_t *value);
/* The object under key; a new one replaces any other value. Borrowed. */
json_t *recreate_object(json_t *parent, const char *key);
/* Replaces an entry by text, which is freed. */
void recreate_set_text(json_t *array, size_t i, char *text);

/* HostConfig.NetworkMode; "bridge" for "" and "default". Borrowed. */
const char *recreate_network_mode(const json_t *host);
static inline bool recreate_mode_has_endpoints(const char *mode)
{
	return !streq(mode, "host") && !streq(mode, "none") && !after_prefix(mode, "container:");
}

/* The parts of Config that the engine merges entry by entry. */
#define RECREATE_TABLES 4
extern const char recreate_tables[RECREATE_TABLES][16];

/* The image's Config: the defaults of the container, without those that its label declares the operator's
 * own. Caller owns it. */
json_t *recreate_defaults(const json_t *container, const json_t *image);
/* Writes that label into body, which has Labels: settings of the body that equal the image's. */
void recreate_note_own(json_t *body, const json_t *image);

/* Begins the body with the part that is Config, image defaults taken out. */
int recreate_config(const struct recreate_input *in, struct recreate_plan *plan,
		    struct error *ret_error) warn_unused;
/* Adds HostConfig with its traps corrected, anonymous volumes attached by name. */
int recreate_host_config(const struct recreate_input *in, struct recreate_plan *plan,
			 struct error *ret_error) warn_unused;

/* Writes the endpoints of all networks to the body's NetworkingConfig and to connect, and adapts NetworkMode
 * and Sysctls of its HostConfig. */
int recreate_networks(const struct recreate_input *in, struct recreate_plan *plan,
		      struct error *ret_error) warn_unused;
/* Puts endpoints (object by network name; taken over) where this API version expects them: all in body, or
 * the main one in body and the others in connect. */
int recreate_place_endpoints(const struct recreate_input *in, struct recreate_plan *plan,
			     json_t *endpoints, const char *main_network,
			     struct error *ret_error) warn_unused;
