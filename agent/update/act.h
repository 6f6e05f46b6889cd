/* SPDX-License-Identifier: MIT */
/* act: does one action of the plan: learns a fact or changes the engine. Whether a change worked is seen by
 * looking again. */
#pragma once

#include "pass.h"

/* Does an action that is neither an end nor a decision nor a probe. Codes of engine.h and fetch.h; -EKEYREJECTED:
 * the image or the container is refused, with the reason. Notes in the state what was learnt and done; the record's
 * followers are those that were found last. */
int act_do(struct pass *p, struct step step, struct error *ret_error) warn_unused;

/* Removes NAME.next of all members and target's image, as far as the engine lets it: what stays is dealt with
 * by the next update. */
void act_forget(struct pass *p);
