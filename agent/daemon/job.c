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

/* Whether a new job goes ahead of job. */
static bool overtakes(bool requested, const struct job *job)
{
	if (job->running)
		return false;
	return job->continued ? !requested || !job->overtaken
			      : requested && !job->requested && !job->overtaken;
}

/* Behind the jobs that a new one does not overtake. */
static struct job **find_place(struct job_queue *q, bool requested)
{
	struct job **place = &q->first;

	while (*place && !overtakes(requested, *place))
		place = &(*place)->next;
	return place;
}

struct job *job_append(struct job_queue *q, enum operation operation, bool requested,
		       const char *name)
{
	return insert_job(find_place(q, false), operation, requested, name);
}

void job_join(struct job_queue *q, enum operation operation, const char *name)
{
	if (q->first)
		job_add(q->first, name);
	else
		(void)job_append(q, operation, false, name);
}

/* Returns the one behind it. */
static struct job *free_job(struct job *job)
{
	struct job *next = job->next;

	for (size_t i = 0; i < job->n; i++)
		free(job->members[i].name);
	free(job->members);
	json_decref(job->hold);
	json_decref(job->candidate);
	free(job->blocked);
	free(job);
	return next;
}

void job_drop_first(struct job_queue *q)
{
	q->first = free_job(q->first);
}

struct job_member *job_find(const struct job *job, const char *name)
{
	for (size_t i = 0; i < job->n; i++) {
		if (streq(job->members[i].name, name))
			return &job->members[i];
	}
	return NULL;
}

static struct job *find_pending(const struct job_queue *q, enum operation operation,
				const char *name, const json_t *hold)
{
	for (struct job *job = q->first; job; job = job->next) {
		const struct job_member *m =
			job->operation == operation ? job_find(job, name) : NULL;

		if (m && !m->done && (!hold || json_equal(job->hold, hold)))
			return job;
	}
	return NULL;
}

void job_append_candidate(struct job_queue *q, enum operation operation, bool requested,
			  const char *name, json_t *event)
{
	struct job *job = insert_job(find_place(q, requested), operation, requested, name);

	job->alone = true;
	job->candidate = json_incref(event);
}

/* The place of the continued job of name, or the end of the queue. */
static struct job **find_continued(struct job_queue *q, const char *name, bool requested)
{
	struct job **place = &q->first;

	while (*place && !((*place)->continued && !(*place)->running &&
			   (*place)->requested == requested && job_find(*place, name)))
		place = &(*place)->next;
	return place;
}

bool job_is_continued(const struct job_queue *q, const char *name)
{
	struct job_queue all = *q;

	return *find_continued(&all, name, false) || *find_continued(&all, name, true);
}

void job_continue(struct job_queue *q, const char *name)
{
	const struct job *first = q->first;
	struct job **place = find_continued(q, name, true), *fresh;

	if (!first->requested && *place)
		return;
	place = find_continued(q, name, false);
	if (*place)
		*place = free_job(*place);
	while (*place)
		place = &(*place)->next;
	fresh = insert_job(place, first->operation, first->requested, name);
	fresh->continued = true;
	fresh->candidate = json_incref(first->candidate);
}

static bool comes_after(const struct job *job, const char *name)
{
	const json_t *before;
	size_t i;

	json_array_foreach (json_object_get(job->candidate, "after"), i, before) {
		if (streq_null(json_string_value(before), name))
			return true;
	}
	return false;
}

void job_block_after(struct job_queue *q, const char *name, const char *what)
{
	for (struct job *job = q->first; job; job = job->next) {
		if (!job->blocked && comes_after(job, name))
			job->blocked = xasprintf("%s, which it comes after, %s", name, what);
	}
}

void job_block_continued(struct job_queue *q)
{
	for (const struct job *job = q->first; job; job = job->next) {
		if (job->continued && !job->running)
			job_block_after(q, job->members[0].name, "is still downloading");
	}
}

void job_request(struct job_queue *q, enum operation operation, const char *name, json_t *hold)
{
	struct job *pending = find_pending(q, operation, name, hold);

	if (pending) {
		/* A download of the schedule may be dropped, one that a client waits for may not. */
		pending->requested |= operation_is_update(operation) || pending->continued;
		json_decref(hold);
		return;
	}
	for (struct job *job = q->first; job && operations[operation].takes_many; job = job->next) {
		if (job->operation == operation && job->requested && !job->alone &&
		    !job->continued && !job->running) {
			job_add(job, name);
			return;
		}
	}
	insert_job(find_place(q, true), operation, true, name)->hold = hold;
}

bool job_is_scheduled(const struct job_queue *q)
{
	for (const struct job *job = q->first; job; job = job->next) {
		if (!job->requested && (!job->continued || job->running))
			return true;
	}
	return false;
}

void job_start(struct job_queue *q)
{
	q->first->running = true;
	for (struct job *job = q->first->next; q->first->requested && job; job = job->next)
		job->overtaken = !job->requested || job->continued;
}
