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

/* Judges v by c's health and health_period_ms. up_ms: how long v has been up, by our clock. final_policy: the
 * restart policy that v will have. reason, of RECORD_TEXT_MAX bytes, is set with VERDICT_BAD. */
enum verdict health_judge(const struct container_config *c, const struct container_view *v,
			  const char *final_policy, uint64_t up_ms, char *reason);

/* Whether v is a one-shot container that succeeded and need not run again. */
bool health_is_finished(enum health_kind kind, const struct container_view *v,
			const char *final_policy);
