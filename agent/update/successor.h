/* SPDX-License-Identifier: MIT */
/* successor: the create body of the container that replaces another, from the engine's answer about the old
 * container, from the operator's create file, or from the saved spec of a container that is gone. */
#pragma once

#include "pass.h"
#include "recreate.h"

/* image: the new image's inspect answer; NULL: the image stays the same, or is not here yet. w is NULL for a mere
 * check, here and below. There may be no container to replace. */
int successor_plan(const struct pass *p, const struct world *w, const json_t *image,
		   const char *reference, const char *target, struct recreate_plan *ret,
		   struct error *ret_error) warn_unused;
/* id: of the follower that is replaced. -EKEYREJECTED also if a check finds it paused. */
int successor_plan_follower(const struct pass *p, const struct world *w, const char *id,
			    const char *name, const char *target, struct recreate_plan *ret,
			    struct error *ret_error) warn_unused;

/* Checks, before the image is fetched, that the old container and its followers can be recreated faithfully, or
 * that the first container can be created from its file. */
act_fn successor_check;
