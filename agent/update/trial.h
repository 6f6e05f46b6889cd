/* SPDX-License-Identifier: MIT */
/* trial: judges the new container and its followers while they are on trial. */
#pragma once

#include "pass.h"

/* Sets the state's verdict and reason by what is seen at its now_ms. Pure. */
void trial_judge(struct pass *p);
/* Learns more about a bad verdict: whether an operator stopped the container, and its last log line. */
void trial_explain(struct pass *p);
