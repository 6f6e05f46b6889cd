/* SPDX-License-Identifier: MIT */
/* bulk-poll: finds the containers whose image may be new, with one list of the engine and one session a registry.
 * A container that runs the digest of its tag, is held, or whose tag points to a rejected digest, or to one that waits for
 * an operator, gets its result here; any other is a candidate for a pass of its own. Changes only the last_error of a container whose registry
 * failed. */
#pragma once

#include "task.h"

/* The operation is OPERATION_POLL, or OPERATION_CHECK, which includes held containers; of an update it only finds the
 * order. Each of the n containers gets a result or a candidate event, and a registry that sent Retry-After one event.
 * Candidates come in the order of sequence.h, each with those that it comes after. Fails, with neither, if the engine
 * cannot be reached. */
int bulk_poll_run(const struct task *task, const struct container_config *const *containers,
		  size_t n, struct error *ret_error) warn_unused;
