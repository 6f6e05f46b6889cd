/* SPDX-License-Identifier: MIT */
/* health: judges whether the new container works. Pure: time is an argument. */
#pragma once

#include "config.h"
#include "world.h"

enum verdict {
	VERDICT_PENDING, /* cannot say yet */
	VERDICT_GOOD,
	VERDICT_BAD,
};

/* Starts of a new container on trial, the first one included. */
#define HEALTH_STARTS_MAX 3

/* Whether its HEALTHCHECK decides. */
bool health_is_checked(const struct container_config *c, const struct container_view *v);

/* How long v may take, from each start, until a verdict: health_period_ms; with a HEALTHCHECK at least until that can
 * have said healthy or unhealthy by its own times, but not more than two hours. */
uint64_t health_limit_ms(const struct container_config *c, const struct container_view *v);

/* Judges v by c's health and health_limit_ms(). up_ms: how long v has been up, by our clock. final_policy: the
 * restart policy that v will have. reason, of RECORD_TEXT_MAX bytes, is set with VERDICT_BAD. */
enum verdict health_judge(const struct container_config *c, const struct container_view *v,
			  const char *final_policy, uint64_t up_ms, char *reason);

/* Whether v is a one-shot container that succeeded and need not run again. */
bool health_is_finished(enum health_kind kind, const struct container_view *v,
			const char *final_policy);

/* v exited, and final_policy starts it again: on trial that is the pass's to do, HEALTH_STARTS_MAX times at most. starts:
 * those that were made. */
bool health_grants_restart(enum health_kind kind, const struct container_view *v,
			   const char *final_policy, unsigned int starts);
