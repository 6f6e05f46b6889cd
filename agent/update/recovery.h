/* SPDX-License-Identifier: MIT */
/* recovery: makes a lost record again from the names and labels in the engine. */
#pragma once

#include "pass-context.h"

/* Sets r, and saves it if an update was under way: after the next power cut the names may say less. */
int recovery_make_record(struct act_context *h, struct record *r,
			 struct error *ret_error) warn_unused;
