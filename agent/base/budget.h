/* SPDX-License-Identifier: MIT */
/* budget: what of the budgets of day and month was used, by the counter of the network half. Days and months are those of
 * local time. Pure; the engine half keeps it in the spool. */
#pragma once

#include "config.h"
#include "fetch.h"

struct budget {
	char id[40]; /* of the counter that was read last */
	uint64_t counter;
	char day[11], month[8]; /* "2026-12-01", "2026-12"; "": the clock was not set yet */
	uint64_t day_bytes, month_bytes;
};

/* Adds what the counter has grown since the last call; a counter with another id counts whole. now_s: Unix time; 0: the
 * clock is not set, and no new day begins. A clock that steps back gives nothing twice. True: b has changed. */
bool budget_add(struct budget *b, const struct traffic *t, int64_t now_s);

/* Bytes that may still be moved; UINT64_MAX: there is no budget. */
uint64_t budget_left(const struct budget *b, const struct config *c);

/* Writes to buf "the budget of the day is used up (20.0 MB)", and returns it; NULL: none is used up. */
const char *budget_spent(const struct budget *b, const struct config *c, char *buf, size_t size);

/* The caller owns it. */
json_t *budget_to_json(const struct budget *b);
/* -EBADMSG: *ret is budget_lost(). */
int budget_from_json(const json_t *j, struct budget *ret, struct error *ret_error) warn_unused;
/* The budget to go on with when its file cannot be read: this day counts as used up, so that a damaged file gives no day
 * twice, and the month starts from 0, because a month without updates is worse than one with two budgets. */
struct budget budget_lost(void);
