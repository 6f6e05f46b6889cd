/* SPDX-License-Identifier: MIT */
#include "health.h"

#include <stdio.h>

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
		(void)snprintf(reason, RECORD_TEXT_MAX, "it exited with status %d", v->exit_code);
	return VERDICT_BAD;
}

static enum verdict judge_healthcheck(const struct container_view *v, bool over, char *reason)
{
	if (v->health == CONTAINER_HEALTH_HEALTHY)
		return VERDICT_GOOD;
	if (v->health == CONTAINER_HEALTH_UNHEALTHY)
		return bad(reason, "its health check failed");
	if (v->health == CONTAINER_HEALTH_NONE)
		return bad(reason, "health = healthcheck, but it has no HEALTHCHECK");
	return over ? bad(reason, "it was not healthy within health-period") : VERDICT_PENDING;
}

enum verdict health_judge(const struct container_config *c, const struct container_view *v,
			  const char *final_policy, uint64_t up_ms, char *reason)
{
	bool over = up_ms >= c->health_period_ms;

	if (health_is_finished(c->health, v, final_policy))
		return VERDICT_GOOD;
	if (!view_is_up(v))
		return judge_ended(v, reason);
	if (v->state == STATE_PAUSED)
		return over ? bad(reason, "it was paused") : VERDICT_PENDING;
	if (c->health == HEALTH_HEALTHCHECK ||
	    (c->health == HEALTH_AUTO && v->health != CONTAINER_HEALTH_NONE))
		return judge_healthcheck(v, over, reason);
	if (!over)
		return VERDICT_PENDING;
	return c->health == HEALTH_EXIT ? bad(reason, "it did not exit within health-period")
					: VERDICT_GOOD;
}
