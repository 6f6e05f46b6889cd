/* SPDX-License-Identifier: MIT */
#include "admission.h"

#include <errno.h>

#include "cohort.h"
#include "device.h"

int admission_ask(struct act_context *h, struct record *r, const struct world *w,
		  struct pass_state *m, struct error *ret_error)
{
	const struct rollout_request request = {.image = h->config->image, .ring = h->agent->ring};
	struct policy_answer *p = &m->policy;
	char id[DEVICE_ID_SIZE];
	int q;

	*p = (struct policy_answer){.position =
					    COHORT_ALL - 1}; /* a device without an id is last */
	q = fetch_ask_rollout(h->fetch, &request, &p->reply, ret_error);
	if (q == -ECANCELED)
		return q;
	if (q < 0)
		p->error = *ret_error;
	device_id(h->agent->device_id, id);
	if (id[0])
		p->position = cohort_position(id, plan_candidate(r, w, m));
	p->known = true;
	p->asked_ms = now_ms();
	return 0;
}
