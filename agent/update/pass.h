/* SPDX-License-Identifier: MIT */
/* pass: one update pass for one container: look, decide, do, until a row of the plan ends it. */
#pragma once

#include "budget.h"
#include "credential.h"
#include "engine.h"
#include "plan.h"
#include "ref.h"
#include "saved-spec.h"
#include "task.h"

/* The part of a pass that downloads. */
struct download {
	uint64_t began_ms;    /* 0: not yet */
	struct budget budget; /* used so far; unwritten: more than the file says */
	bool unwritten;
	uint64_t before, of;	/* bytes of the layers before the one that comes, and of all */
	uint64_t came, took_ms; /* in this pass */
	enum fetch_end end;	/* of the last layer, if it is not whole */
	bool broken;		/* it ended by an error */
	uint64_t plain;	   /* bytes of the layers that the patch stands for; 0: no patch comes */
	const char *waits; /* as in struct download_state */
	bool again;
};

/* The state that its actions share. */
struct pass {
	const struct task *task;
	const struct container_config *c;
	struct result *result;
	struct record record;
	struct pass_state state;
	struct world world;
	struct context context;
	struct ref ref;
	struct credentials credentials; /* for its registry */
	struct error login_fault;	/* they cannot be used; code 0: none */
	char *auth;			/* the same for the engine; NULL: none */
	struct fetch *fetch;		/* the session with its registry */
	struct pull_options pull;
	json_t *documents; /* of images, {DIGEST: TEXT}; NULL: the engine downloads for itself */
	struct download download;
	struct verified *verified; /* of state.verified */
	struct saved_spec saved;   /* of state.saved_spec */
	int64_t looked_ns;	   /* time of the last look, by the wall clock */
	uint64_t progress_ms;	   /* of the last progress event */
	/* That was announced last. */
	const char *step;
	uint64_t step_began_ms, step_ms;
	int updates;		  /* begun in this pass */
	bool reverted;		  /* one of them, by a decision of this pass */
	int misses;		  /* steps that failed because the engine had changed */
	unsigned int short_waits; /* for an event, one after the other */
	bool pulled_again;     /* target's image was dropped in this pass: the store is damaged */
	bool record_is_known;  /* loaded or recovered; else the file must not be overwritten */
	bool already_reported; /* last_error stays as it is */
};

/* An action: learns facts and notes them in the state, or changes the engine. Codes of engine.h and fetch.h;
 * -EKEYREJECTED: the image or the container is refused, with the reason. */
typedef int act_fn(struct pass *p, struct error *ret_error) warn_unused;

static inline const struct digest *pass_candidate(const struct pass *p)
{
	return plan_candidate(&p->record, &p->world, &p->state);
}

/* The event step: what the pass does from now on (STEP_*). ms: how long at most, 0: not known. Once, whatever the engine does
 * meanwhile. */
void pass_announce_step(struct pass *p, const char *text, uint64_t began_ms, uint64_t ms);

/* Finishes an update that is under way first, whatever the operation. A failure is a result in *ret. Its events are
 * phase, progress and retry-after. */
void pass_run(const struct task *task, const struct container_config *c, struct result *ret);
