/* SPDX-License-Identifier: MIT */
/* bulk-poll: of which containers may the image be new? One list of the engine and one session a registry for all of
 * them. A container that runs the digest of its tag, is held, or whose tag points to a rejected digest has its
 * result here; everything else is a candidate for a pass of its own. Changes nothing in the engine, and on disk
 * only the last_error of a container whose registry failed. */
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
		operation; /* OPERATION_POLL, or OPERATION_CHECK: held containers are asked for, too */
	const volatile sig_atomic_t *cancel;
	/* Called once for each container, with one or the other. */
	void (*on_result)(const struct result *r);
	void (*on_candidate)(const struct container_config *c);
	/* A registry asked for no request for that long; at most once for each. */
	void (*on_retry_after)(const char *host, unsigned int seconds);
};

void bulk_poll_run(const struct bulk_poll_options *o);
