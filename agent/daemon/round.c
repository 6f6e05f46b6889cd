/* SPDX-License-Identifier: MIT */
#include "round.h"

#include <fcntl.h>

#include "record.h"
#include "schedule.h"

static bool is_at_rest(int state_dir, const char *name, struct record *record)
{
	struct error e;

	return state_dir >= 0 && record_read(state_dir, name, record, &e) == 0 &&
	       record->phase == PHASE_IDLE;
}

/* A lost record is rebuilt from the engine, which may be in the midst of an update. */
void round_queue_unfinished(const struct unit_table *t, const char *state_dir, struct job_queue *q)
{
	_cleanup_free_ struct record *record = xmalloc(sizeof(*record));
	_cleanup_close_ int dir = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (size_t i = 0; i < t->n; i++) {
		const char *name = t->units[i].config->name;

		if (!is_at_rest(dir, name, record))
			job_add(job_append(q, OPERATION_FINISH, false), name);
	}
}

void round_queue_poll(struct unit_table *t, uint64_t now_ms, struct job_queue *q)
{
	struct job *job = NULL;

	for (size_t i = 0; i < t->n; i++) {
		struct unit *u = &t->units[i];

		if (now_ms < registry_held_until(u->registry))
			continue;
		u->registry->polled = true;
		u->registry->failed = false;
		if (!job)
			job = job_append(q, OPERATION_POLL, false);
		job_add(job, u->config->name);
	}
}

/* Where the registry may not be asked, only what needs none is finished. */
void round_queue_half_way(const struct unit_table *t, uint64_t now_ms, struct job_queue *q)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct unit *u = &t->units[i];
		bool held = now_ms < u->registry->retry_after_ms;

		if (u->half_way)
			job_add(job_append(q, held ? OPERATION_FINISH : OPERATION_UPDATE, false),
				u->config->name);
	}
}

void round_end(struct unit_table *t, uint64_t now_ms, uint64_t device)
{
	const struct config *c = t->config;

	for (size_t i = 0; i < t->n_registries; i++) {
		struct registry_state *r = &t->registries[i];

		if (!r->polled)
			continue;
		r->failures = r->failed ? r->failures + 1 : 0;
		r->back_off_ms = r->failures > 1
					 ? schedule_retry_poll(now_ms, r->failures, c->interval_ms,
							       c->jitter_percent, device)
					 : 0;
		r->polled = r->failed = false;
	}
}

uint64_t round_next(const struct unit_table *t, uint64_t now_ms, uint64_t device)
{
	const struct config *c = t->config;
	uint64_t from = UINT64_MAX;

	for (size_t i = 0; i < t->n_registries; i++) {
		uint64_t held = registry_held_until(&t->registries[i]);

		from = held < from ? held : from;
	}
	/* The end of a back-off is a place in the schedule itself. */
	from = from == UINT64_MAX || from <= now_ms ? now_ms : from - 1;
	return schedule_next_poll(from, c->interval_ms, c->jitter_percent, device);
}
