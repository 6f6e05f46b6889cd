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
