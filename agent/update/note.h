/* SPDX-License-Identifier: MIT */
/* note: the operations that only write the record and need no engine: hold, release, retry. */
#pragma once

#include "operation.h"
#include "plan.h"

/* Carries it out on r and sets the result; true when r changed and is to be saved. */
bool note_apply(enum operation operation, const struct container_config *c, struct record *r,
		struct result *ret);
