/* SPDX-License-Identifier: MIT */
#include "job.h"

void job_add(struct job *job, const char *name)
{
	job->members = xrealloc(job->members, (job->n + 1) * sizeof(*job->members));
	job->members[job->n++] = (struct job_member){.name = xstrdup(name)};
}

static struct job *insert_job(struct job **place, enum operation operation, bool requested,
			      const char *name)
{
	struct job *job = xcalloc(1, sizeof(*job));

	*job = (struct job){.operation = operation, .requested = requested, .next = *place};
	job_add(job, name);
	return *place = job;
}

struct job *job_append(struct job_queue *q, enum operation operation, bool requested,
		       const char *name)
{
	struct job **last = &q->first;

	while (*last)
		last = &(*last)->next;
	return insert_job(last, operation, requested, name);
}

void job_drop_first(struct job_queue *q)
{
	struct job *job = q->first;

	q->first = job->next;
	for (size_t i = 0; i < job->n; i++)
		free(job->members[i].name);
	free(job->members);
	free(job);
}

struct job_member *job_find(const struct job *job, const char *name)
{
	for (size_t i = 0; i < job->n; i++) {
		if (streq(job->members[i].name, name))
			return &job->members[i];
	}
	return NULL;
}

static bool is_pending(const struct job_queue *q, enum operation operation, const char *name)
{
	for (const struct job *job = q->first; job; job = job->next) {
		const struct job_member *m =
			job->operation == operation ? job_find(job, name) : NULL;

		if (m && !m->done)
			return true;
	}
	return false;
}

void job_request(struct job_queue *q, enum operation operation, const char *name)
{
	struct job **place = &q->first;

	if (is_pending(q, operation, name))
		return;
	for (struct job *job = q->first; job && operations[operation].takes_many; job = job->next) {
		if (job->operation == operation && job->requested && !job->alone && !job->running) {
			job_add(job, name);
			return;
		}
	}
	while (*place && ((*place)->running || (*place)->requested || (*place)->overtaken))
		place = &(*place)->next;
	(void)insert_job(place, operation, true, name);
}

bool job_is_scheduled(const struct job_queue *q)
{
	for (const struct job *job = q->first; job; job = job->next) {
		if (!job->requested)
			return true;
	}
	return false;
}

void job_start(struct job_queue *q)
{
	q->first->running = true;
	for (struct job *job = q->first->next; q->first->requested && job; job = job->next)
		job->overtaken = !job->requested;
}
