/* SPDX-License-Identifier: MIT */
#include "repair.h"

#include <errno.h>

#include "ref.h"
#include "store.h"
#include "successor.h"

int repair_find_spec(struct act_context *h, struct record *r, const struct world *w,
		     struct pass_state *m, struct error *ret_error)
{
	int q = -ENOENT;

	(void)r;
	saved_spec_free(&h->saved);
	if (!view_exists(&w->old))
		q = saved_spec_load(h->state_dir, h->context.name, &h->saved, ret_error);
	else if (!view_is_broken(&w->old))
		saved_spec_forget(h->state_dir, h->context.name);
	m->saved_spec = h->saved.digest;
	m->spec_known = q == 0 || q == -ENOENT;
	return m->spec_known ? 0 : q;
}

int repair_save_spec(struct act_context *h, struct record *r, const struct world *w,
		     struct pass_state *m, struct error *ret_error)
{
	const struct digest *d = &r->current.digest;
	_cleanup_free_ char *tagged = ref_tagged(h->context.ref);
	_cleanup_free_ char *pinned = ref_pinned(h->context.ref, d);
	_cleanup_(saved_spec_free) struct saved_spec k = {.digest = *d};
	int q = successor_plan(h, NULL, &w->old, NULL, tagged ? tagged : pinned, d->text, &k.plan,
			       ret_error);

	if (q == 0)
		q = saved_spec_save(h->state_dir, h->context.name, &k, ret_error);
	m->spec_saved = q == 0;
	return q;
}

bool repair_is_about_store(const struct error *e)
{
	return e->code != -EKEYREJECTED && !after_prefix(e->text, RESULT_STORE_DAMAGED) &&
	       store_judge(e->text, 0) == STORE_DAMAGED;
}

bool repair_may_pull_again(struct act_context *h, struct record *r, const struct world *w,
			   struct pass_state *m)
{
	bool again = !h->pulled_again;

	record_damage(r, w->boot_id);
	h->pulled_again = true;
	m->damaged |= again;
	return again;
}

void repair_remove_next(struct act_context *h, struct pass_state *m)
{
	_cleanup_free_ char *name = world_slot_name(h->context.name, SLOT_NEXT);
	struct error ignored;

	(void)!engine_remove(h->context.engine, name, &ignored);
	m->member[0].created = false;
}

bool repair_remove_new(struct act_context *h, const struct record *r, struct pass_state *m)
{
	struct engine *engine = h->context.engine;
	_cleanup_json_ json_t *j = NULL;
	struct error said, ignored;

	if (engine_inspect_container(engine, r->new_id, &j, &said) == 0 ||
	    !repair_is_about_store(&said))
		return false;
	(void)!engine_stop(engine, r->new_id, h->config->stop_timeout_s, &ignored);
	if (engine_remove(engine, r->new_id, &ignored) < 0)
		return false;
	m->damaged = true;
	copy_text(m->reason, sizeof(m->reason), said.text);
	return true;
}
