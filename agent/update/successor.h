/* SPDX-License-Identifier: MIT */
/* successor: what the container that replaces another is made from: that one as the engine tells it, or
 * the operator's file, or what was kept of one that is lost. */
#pragma once

#include "pass.h"
#include "recreate.h"

/* image: the new one's inspect answer; NULL: the image stays, or is not here yet. w, here as below, is NULL for
 * a mere check. There may be no container to replace. */
int successor_plan(const struct pass *p, const struct world *w, const json_t *image,
		   const char *reference, const char *target, struct recreate_plan *ret,
		   struct error *ret_error) warn_unused;
/* id: of the follower that is replaced. -EKEYREJECTED, too: a check finds it paused. */
int successor_plan_follower(const struct pass *p, const struct world *w, const char *id,
			    const char *name, const char *target, struct recreate_plan *ret,
			    struct error *ret_error) warn_unused;

/* Whether the old container and its followers can be made again faithfully, or the first one from its
 * file: asked before anything is fetched. */
act_fn successor_check;
