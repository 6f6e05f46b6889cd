/* SPDX-License-Identifier: MIT */
/* verdict: of the container on trial and its followers, and whose fault a bad one is. */
#pragma once

#include "pass.h"

/* Sets the verdict and its reason by what is seen at now_ms. */
void verdict_judge(struct pass *p);

/* Learns more about a bad verdict: whether an operator stopped the container, and its log, which is an event. */
void verdict_explain(struct pass *p);

/* Whether it is known that others ended the last of the starts that are used up, maybe while no pass ran. A host that
 * each start brings down leaves no such trace. */
bool verdict_is_of_others(const struct pass *p);
