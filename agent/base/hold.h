/* SPDX-License-Identifier: MIT */
/* hold: how an operator's hold reads, in results, the journal and status. */
#pragma once

#include "record.h"

bool hold_is_same(const struct hold *a, const struct hold *b);
/* "held by alice until 2026-12-24 18:00: stock-taking", in local time. */
void hold_explain(const struct hold *h, char *buf, size_t size);
