/* SPDX-License-Identifier: MIT */
/* successor: what the container that replaces another is made from: that one as the engine tells it, or
 * the operator's file, or what was kept of one that is lost. */
#pragma once

#include "pass-context.h"
#include "recreate.h"

/* image: the new one's inspect answer; NULL: the image stays, or is not here yet. old may be empty: there is
 * none to replace. w, here as below, is NULL for a mere check. */
int successor_plan(const struct act_context *h, const struct world *w,
		   const struct container_view *old, const json_t *image, const char *reference,
		   const char *target, struct recreate_plan *ret,
		   struct error *ret_error) warn_unused;
int successor_plan_follower(const struct act_context *h, const struct world *w,
			    const struct container_view *old, const char *name, const char *target,
			    struct recreate_plan *ret, struct error *ret_error) warn_unused;

/* Whether the old container and its followers can be made again faithfully, or the first one from its
 * file: asked before anything is fetched. */
int successor_check(const struct act_context *h, const struct container_view *old,
		    const struct record *r, const char *target,
		    struct error *ret_error) warn_unused;
