/* SPDX-License-Identifier: MIT */
/* candidate: learns about the version that the tag points to, from the registry and the engine. Each function
 * sets facts in m and changes nothing; errors as in act.h. */
#pragma once

#include "pass-context.h"

/* Asks where the tag points. Of a digest that is current, rejected or waited for, no details are asked: one
 * request. */
int candidate_ask(struct act_context *h, struct record *r, const struct world *w,
		  struct pass_state *m, struct error *ret_error) warn_unused;
/* Asks for the details of plan_candidate(). */
int candidate_ask_details(struct act_context *h, struct record *r, const struct world *w,
			  struct pass_state *m, struct error *ret_error) warn_unused;
/* Asks what the rollout policy says to this device; one that cannot be read is a fact, too. */
int candidate_ask_policy(struct act_context *h, struct record *r, const struct world *w,
			 struct pass_state *m, struct error *ret_error) warn_unused;
/* Whether the engine has the image of plan_candidate(). */
int candidate_find_image(struct act_context *h, struct record *r, const struct world *w,
			 struct pass_state *m, struct error *ret_error) warn_unused;

/* Whether an image's inspect answer lists d among its RepoDigests. Pure. */
bool candidate_has_digest(const json_t *image, const struct digest *d);
