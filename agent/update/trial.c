/* SPDX-License-Identifier: MIT */
#include "trial.h"

#include <stdio.h>

/* Containers that shared the old one's namespaces must live in the new one's too. */
static void judge_followers(const struct record *r, const struct world *w, struct pass_state *m)
{
	for (size_t i = 0; i < r->n_followers; i++) {
		const struct container_view *new = &w->followers[i].new;

		if (!r->followers[i].serving || !view_exists(new) || view_is_up(new) ||
		    (new->state == STATE_EXITED &&new->exit_code == 0))
			continue;
		m->verdict = VERDICT_BAD;
		(void)snprintf(m->reason, sizeof(m->reason),
			       "container %s, which shares its namespaces, %s%.300s",
			       r->followers[i].name,
			       new->error[0] ? "does not start: " : "did not stay up", new->error);
		return;
	}
}

void trial_judge(const struct container_config *c, const struct record *r, const struct world *w,
		 struct pass_state *m)
{
	const struct container_view *new = &w->new;
	bool up = view_exists(new) && view_is_up(new);

	if (!up)
		m->up_since_ms = 0;
	else if (m->up_since_ms == 0)
		m->up_since_ms = m->now_ms;
	m->verdict = VERDICT_PENDING;
	if (r->phase == PHASE_TRIAL && view_exists(new) &&
	    (up || m->member[0].started_new || health_is_finished(c->health, new, r->policy)))
		m->verdict = health_judge(c, new, r->policy, up ? m->now_ms - m->up_since_ms : 0,
					  m->reason);
	if (m->verdict == VERDICT_GOOD)
		judge_followers(r, w, m);
}

/* A container that an operator stops or pauses on trial, or the engine when it is itself stopped, says nothing
 * about the release. */
static bool was_stopped_by_hand(struct engine *e, const struct container_view *new)
{
	if (view_is_up(new))
		return new->state == STATE_PAUSED;
	return new->started_ns > 0 && !new->error[0] &&
	       !engine_ended_by_itself(e, new->id, new->started_ns);
}

void trial_explain(struct engine *e, const struct world *w, struct pass_state *m)
{
	size_t n = strlen(m->reason);
	char line[120];

	m->not_at_fault = was_stopped_by_hand(e, &w->new);
	/* The line only helps people: without it the reason is shorter. */
	if (engine_last_log(e, w->new.id, line, sizeof(line)) == 0 && line[0])
		(void)snprintf(m->reason + n, sizeof(m->reason) - n, "; last log line: %s", line);
}
