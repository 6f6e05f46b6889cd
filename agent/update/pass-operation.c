/* SPDX-License-Identifier: MIT */
/* What an operator orders, beside looking for news. */
#include <errno.h>
#include <stdio.h>

#include "followers.h"
#include "candidate.h"
#include "pass-internal.h"
#include "successor.h"

bool pass_is_note(enum operation operation)
{
	return operation == OPERATION_HOLD || operation == OPERATION_RELEASE ||
	       operation == OPERATION_RETRY;
}

static void finish_retry(struct pass *p)
{
	size_t n = p->record.n_rejected;

	if (n == 0 && digest_is_set(&p->record.damage.digest))
		pass_finish(p, OUTCOME_DEFERRED, "the engine's store is tried again");
	else if (n == 0)
		pass_finish(p, OUTCOME_DEFERRED, "nothing was rejected");
	else
		pass_finish(p, OUTCOME_DEFERRED, "%zu rejected digest%s forgotten", n,
			    n == 1 ? " is" : "s are");
	p->record.n_rejected = 0;
	p->record.damage = (struct damage){0};
	p->record.last_error[0] = '\0';
}

int pass_note(struct pass *p, struct error *ret_error)
{
	struct record *r = &p->record;
	enum operation operation = p->o->operation;
	bool hold = operation == OPERATION_HOLD;
	bool changed = operation == OPERATION_RETRY
			       ? r->n_rejected > 0 || digest_is_set(&r->damage.digest)
			       : r->held != hold;

	p->result->from = p->result->to = r->current.digest;
	if (operation == OPERATION_RETRY) {
		finish_retry(p);
	} else {
		r->held = hold;
		pass_finish(p, OUTCOME_DEFERRED, "%s%s",
			    hold      ? PASS_HELD
			    : changed ? "released"
				      : "it was not held by the operator",
			    !hold && p->c->hold ? "; hold = yes in the configuration stays" : "");
	}
	return changed ? pass_save(p, ret_error) : 0;
}

/* Everything that speaks against it, before anything is touched. */
static int check_way_back(struct pass *p, struct error *ret_error)
{
	const struct release *previous = &p->record.previous;
	const struct rejected *rejected = record_rejected(&p->record, &previous->digest);
	_cleanup_json_ json_t *image = NULL;
	int r;

	if (!digest_is_set(&previous->digest) || !previous->image[0])
		return error_set(ret_error, -EKEYREJECTED,
				 "there is no version to go back to: none was replaced yet");
	p->result->to = previous->digest;
	if (rejected)
		return error_set(ret_error, -EKEYREJECTED,
				 "the version before was rejected: %s; to forget that: pullet "
				 "retry %s",
				 rejected->reason, p->c->name);
	if (!candidate_current_is_true(&p->record, &p->world))
		return error_set(ret_error, -EKEYREJECTED,
				 "somebody replaced the container since the last update, so what "
				 "was before it is not known");
	r = engine_inspect_image(p->act.context.engine, previous->image, &image, ret_error);
	if (r == -ENOENT)
		return error_set(ret_error, -EKEYREJECTED,
				 "the image of the version before is no longer in the engine: "
				 "publish it again");
	return r;
}

static int begin(struct pass *p, struct error *ret_error)
{
	int r = pass_abandon(p, ret_error);

	if (r == 0)
		r = pass_find_followers(p, ret_error);
	if (r == 0)
		r = successor_check(&p->act, &p->world.old, &p->record,
				    p->record.previous.digest.text, ret_error);
	if (r == 0)
		r = verify_image(p->c, &p->record.previous.digest, &p->verified, ret_error);
	if (r < 0)
		return r;
	plan_begin_rollback(&p->record, p->world.boot_id);
	r = pass_save(p, ret_error);
	if (r == 0)
		pass_announce_phase(p);
	return r;
}

int pass_roll_back(struct pass *p, struct error *ret_error)
{
	bool begun = p->record.phase == PHASE_PREPARE && p->record.rollback;
	struct error ignored;
	const char *why;
	int r;

	p->state = (struct pass_state){.gate_open = true}; /* the operator said when */
	r = world_look(&p->act.context, &p->record, WORLD_WHOLE, &p->world, ret_error);
	if (r < 0)
		return r;
	p->result->from = p->record.current.digest;
	r = check_way_back(p, ret_error);
	/* Not the container's trouble, but the operator's mistake. */
	p->already_reported = r == -EKEYREJECTED;
	if (r == -EKEYREJECTED && begun)
		(void)!pass_abandon(p, &ignored);
	if (r < 0)
		return r;
	why = candidate_left_alone(&p->world.old);
	if (why) {
		pass_finish(p, OUTCOME_DEFERRED, "%s", why);
		return 1;
	}
	if (!begun)
		r = begin(p, ret_error);
	return r < 0 ? r : pass_work(p, ret_error);
}
