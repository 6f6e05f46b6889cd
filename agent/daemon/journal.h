/* SPDX-License-Identifier: MIT */
/* journal: what happens to a container, as entries with PULLET_ fields and the MESSAGE_ID of a catalog
 * text; plain lines on standard error where no journal reads it. */
#pragma once

#include "json.h"

/* digest: of the update's target. */
void journal_phase(const char *container, const char *phase, const char *digest);
/* A result object of result.h; nothing is told of up-to-date. */
void journal_result(const json_t *result);
