/* SPDX-License-Identifier: MIT */
/* health: does the new container do its work? Pure: time is an argument. */
#pragma once

#include "config.h"
#include "world.h"

enum verdict {
	VERDICT_PENDING, /* cannot say yet */
	VERDICT_GOOD,
	VERDICT_BAD,
};

/* By c's health and health_period_ms. up_ms: how long v is known to be up without a break, by our own clock.
 * final_policy: the restart policy it will have; a container that is meant to be restarted must not end. reason: set
 * with VERDICT_BAD, size RECORD_TEXT_MAX. */
enum verdict health_judge(const struct container_config *c, const struct container_view *v,
			  const char *final_policy, uint64_t up_ms, char *reason);

/* A one-shot that did its work and ended: it need not run again. */
bool health_is_finished(enum health_kind kind, const struct container_view *v,
			const char *final_policy);
