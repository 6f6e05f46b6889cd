/* SPDX-License-Identifier: MIT */
/* bulk-poll: finds the containers whose image may be new, with one list of the engine and one session a registry.
 * A container that runs the digest of its tag, is held, or whose tag points to a rejected digest gets its result
 * here; any other is a candidate for a pass of its own. Changes only the last_error of a container whose registry
 * failed. */
#pragma once

#include <signal.h>

#include "config.h"
#include "fetch.h"
#include "operation.h"
#include "result.h"

struct bulk_poll_options {
	const struct config *config;
	const struct container_config *const *containers;
	size_t n;
	int state_dir; /* file descriptor, locked */
	struct fetch_options fetch;
	enum operation
		operation; /* OPERATION_POLL, or OPERATION_CHECK, which includes held containers */
	const volatile sig_atomic_t *cancel;
	/* Called once for each container, with one or the other. */
	void (*on_result)(const struct result *r);
	void (*on_candidate)(const struct container_config *c);
	/* A registry sent Retry-After; at most once for each. */
	void (*on_retry_after)(const char *host, unsigned int seconds);
};

void bulk_poll_run(const struct bulk_poll_options *o);
