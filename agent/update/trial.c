/* SPDX-License-Identifier: MIT */
#include "trial.h"

#include <stdio.h>

/* Containers that shared the old one's namespaces must live in the new one's too. */
static void judge_followers(struct pass *p)
{
	for (size_t i = 0; i < p->record.n_followers; i++) {
		const struct container_view *new = &p->world.followers[i].new;

		if (!p->record.followers[i].serving || !view_exists(new) || view_is_up(new) ||
		    (new->state == STATE_EXITED &&new->exit_code == 0))
			continue;
		p->state.verdict = VERDICT_BAD;
		(void)snprintf(p->state.reason, sizeof(p->state.reason),
			       "container %s, which shares its namespaces, %s%.300s",
			       p->record.followers[i].name,
			       new->error[0] ? "does not start: " : "did not stay up", new->error);
		return;
	}
}

void trial_judge(struct pass *p)
{
	const struct container_view *new = &p->world.new;
	bool up = view_exists(new) && view_is_up(new);

	if (!up)
		p->state.up_since_ms = 0;
	else if (p->state.up_since_ms == 0)
		p->state.up_since_ms = p->state.now_ms;
	p->state.verdict = VERDICT_PENDING;
	if (p->record.phase == PHASE_TRIAL && view_exists(new) &&
	    (up || p->state.member[0].started_new ||
	     health_is_finished(p->c->health, new, p->record.policy)))
		p->state.verdict = health_judge(p->c, new, p->record.policy,
						up ? p->state.now_ms - p->state.up_since_ms : 0,
						p->state.reason);
	if (p->state.verdict == VERDICT_GOOD)
		judge_followers(p);
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

void trial_explain(struct pass *p)
{
	size_t n = strlen(p->state.reason);
	char line[120];

	p->state.not_at_fault = was_stopped_by_hand(p->context.engine, &p->world.new);
	/* The line only helps people: without it the reason is shorter. */
	if (engine_last_log(p->context.engine, p->world.new.id, line, sizeof(line)) == 0 && line[0])
		(void)snprintf(p->state.reason + n, sizeof(p->state.reason) - n,
			       "; last log line: %s", line);
}
