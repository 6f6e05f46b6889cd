/* SPDX-License-Identifier: MIT */
/* act: the hands. Each action of the plan, done once on the engine; whether it worked is seen by
 * looking again. */
#pragma once

#include "engine.h"
#include "plan.h"

struct act_context {
	struct context context;
	const struct container_config *config;
	const struct verified *verified;   /* of the target; needed for ACT_FETCH */
	const struct digest *image_config; /* digest of the target's config; may be NULL */
	const struct recreate_plan
		*saved_plan; /* what a lost container is made anew from; NULL: none */
	struct pull_options pull;
};

/* Does an action that is no decision. Codes of engine.h; -EKEYREJECTED: the image or the container is
 * refused, with the reason. Notes in m what this pass must remember. */
int act_do(const struct act_context *h, struct step step, const struct record *r,
	   const struct world *w, struct pass_state *m, struct error *ret_error) warn_unused;
