/* SPDX-License-Identifier: MIT */
#include "verdict.h"

#include <errno.h>
#include <stdio.h>

#include "clock.h"

#define REMOVAL_MS 300
#define LIVES_MAX  10 /* more than the starts of ours, and some by hand */

/* Whether an operator stopped or paused the container on trial, or an engine that shut down stopped it. That says
 * nothing about the release. */
static bool was_stopped_by_hand(struct engine *e, const struct container_view *new)
{
	if (view_is_up(new))
		return new->state == STATE_PAUSED;
	return new->started_ns > 0 && !new->error[0] &&
	       !engine_ended_by_itself(e, new->id, new->started_ns);
}

/* Containers that shared the old one's namespaces must live in the new one's too. */
static void judge_follower(struct pass *p, size_t i)
{
	struct pass_state *m = &p->state;
	const struct follower *f = &p->record.followers[i];
	const struct container_view *new = &p->world.followers[i].new;
	struct member_progress *progress = &m->member[1 + i];

	if (!f->serving || !view_is_kept(new) || view_is_up(new))
		return;
	if (progress->started_new && !new->error[0] &&
	    health_grants_restart(HEALTH_AUTO, new, f->policy, progress->starts) &&
	    !was_stopped_by_hand(p->context.engine, new)) {
		m->verdict = VERDICT_PENDING;
		m->up_since_ms = m->now_ms;
		progress->restart_due = m->follower_restarted = true;
		return;
	}
	if (health_is_finished(HEALTH_AUTO, new, f->policy))
		return;
	m->verdict = VERDICT_BAD;
	m->blamed = 1 + i;
	m->not_at_fault = was_stopped_by_hand(p->context.engine, new);
	/* Nothing can join a container that has ended: that is no fault of the host. */
	m->host_said = new->error[0] && view_is_up(&p->world.new) && !store_is_of_image(new->error);
	(void)snprintf(m->reason, sizeof(m->reason), "container %s, which depends on it, %s%.300s",
		       f->name, new->error[0] ? "does not start: " : "did not stay up", new->error);
}

/* Since when it is up in this life: a start or an unpause by hand begins the time anew, as it does the engine's own
 * for a HEALTHCHECK. */
static void note_life(struct pass_state *m, const struct container_view *new)
{
	bool paused = new->state == STATE_PAUSED;

	if (!view_exists(new) || !view_is_up(new))
		m->up_since_ms = 0;
	else if (m->up_since_ms == 0 || m->up_started_ns != new->started_ns ||
		 m->up_paused != paused)
		m->up_since_ms = m->now_ms;
	if (m->up_started_ns != new->started_ns || m->up_paused != paused) {
		m->lives++;
		m->health = (struct hook_answer){0};
	}
	m->up_started_ns = new->started_ns;
	m->up_paused = paused;
}

/* On trial its restart policy is "no", and a restart that it is to have by its final one is ours to do and to count. */
static bool restart_is_due(const struct pass *p)
{
	const struct pass_state *m = &p->state;
	const struct container_view *new = &p->world.new;

	if (!m->member[0].started_new || view_is_up(new))
		return false;
	return m->counted ||
	       (health_grants_restart(p->c->health, new, p->record.policy, p->record.starts) &&
		!was_stopped_by_hand(p->context.engine, new));
}

void verdict_judge(struct pass *p)
{
	struct pass_state *m = &p->state;
	const struct container_view *new = &p->world.new;
	uint64_t up_ms;

	note_life(m, new);
	up_ms = m->up_since_ms ? m->now_ms - m->up_since_ms : 0;
	m->verdict = VERDICT_PENDING;
	m->blamed = 0;
	for (size_t i = 0; i < MEMBERS_MAX; i++)
		m->member[i].restart_due = false;
	if (p->record.phase != PHASE_TRIAL || !view_exists(new))
		return;
	m->member[0].restart_due = restart_is_due(p);
	if (!m->member[0].restart_due && (view_is_up(new) || m->member[0].started_new ||
					  health_is_finished(p->c->health, new, p->record.policy)))
		m->verdict = health_judge(p->c, new, p->record.policy, up_ms, m->reason);
	/* Others restart or pause it again and again: its time would never be over. */
	if (m->verdict == VERDICT_PENDING && m->lives > LIVES_MAX) {
		m->verdict = VERDICT_BAD;
		m->not_at_fault = true;
	}
	/* A follower that was started again gets as long as the container. */
	if (m->verdict == VERDICT_GOOD && m->follower_restarted && view_is_up(new) &&
	    up_ms < p->c->health_period_ms)
		m->verdict = VERDICT_PENDING;
	for (size_t i = 0; m->verdict == VERDICT_GOOD && i < p->record.n_followers; i++)
		judge_follower(p, i);
	if (m->verdict == VERDICT_GOOD && m->health.refusal[0]) {
		m->verdict = VERDICT_BAD;
		m->host_said = m->health.host;
		copy_text(m->reason, sizeof(m->reason), m->health.refusal);
	}
	if (m->verdict == VERDICT_BAD)
		m->store_said = false;
}

bool verdict_is_of_others(const struct pass *p)
{
	const struct container_view *new = &p->world.new;

	return new->state == STATE_EXITED && !new->error[0] &&
	       engine_find_ending(p->context.engine, new->id, new->started_ns) == ENDING_STOPPED;
}

/* Who removes a container by force stops it first. */
static void await_removal(struct pass *p)
{
	struct error ignored;

	(void)!engine_wait_event(p->context.engine, p->world.new.id, clock_wall_ns(), REMOVAL_MS,
				 &ignored);
}

void verdict_explain(struct pass *p)
{
	struct pass_state *m = &p->state;
	size_t n = strlen(m->reason);
	_cleanup_json_ json_t *lines = NULL;
	char line[120];
	int r;

	/* A start that failed for want of disk space, or a follower that was stopped, is none of its own either. */
	m->not_at_fault |= was_stopped_by_hand(p->context.engine, &p->world.new);
	if (p->record.starts > 1) {
		(void)snprintf(m->reason + n, sizeof(m->reason) - n, "; started %u times",
			       p->record.starts);
		n = strlen(m->reason);
	}
	/* The line only helps people: without it the reason is shorter. */
	if (m->not_at_fault)
		await_removal(p);
	r = engine_log(p->context.engine, p->world.members[m->blamed].new.id, &lines, line,
		       sizeof(line));
	m->removed = r == -ENOENT;
	if (r < 0 || !line[0])
		return;
	(void)snprintf(m->reason + n, sizeof(m->reason) - n, "; last log line: %s", line);
	p->task->on_event(json_pack("{s:s, s:s, s:s, s:O}", "event", "log", "container", p->c->name,
				    "digest", p->record.target.digest.text, "lines", lines));
}
