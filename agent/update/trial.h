/* SPDX-License-Identifier: MIT */
/* trial: judges the new container and its followers while they are on trial. */
#pragma once

#include "pass-context.h"

/* Sets m->verdict and m->reason by what is seen at m->now_ms. Pure. */
void trial_judge(const struct container_config *c, const struct record *r, const struct world *w,
		 struct pass_state *m);
/* Learns more about a bad verdict: whether an operator stopped the container, and its last log line. */
void trial_explain(struct engine *e, const struct world *w, struct pass_state *m);
