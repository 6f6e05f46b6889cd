/* SPDX-License-Identifier: MIT */
/* hook: asks the units of the operator, by the starter. */
#pragma once

#include "pass.h"

/* Each notes the answer in the state, and returns as act_fn: -ECANCELED, and 0 whatever the unit says. */
act_fn hook_ask_before, hook_ask_health, hook_ask_after;
