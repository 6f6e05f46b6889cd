/* SPDX-License-Identifier: MIT */
/* act: does one action of the plan, which learns a fact or changes the engine. The next look shows whether a
 * change worked. */
#pragma once

#include "pass.h"

/* Does an action that is neither an end nor a decision nor a probe. Returns as act_fn. Notes in the state what was
 * learnt and done, and in the record the followers that were found. */
int act_do(struct pass *p, struct step step, struct error *ret_error) warn_unused;

/* Removes NAME.next of all members, and target's image. The next update removes what the engine keeps now. */
void act_forget(struct pass *p);
