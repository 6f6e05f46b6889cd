/* SPDX-License-Identifier: MIT */
/* forget: removes what Pullet keeps of a container whose section is gone: its record, its saved spec, and the image that
 * was kept for a rollback. */
#pragma once

#include "task.h"

/* Refuses a container that is configured, or in the middle of an update. name: any text of a client. Never fails: *ret
 * has the result, whose texts are borrowed. */
void forget_run(const struct task *task, const char *name, struct result *ret);
