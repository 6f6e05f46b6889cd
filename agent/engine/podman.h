/* SPDX-License-Identifier: MIT */
/* podman: corrects the answers of podman's Docker-compatible socket to the form of Docker's. Pure. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

/* The oldest of podman's own API that podman 5 still answers. */
#define PODMAN_API "/v4.0.0/libpod"

/* Whether the container is down although its restart policy wants it up. Only podman's own answer tells whether a
 * user stopped it or podman is about to start it again. */
bool podman_needs_own_answer(const json_t *container);
/* own: the answer of podman's own API for the same container. */
void podman_mend_state(json_t *container, const json_t *own);

/* Docker's answer for an image leaves its health check out. own: podman's own answer. */
void podman_mend_image(json_t *image, const json_t *own);

/* The option of a setting that only podman's own API can say, so that a container made through Docker's would lack it;
 * NULL: it has none. Borrowed, or static. own: as above. */
const char *podman_find_own_option(const json_t *own);

/* Removes the values of Config and HostConfig that podman filled in. image: inspect of the container's image. */
void podman_mend_config(json_t *container, const json_t *image);
