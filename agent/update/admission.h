/* SPDX-License-Identifier: MIT */
/* admission: learns what the rollout policy beside an image says to this device. */
#pragma once

#include "pass-context.h"

/* Sets m->policy, with the error of a policy that cannot be read. -ECANCELED. */
int admission_ask(struct act_context *h, struct record *r, const struct world *w,
		  struct pass_state *m, struct error *ret_error) warn_unused;
