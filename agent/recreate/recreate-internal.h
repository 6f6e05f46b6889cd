/* SPDX-License-Identifier: MIT */
/* recreate-internal: what the files of recreate share; nobody else includes it. */
#pragma once

#include "json-build.h"
#include "recreate-json.h"
#include "recreate.h"

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
