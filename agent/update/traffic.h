/* SPDX-License-Identifier: MIT */
/* traffic: what the network half has moved today and this month, told to pulletd. */
#pragma once

#include "fetch.h"
#include "task.h"

/* The event traffic, for people: with what moved since it was written down last. Writes nothing: an idle poll must not. */
void traffic_tell(const struct task *task, const struct fetch *f);
