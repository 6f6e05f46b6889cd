/* SPDX-License-Identifier: MIT */
#include "note.h"

#include <stdio.h>

static bool apply_retry(struct record *r, char *reason, size_t size)
{
	size_t n = r->n_rejected;
	bool damaged = digest_is_set(&r->damage.digest);

	if (n > 0)
		(void)snprintf(reason, size, "%zu rejected digest%s forgotten", n,
			       n == 1 ? " is" : "s are");
	else
		(void)snprintf(reason, size, "%s",
			       damaged ? "the engine's store is tried again"
				       : "nothing was rejected");
	r->n_rejected = 0;
	r->damage = (struct damage){0};
	r->last_error[0] = '\0';
	return n > 0 || damaged;
}

bool note_apply(enum operation operation, const struct container_config *c, struct record *r,
		struct result *ret)
{
	bool hold = operation == OPERATION_HOLD, changed = r->held != hold;

	ret->outcome = OUTCOME_DEFERRED;
	ret->from = ret->to = r->current.digest;
	if (operation == OPERATION_RETRY)
		return apply_retry(r, ret->reason, sizeof(ret->reason));
	r->held = hold;
	(void)snprintf(ret->reason, sizeof(ret->reason), "%s%s",
		       hold	 ? RESULT_HELD
		       : changed ? "released"
				 : "it was not held by the operator",
		       !hold && c->hold ? "; hold = yes in the configuration stays" : "");
	return changed;
}
