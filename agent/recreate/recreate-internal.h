/* SPDX-License-Identifier: MIT */
/* recreate-internal: the parts of a create body, a file each. Only the files of recreate include it. */
#pragma once

#include "json-build.h"
#include "recreate-json.h"
#include "recreate.h"

/* The image's Config: the defaults of the container, without those that its label declares the operator's
 * own. Caller owns it. */
json_t *recreate_defaults(const json_t *container, const json_t *image);
/* Writes that label into body, which has Labels: settings of the body that equal the image's. */
void recreate_note_own(json_t *body, const json_t *image);

/* The part of the body that is Config, image defaults taken out. */
int recreate_config(const struct recreate_input *in, json_t **ret,
		    struct error *ret_error) warn_unused;

/* HostConfig with its traps corrected, anonymous volumes attached by name. */
int recreate_host_config(const struct recreate_input *in, json_t **ret,
			 struct error *ret_error) warn_unused;

/* Writes the endpoints of all networks to body's NetworkingConfig and to connect, and adapts host's
 * NetworkMode and Sysctls. */
int recreate_networks(const struct recreate_input *in, json_t *body, json_t *host, json_t *connect,
		      struct error *ret_error) warn_unused;

/* Puts endpoints (object by network name; taken over) where this API version expects them: all in body, or
 * the main one in body and the others in connect. */
int recreate_place_endpoints(json_t *body, json_t *endpoints, const char *main_network,
			     int api_minor, json_t *connect, struct error *ret_error) warn_unused;
