/* SPDX-License-Identifier: MIT */
/* pass-context: what the actions of one pass share. */
#pragma once

#include "engine.h"
#include "fetch.h"
#include "plan.h"
#include "saved-spec.h"

struct act_context {
	struct context context;
	const struct config *agent;
	const struct container_config *config;
	int state_dir;
	struct fetch *fetch;	   /* the session with its registry */
	struct verified *verified; /* of m->verified */
	struct saved_spec saved;   /* of m->saved_spec */
	struct pull_options pull;
	bool pulled_again; /* target's image was dropped in this pass, for the store is damaged */
};

/* An action: learns facts and notes them in m, or changes the engine. Codes of engine.h and fetch.h;
 * -EKEYREJECTED: the image or the container is refused, with the reason. */
typedef int act_fn(struct act_context *h, struct record *r, const struct world *w,
		   struct pass_state *m, struct error *ret_error) warn_unused;
