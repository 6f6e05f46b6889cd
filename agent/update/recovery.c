/* SPDX-License-Identifier: MIT */
#include "recovery.h"

#include "followers.h"

static int recover_followers(const struct act_context *h, struct record *r, struct error *ret_error)
{
	struct world w = {0};
	int q = followers_find(&h->context, r->old_id, r->new_id, r, ret_error);

	if (q == 0)
		q = world_look(&h->context, r, WORLD_CONTAINERS, &w, ret_error);
	for (size_t i = 0; q == 0 && i < r->n_followers; i++)
		plan_recover_follower(r, i, &w.followers[i]);
	return q;
}

int recovery_make_record(struct act_context *h, struct record *r, struct error *ret_error)
{
	struct container_view slots[SLOT_MAX];
	int q = world_look_at_names(&h->context, slots, ret_error);

	if (q < 0)
		return q;
	record_init(r);
	plan_recover(r, slots);
	if (r->phase == PHASE_IDLE)
		return 0;
	q = recover_followers(h, r, ret_error);
	return q < 0 ? q : record_save(h->state_dir, h->context.name, r, ret_error);
}
