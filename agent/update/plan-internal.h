/* SPDX-License-Identifier: MIT */
/* plan-internal: what the files of plan share. */
#pragma once

#include <stdio.h>

#include "plan.h"

/* What a condition may look at: all of it, and one member, which is the container (0) or one of its
 * followers (from 1 on). */
struct situation {
	const struct container_config *c;
	const struct record *r;
	const struct world *w;
	const struct pass_state *m;
	size_t member;
	const struct container_view *old, *new; /* the member's */
	const char *policy;			/* that its survivor gets */
	bool serving;
	const struct member_progress *progress;
};

/* A condition: what its name claims holds. */
#define SHARED_CLAIM(name, ...)              \
	bool name(const struct situation *s) \
	{                                    \
		(void)s;                     \
		return __VA_ARGS__;          \
	}
#define CLAIM(name, ...) static SHARED_CLAIM(name, __VA_ARGS__)

/* The reason of a pass that ends. */
#define SHARED_EXPLAIN(name, ...)                                     \
	void name(const struct situation *s, char *text, size_t size) \
	{                                                             \
		(void)s;                                              \
		(void)snprintf(text, size, __VA_ARGS__);              \
	}
#define EXPLAIN(name, ...) static SHARED_EXPLAIN(name, __VA_ARGS__)

/* condition: holds, or holds and explain. */
#define ROW(block_, unless_, action_, members_, condition, ...)                                \
	{                                                                                      \
		.block = BLOCK_##block_, unless_, ACT_##action_, members_, .holds = condition, \
		##__VA_ARGS__                                                                  \
	}

extern const struct plan_row plan_rows_before[], plan_rows_swap[];
extern const size_t plan_rows_before_n, plan_rows_swap_n;

bool plan_is_rollback(const struct situation *s);
bool plan_needs_repair(const struct situation *s);
/* The operator ordered the update past window, download-window and min-age. */
bool plan_is_urgent(const struct situation *s);
/* NULL: it is not set. */
const struct tm *plan_clock(const struct situation *s);

bool never(const struct situation *s);
bool window_is_open(const struct situation *s);
bool way_is_free(const struct situation *s);
/* The host has what a start needs, as far as can be seen. */
bool host_has_all(const struct situation *s);
/* Whether the image that is to be run is in the engine. */
bool image_is_present(const struct situation *s);
/* A policy of the registry is wanted for what the registry answered. */
bool policy_is_wanted(const struct situation *s);

void explain_window(const struct situation *s, char *text, size_t size);
void explain_host(const struct situation *s, char *text, size_t size);
void explain_blocker(const struct situation *s, char *text, size_t size);
