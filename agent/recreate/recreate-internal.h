/* SPDX-License-Identifier: MIT */
/* recreate-internal: the parts of a create body, a file each, and how the engine reads a container's values. Only
 * the files of recreate include it. */
#pragma once

#include "json.h"
#include "recreate.h"

/* Absent, null, "", 0, [] and {} mean the same to the engine's merge. */
bool recreate_is_empty(const json_t *j);
bool recreate_same(const json_t *a, const json_t *b);
/* Whether text is the id under key of object, or the first 12 digits of it or more. */
bool recreate_is_id(const json_t *object, const char *key, const char *text);

/* The index of the first equal value; the array's size if there is none. */
size_t recreate_index_of(const json_t *array, const json_t *value);
/* The object under key; a new one replaces any other value. Borrowed. */
json_t *recreate_object(json_t *parent, const char *key);

/* A name as the engine writes it, "/name", without the slash. NULL for NULL. Borrowed. */
static inline const char *recreate_without_slash(const char *name)
{
	return name ? name + (name[0] == '/') : NULL;
}

/* HostConfig.NetworkMode; "bridge" for "" and "default". Borrowed. */
const char *recreate_network_mode(const json_t *host);

/* Begins the body with the part that is Config, image defaults taken out. */
int recreate_config(const struct recreate_input *in, struct recreate_plan *plan,
		    struct error *ret_error) warn_unused;
/* Writes a label into body, which has Labels: the settings of the body that equal the image's. */
void recreate_note_own(json_t *body, const json_t *image);
/* Adds HostConfig with its traps corrected, anonymous volumes attached by name. */
int recreate_host_config(const struct recreate_input *in, struct recreate_plan *plan,
			 struct error *ret_error) warn_unused;

/* Writes the endpoints of all networks to the body's NetworkingConfig and to connect, and adapts NetworkMode
 * and Sysctls of its HostConfig. */
int recreate_networks(const struct recreate_input *in, struct recreate_plan *plan,
		      struct error *ret_error) warn_unused;
/* The whole body from the operator's, its networks moved to where this API version expects them. */
int recreate_first(const struct recreate_input *in, struct recreate_plan *plan,
		   struct error *ret_error) warn_unused;
