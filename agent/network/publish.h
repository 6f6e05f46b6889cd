/* SPDX-License-Identifier: MIT */
/* publish: the operator reads and writes the rollout policy beside a tag. A device never does. */
#pragma once

#include "repository.h"

/* The tag of the policy; NULL for a pinned reference and for a tag too long for the suffix. Caller frees. */
char *publish_tag(const struct ref *ref);

/* Pushes policy unless it is invalid: {"digest": of the pushed policy}. With policy NULL, reads: {"digest": of the tag,
 * "policy": the policy or null, "fault": why the policy is not valid}. */
int publish(struct registry *r, const struct ref *ref, const json_t *policy, json_t **ret,
	    struct error *ret_error) warn_unused;
