/* SPDX-License-Identifier: MIT */
/* publish: the operator's side of a rollout: the policy beside a tag, read and written. Never asked for by a
 * device. */
#pragma once

#include "repository.h"
#include "rollout.h"

/* The tag of the policy; NULL where there can be none: a pinned reference, a tag with no room for more.
 * Caller frees. */
char *publish_tag(const struct ref *ref);

/* {"digest": what the tag points to, "policy": the policy or null, "fault": why that is none}. */
int publish_read(struct registry *r, const struct ref *ref, json_t **ret,
		 struct error *ret_error) warn_unused;
/* {"digest": of what was pushed}. A policy that is not valid is not pushed. */
int publish_write(struct registry *r, const struct ref *ref, const json_t *policy, json_t **ret,
		  struct error *ret_error) warn_unused;
