/* SPDX-License-Identifier: MIT */
/* job: the queue of jobs of pullet-update, one process a job. The first job runs, or is the next to start. Members
 * are names, not units, because a reload may remove a container. Pure. */
#pragma once

#include "operation.h"

struct job_member {
	char *name;
	bool done; /* it has a result, or became a candidate */
};

struct job {
	enum operation operation;
	bool running;	/* the first one of the queue alone */
	bool requested; /* by a client; else by the schedule */
	bool alone;	/* of a candidate: never merged into a poll or check of several */
	bool overtaken; /* a requested job went ahead of it, and no other may */
	struct job_member *members;
	size_t n;
	struct job *next;
};

struct job_queue {
	struct job *first;
};

/* Appends a job of one member. Borrowed. */
struct job *job_append(struct job_queue *q, enum operation operation, bool requested,
		       const char *name);
void job_add(struct job *job, const char *name);
void job_drop_first(struct job_queue *q);

/* Queues the request of a client. It joins a waiting job, or goes ahead of the schedule's jobs; each of these is
 * overtaken once only. */
void job_request(struct job_queue *q, enum operation operation, const char *name);

/* Whether a job of the schedule runs or waits. */
bool job_is_scheduled(const struct job_queue *q);

/* The first job starts. */
void job_start(struct job_queue *q);

/* The member of that name in the job; NULL: none. */
struct job_member *job_find(const struct job *job, const char *name);
