/* SPDX-License-Identifier: MIT */
/* job: the queue of jobs of pullet-update, one process a job. The first job runs, or is the next to start. Members
 * are names, not units, because a reload may remove a container. Pure. */
#pragma once

#include "json.h"
#include "operation.h"

struct job_member {
	char *name;
	bool done; /* it has a result, or became a candidate */
};

struct job {
	enum operation operation;
	bool running;	   /* the first one of the queue alone */
	bool requested;	   /* by a client; else by the schedule */
	bool alone;	   /* of a candidate: never merged into a poll or check of several */
	bool overtaken;	   /* a requested job went ahead of it, and no other may */
	bool continued;	   /* it goes on with a download; jobs that come later go ahead of it */
	json_t *candidate; /* of a candidate: the event, with "to" and "after"; NULL: none */
	char *blocked;	   /* it is not to be started, because of that; NULL: it is */
	json_t *hold;	   /* of OPERATION_HOLD: "until", "reason", "by", "uid"; NULL: none */
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
/* Appends that of a candidate behind those of the job that found it, whose results it may wait for. event: borrowed. */
void job_append_candidate(struct job_queue *q, enum operation operation, bool requested,
			  const char *name, json_t *event);
/* Appends a continued job of name, which goes on with the download of the first job. It replaces a continued job that no
 * client waits for. Appends none if the first job is of the schedule and a client waits for a continued one already. */
void job_continue(struct job_queue *q, const char *name);
/* Whether a continued job of name waits. */
bool job_is_continued(const struct job_queue *q, const char *name);
/* The update of name did not stay, as what says: candidates that come after it are blocked. */
void job_block_after(struct job_queue *q, const char *name, const char *what);
/* Blocks candidates that come after a container whose continued job waits. */
void job_block_continued(struct job_queue *q);
void job_add(struct job *job, const char *name);
/* Adds name to the first job, or appends that of the operation. */
void job_join(struct job_queue *q, enum operation operation, const char *name);
void job_drop_first(struct job_queue *q);

/* Queues the request of a client. hold, which it takes over: NULL, or of OPERATION_HOLD. It joins a waiting job, or goes ahead of the schedule's jobs; each of these is
 * overtaken once only. */
void job_request(struct job_queue *q, enum operation operation, const char *name, json_t *hold);

/* Whether a job of the schedule runs or waits. A continued job that waits belongs to no round, so that a download of
 * hours delays none. */
bool job_is_scheduled(const struct job_queue *q);

/* The first job starts. */
void job_start(struct job_queue *q);

/* The member of that name in the job; NULL: none. */
struct job_member *job_find(const struct job *job, const char *name);
