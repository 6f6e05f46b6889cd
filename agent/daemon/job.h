/* SPDX-License-Identifier: MIT */
/* job: the queue of operations that pullet-update is started for, one process a job. Its first job runs, or is
 * the next to start. Names, not units: a reload may take a container away. Pure. */
#pragma once

#include "operation.h"

struct job_member {
	char *name;
	bool done; /* it has a result, or became a candidate */
};

struct job {
	enum operation operation;
	bool requested; /* by a client; else by the schedule */
	bool alone;	/* of a candidate: never merged into a poll or check of several */
	bool overtaken; /* a requested job went ahead of it, and no other will */
	struct job_member *members;
	size_t n;
	struct job *next;
};

struct job_queue {
	struct job *first;
	bool running; /* the first one */
};

/* Appends an empty job; the caller adds members. Borrowed. */
struct job *job_append(struct job_queue *q, enum operation operation, bool requested);
void job_add(struct job *job, const char *name);
void job_drop_first(struct job_queue *q);

/* A client wants that: joins what waits already, and goes ahead of the schedule's jobs, but of each of them
 * only until the first requested job has started. */
void job_request(struct job_queue *q, enum operation operation, const char *name);

/* Whether a job of the schedule runs or waits. */
bool job_is_scheduled(const struct job_queue *q);

/* The first job starts. */
void job_start(struct job_queue *q);

/* The member of that name in the job; NULL: none. */
struct job_member *job_find(const struct job *job, const char *name);
