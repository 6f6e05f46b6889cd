/* SPDX-License-Identifier: MIT */
/* pass: one update pass for one container: look, decide, do, until a row of the plan ends it. */
#pragma once

#include <signal.h>

#include "config.h"
#include "fetch.h"
#include "operation.h"
#include "result.h"

struct pass_options {
	const struct config *config;
	const struct container_config *container;
	int state_dir; /* file descriptor, locked */
	struct fetch_options fetch;
	enum operation operation; /* whatever it is, what is under way is finished first */
	const volatile sig_atomic_t *cancel;
	/* Called with each event object ("phase", "progress"); borrowed. */
	void (*on_event)(json_t *event);
};

/* Never fails as a call: whatever happened is in ret. */
void pass_run(const struct pass_options *o, struct result *ret);
