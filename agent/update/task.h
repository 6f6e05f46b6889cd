/* SPDX-License-Identifier: MIT */
/* task: the job of a pass or a poll without its containers, and where its events go. */
#pragma once

#include <signal.h>

#include "config.h"
#include "fetch.h"
#include "operation.h"
#include "record.h"
#include "result.h"

struct task {
	const struct config *config;
	int state_dir; /* file descriptor, locked */
	struct fetch_options fetch;
	const char *unit_socket; /* of the starter */
	enum operation operation;
	struct hold hold; /* OPERATION_HOLD */
	const volatile sig_atomic_t *cancel;
	void (*on_event)(json_t *event); /* takes the event over */
	void (*on_result)(const struct result *r);
};
