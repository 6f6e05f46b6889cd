/* SPDX-License-Identifier: MIT */
/* The container that runs cannot start any more, since the engine's store is damaged. As long as it is there
 * its image cannot be brought anew, so it has to go first: what it is made of is kept on disk, and from then
 * on it is a container that is not there yet. */
#include <errno.h>

#include "saved-spec.h"
#include "log.h"
#include "candidate.h"
#include "pass-internal.h"
#include "store.h"
#include "successor.h"

int pass_find_kept(struct pass *p, struct error *ret_error)
{
	int r;

	saved_spec_free(&p->saved);
	p->act.saved_plan = NULL;
	if (view_exists(&p->world.old)) {
		if (!candidate_is_broken(&p->world.old))
			saved_spec_forget(p->o->state_dir, p->c->name);
		return 0;
	}
	r = saved_spec_load(p->o->state_dir, p->c->name, &p->saved, ret_error);
	if (r == 0)
		p->act.saved_plan = &p->saved.plan;
	return r == -ENOENT ? 0 : r;
}

/* What would be in the way of a new one; NULL: nothing. */
static const char *find_blocker(const struct pass *p)
{
	if (record_is_hopeless(&p->record, &p->record.current.digest, p->world.boot_id))
		return "it was made anew in vain; it is tried again after a reboot, or after "
		       "pullet "
		       "retry";
	if (view_exists(&p->world.blocker))
		return "another container has the name that its successor needs: remove that";
	if (p->record.n_followers > 0)
		return "others share its namespaces: remove it and them, and make them again";
	return NULL;
}

static int refuse(struct pass *p, const char *why, struct error *ret_error)
{
	return error_set(ret_error, -EIO, RESULT_STORE_DAMAGED ": container %s: %.250s; %s",
			 p->c->name, p->world.old.error, why);
}

/* What was wrong may have been wrong for a moment. 1: it runs. */
static int try_start(struct pass *p, struct error *ret_error)
{
	int r = engine_start(p->act.context.engine, p->world.old.id, ret_error);

	if (r < 0)
		return store_judge(ret_error->text, 0) == STORE_DAMAGED ? 0 : r;
	log_warning("%s: started again, after: %s", p->c->name, p->world.old.error);
	p->result->outcome = OUTCOME_UP_TO_DATE;
	return 1;
}

static int keep(struct pass *p, struct error *ret_error)
{
	const struct digest *d = &p->record.current.digest;
	_cleanup_free_ char *tagged = ref_tagged(&p->ref), *pinned = ref_pinned(&p->ref, d);
	_cleanup_(saved_spec_free) struct saved_spec k = {.digest = *d};
	int r = successor_plan(&p->act, NULL, &p->world.old, NULL, tagged ? tagged : pinned,
			       d->text, &k.plan, ret_error);

	return r < 0 ? r : saved_spec_save(p->o->state_dir, p->c->name, &k, ret_error);
}

int pass_repair(struct pass *p, struct error *ret_error)
{
	struct verified *verified = NULL;
	const char *why;
	struct error e;
	int r;

	if (p->o->operation == OPERATION_CHECK) {
		pass_finish(p, OUTCOME_DEFERRED,
			    RESULT_STORE_DAMAGED
			    ": container %s: %.250s; only a check was asked for",
			    p->c->name, p->world.old.error);
		return 1;
	}
	r = try_start(p, ret_error);
	if (r == 0)
		r = pass_find_followers(p, ret_error);
	if (r != 0)
		return r;
	why = find_blocker(p);
	if (why)
		return refuse(p, why, ret_error);
	/* All that could forbid its successor is asked before it goes. */
	r = verify_image(p->c, &p->record.current.digest, &verified, ret_error);
	verified_free(verified);
	if (r == 0 && !digest_eq(&p->reply.digest, &p->record.current.digest))
		r = candidate_ask_details(p->fetch, &p->act.context, &p->record.current.digest,
					  &p->record, &p->world, &p->reply, ret_error);
	if (r < 0)
		return r;
	r = keep(p, &e);
	if (r < 0)
		return refuse(p, e.text, ret_error);
	log_warning("%s: %s; making the container anew", p->c->name, p->world.old.error);
	r = engine_remove(p->act.context.engine, p->world.old.id, &e);
	if (r < 0 && r != -ENOENT)
		return refuse(p, e.text, ret_error);
	r = world_look(&p->act.context, &p->record, WORLD_WHOLE, &p->world, ret_error);
	return r < 0 ? r : pass_find_kept(p, ret_error);
}
