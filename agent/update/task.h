/* SPDX-License-Identifier: MIT */
/* task: the job of a pass or a poll without its containers, and where its events go. */
#pragma once

#include <signal.h>

#include "config.h"
#include "fetch.h"
#include "operation.h"
#include "result.h"

struct task {
	const struct config *config;
	int state_dir; /* file descriptor, locked */
	struct fetch_options fetch;
	enum operation operation;
	const volatile sig_atomic_t *cancel;
	void (*on_event)(json_t *event); /* takes the event over */
	void (*on_result)(const struct result *r);
};
