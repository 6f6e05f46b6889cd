/* SPDX-License-Identifier: MIT */
/* round: which containers are polled when. Each device has its own place in the interval; a registry that
 * failed or asked for patience is left out, and no other. Times are those of now_ms(). */
#pragma once

#include "job.h"
#include "unit.h"

/* Jobs for the updates that were interrupted: a record that is missing or unreadable may be one. */
void round_queue_unfinished(const struct unit_table *t, const char *state_dir, struct job_queue *q);
/* One job that polls all containers whose registry may be asked; none where there is no such. */
void round_queue_poll(struct unit_table *t, uint64_t now_ms, struct job_queue *q);
/* Jobs for the updates that failed half way. */
void round_queue_half_way(const struct unit_table *t, uint64_t now_ms, struct job_queue *q);

/* The poll and all that came of it is over: registries that failed again and again are left out of rounds. */
void round_end(struct unit_table *t, uint64_t now_ms, uint64_t device);
/* When the next round is due. */
uint64_t round_next(const struct unit_table *t, uint64_t now_ms, uint64_t device);
