/* SPDX-License-Identifier: MIT */
#include "health.h"

#include <stdio.h>

#define CHECK_SLACK_MS 1000
#define LIMIT_MAX_MS   ((uint64_t)2 * 3600 * 1000)

/* Only "no" and "on-failure" do not restart a container that succeeded. */
static bool may_end(const char *final_policy)
{
	return streq(final_policy, "no") || after_prefix(final_policy, "on-failure");
}

bool health_is_finished(enum health_kind kind, const struct container_view *v,
			const char *final_policy)
{
	return v->state == STATE_EXITED && v->exit_code == 0 &&
	       (kind == HEALTH_EXIT || (kind == HEALTH_AUTO && may_end(final_policy)));
}

static enum verdict bad(char *reason, const char *why)
{
	copy_text(reason, RECORD_TEXT_MAX, why);
	return VERDICT_BAD;
}

static enum verdict judge_ended(const struct container_view *v, char *reason)
{
	if (v->error[0])
		(void)snprintf(reason, RECORD_TEXT_MAX, "it did not start: %.400s", v->error);
	else
		(void)snprintf(reason, RECORD_TEXT_MAX, "it exited with status %d%s", v->exit_code,
			       v->oom_killed ? ": the kernel killed it for want of memory" : "");
	return VERDICT_BAD;
}

bool health_is_checked(const struct container_config *c, const struct container_view *v)
{
	return c->health == HEALTH_HEALTHCHECK ||
	       (c->health == HEALTH_AUTO && v->health != CONTAINER_HEALTH_NONE);
}

/* Until the last of the failures that make it unhealthy. UINT64_MAX when that is too long to count. */
static uint64_t check_ms(const struct health_check *k)
{
	uint64_t failures, starting = 0, whole;

	/* The engine ends a check that takes too long, which takes a moment itself. */
	if (__builtin_mul_overflow(k->retries, k->interval_ms + k->timeout_ms + CHECK_SLACK_MS,
				   &failures))
		return UINT64_MAX;
	/* A failure does not count if its check began within the start period. */
	if (k->start_period_ms > 0)
		starting = k->start_period_ms + k->start_interval_ms + k->timeout_ms;
	return __builtin_add_overflow(starting, failures, &whole) ? UINT64_MAX : whole;
}

uint64_t health_limit_ms(const struct container_config *c, const struct container_view *v)
{
	uint64_t limit = health_is_checked(c, v) ? check_ms(&v->check) : 0;

	/* An engine that is slow to begin with its checks. */
	if (!v->check.has_ended && limit < LIMIT_MAX_MS)
		limit *= 2;
	if (limit > LIMIT_MAX_MS)
		limit = LIMIT_MAX_MS;
	return limit > c->health_period_ms ? limit : c->health_period_ms;
}

static double seconds(uint64_t ms)
{
	return (double)ms / 1000;
}

/* In the words of docker run --health-... */
static enum verdict not_healthy(const struct container_config *c, const struct container_view *v,
				char *reason)
{
	const struct health_check *k = &v->check;
	uint64_t limit_ms = health_limit_ms(c, v);

	(void)snprintf(reason, RECORD_TEXT_MAX,
		       "%s within %.10g s%s: its HEALTHCHECK has start-period %.10g s, interval "
		       "%.10g s, timeout %.10g s, retries %.10g; its first check comes %.10g s "
		       "after the start",
		       k->has_ended ? "it was not healthy" : "no health check ended",
		       seconds(limit_ms),
		       limit_ms == LIMIT_MAX_MS ? ", the longest time that is waited" : "",
		       seconds(k->start_period_ms), seconds(k->interval_ms), seconds(k->timeout_ms),
		       (double)k->retries, seconds(k->interval_ms));
	return VERDICT_BAD;
}

static enum verdict judge_healthcheck(const struct container_config *c,
				      const struct container_view *v, bool over, char *reason)
{
	if (v->health == CONTAINER_HEALTH_HEALTHY)
		return VERDICT_GOOD;
	if (v->health == CONTAINER_HEALTH_UNHEALTHY)
		return bad(reason, "its health check failed");
	if (v->health == CONTAINER_HEALTH_NONE)
		return bad(reason, "health = healthcheck, but it has no HEALTHCHECK");
	return over ? not_healthy(c, v, reason) : VERDICT_PENDING;
}

enum verdict health_judge(const struct container_config *c, const struct container_view *v,
			  const char *final_policy, uint64_t up_ms, char *reason)
{
	bool over = up_ms >= health_limit_ms(c, v);

	if (health_is_finished(c->health, v, final_policy))
		return VERDICT_GOOD;
	if (!view_is_up(v))
		return judge_ended(v, reason);
	if (v->state == STATE_PAUSED)
		return over ? bad(reason, "it was paused") : VERDICT_PENDING;
	if (health_is_checked(c, v))
		return judge_healthcheck(c, v, over, reason);
	if (!over)
		return VERDICT_PENDING;
	return c->health == HEALTH_EXIT ? bad(reason, "it did not exit within health-period")
					: VERDICT_GOOD;
}

bool health_grants_restart(enum health_kind kind, const struct container_view *v,
			   const char *final_policy, unsigned int starts)
{
	const char *most = after_prefix(final_policy, "on-failure:");

	if (v->state != STATE_EXITED || starts >= HEALTH_STARTS_MAX ||
	    health_is_finished(kind, v, final_policy))
		return false;
	if (!may_end(final_policy))
		return true;
	return v->exit_code != 0 && after_prefix(final_policy, "on-failure") &&
	       (!most || starts <= strtoul(most, NULL, 10));
}
