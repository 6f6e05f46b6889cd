/* SPDX-License-Identifier: MIT */
/* podman: what podman's Docker-compatible socket says of a container, put as Docker would say it. Pure. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

/* The oldest of podman's own API that podman 5 still answers. */
#define PODMAN_API "/v4.0.0/libpod"

/* Whether the inspect answer shows a container that is down although its restart policy wants it up:
 * stopped by somebody, or about to be started again. Only podman's own answer tells which. */
bool podman_needs_own_answer(const json_t *container);
/* own: the answer of podman's own API for the same container. */
void podman_mend_state(json_t *container, const json_t *own);

/* Docker's answer for an image leaves its health check out. own: podman's own answer. */
void podman_mend_image(json_t *image, const json_t *own);

/* Takes out of Config and HostConfig what podman filled in and nobody asked for. image: inspect of the
 * container's image. */
void podman_mend_config(json_t *container, const json_t *image);
