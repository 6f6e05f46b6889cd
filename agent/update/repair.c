/* SPDX-License-Identifier: MIT */
#include "repair.h"

#include <errno.h>

#include "successor.h"
#include "survey.h"

int repair_find_spec(struct pass *p, struct error *ret_error)
{
	int q = -ENOENT;

	saved_spec_free(&p->saved);
	if (!view_exists(&p->world.old))
		q = saved_spec_load(p->task->state_dir, p->context.name, &p->saved, ret_error);
	else if (!view_is_broken(&p->world.old))
		saved_spec_forget(p->task->state_dir, p->context.name);
	if (q == -ENOENT && !p->c->create && !view_exists(&p->world.old))
		survey_find_service(p->context.engine, p->c->name, p->state.service_of,
				    sizeof(p->state.service_of));
	p->state.saved_spec = p->saved.digest;
	p->state.spec_known = q == 0 || q == -ENOENT;
	return p->state.spec_known ? 0 : q;
}

int repair_save_spec(struct pass *p, struct error *ret_error)
{
	const struct digest *d = &p->record.current.digest;
	_cleanup_free_ char *tagged = ref_tagged(p->context.ref);
	_cleanup_free_ char *pinned = ref_pinned(p->context.ref, d);
	_cleanup_(saved_spec_free) struct saved_spec k = {.digest = *d};
	int q = successor_plan(p, NULL, NULL, tagged ? tagged : pinned, d->text, &k.plan,
			       ret_error);

	if (q == 0)
		q = saved_spec_save(p->task->state_dir, p->context.name, &k, ret_error);
	p->state.spec_saved = q == 0;
	return q;
}

bool repair_is_about_store(const struct error *e)
{
	return e->origin == ERROR_STORE && !after_prefix(e->text, RESULT_STORE_DAMAGED);
}

bool repair_may_pull_again(struct pass *p)
{
	bool again = !p->pulled_again;

	record_damage(&p->record, p->world.boot_id);
	p->pulled_again = true;
	p->state.damaged |= again;
	return again;
}

void repair_remove_next(struct pass *p)
{
	_cleanup_free_ char *name = world_slot_name(p->context.name, SLOT_NEXT);
	struct error ignored;

	(void)!engine_remove(p->context.engine, name, &ignored);
	p->state.member[0].created = false;
}

bool repair_remove_new(struct pass *p)
{
	struct engine *engine = p->context.engine;
	_cleanup_json_ json_t *j = NULL;
	struct error said, ignored;

	if (engine_inspect_container(engine, p->record.new_id, &j, &said) == 0 ||
	    !repair_is_about_store(&said))
		return false;
	(void)!engine_stop(engine, p->record.new_id, p->c->stop_timeout_s, &ignored);
	if (engine_remove(engine, p->record.new_id, &ignored) < 0)
		return false;
	p->state.damaged = true;
	copy_text(p->state.reason, sizeof(p->state.reason), said.text);
	return true;
}
