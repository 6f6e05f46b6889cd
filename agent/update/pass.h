/* SPDX-License-Identifier: MIT */
/* pass: one update pass for one container: look, decide, do, until a row of the plan ends it. */
#pragma once

#include "task.h"

/* Finishes what is under way first, whatever the operation. Never fails as a call: whatever happened is in ret.
 * Its events are phase, progress and retry-after. */
void pass_run(const struct task *task, const struct container_config *c, struct result *ret);
