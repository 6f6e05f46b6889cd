/* SPDX-License-Identifier: MIT */
/* plan: the head. From what was decided (record) and what is there (world) it tells the one next
 * action. Pure, and a table: see plan.c. */
#pragma once

#include "health.h"

#define PLAN_STARTS_MAX	 3
#define PLAN_ROLLED_BACK "rolled back by the operator"

enum action {
	ACT_NOTHING, /* idle: there is nothing to do */
	ACT_WAIT,    /* the gate is shut: go on in a later pass */
	ACT_REFUSE,  /* somebody else's container stands in a name that we need */

	/* on the engine */
	ACT_FETCH,	 /* bring target's image in, whole and synced */
	ACT_DROP_TARGET, /* take target's image away again; only ever one that we brought */
	ACT_CREATE,	 /* make NAME.next from the old container and target's image */
	ACT_RESTORE_TAG, /* point the local tag back at the old container's image */
	ACT_PARK_OLD,	 /* restart policy no */
	ACT_PARK_NEW,	 /* restart policy no */
	ACT_RENAME_OLD_PREV,
	ACT_RENAME_NEW, /* to NAME */
	ACT_RENAME_OLD, /* back to NAME */
	ACT_STOP_OLD,
	ACT_STOP_NEW,
	ACT_START_NEW,
	ACT_START_OLD,
	ACT_POLICY_OLD, /* give it its own restart policy back */
	ACT_POLICY_NEW, /* give it its final restart policy */
	ACT_PROBE,	/* wait until something happens to it, or time is up */
	ACT_KEEP_OLD,	/* tag the old image as the one to go back to */
	ACT_MOVE_TAG,	/* point the local tag at target's image */
	ACT_REMOVE_OLD,
	ACT_REMOVE_NEW,
	ACT_DROP_OLDER, /* take away the image that was kept until now */

	/* on the record: decisions, each written down before the next action */
	ACT_DECIDE_FETCH,  /* whatever is there of target's image from now on may be torn */
	ACT_DECIDE_SYNCED, /* target's image is in the engine and on the disk */
	ACT_DECIDE_TRIAL,
	ACT_DECIDE_START, /* count a start that is about to be made */
	ACT_DECIDE_COMMIT,
	ACT_DECIDE_REVERT,
	ACT_DECIDE_IDLE,
};

/* The container itself is member 0, its followers are the others. */
#define MEMBERS_MAX (1 + FOLLOWERS_MAX)

struct member_progress {
	bool created;	       /* NAME.next is of this pass, */
	char created_from[72]; /* made from what this container is now; empty: there was none */
	bool started_new;      /* whatever it is now, it was started under our eyes */
	bool started_old;
};

/* What this pass remembers beside the record. All false after a crash, and that is always safe. */
struct pass_state {
	struct member_progress member[MEMBERS_MAX];
	bool fetched;	 /* the image was pulled and synced by this pass */
	bool doubted;	 /* an image that is there already may be torn, whatever the record says */
	bool untrusted;	 /* fetched, but maybe with layers of a pull that a power cut ended */
	bool dropped;	 /* target's image, and with it each layer that nobody else has */
	bool damaged;	 /* the engine's store could not give the image back; it is to be dropped */
	bool counted;	 /* a start of the new one is written down and not made yet */
	bool drop_tried; /* target's image: removed, or in use by somebody else */
	bool older_tried;  /* the older image, likewise */
	bool tag_tried;	   /* the local tag had no place before, and somebody uses it now */
	bool gate_open;	   /* window and hold allow the swap now */
	bool not_at_fault; /* somebody stopped the new one, or the disk is full */
	enum verdict verdict;
	char reason[RECORD_TEXT_MAX]; /* of a bad verdict, or of the last failed start */
};

struct step {
	enum action action;
	size_t member; /* whose container it is about */
};

struct step plan_next(const struct record *r, const struct world *w, const struct health_rule *h,
		      const struct pass_state *m);

/* Carries a decision out on the record, which the caller then saves before anything else. */
void plan_decide(struct record *r, struct pass_state *m, enum action decision,
		 const struct world *w);

/* Begins an update: idle or prepare becomes prepare for this target; who follows is in r already.
 * boot_id as in the record. */
void plan_begin(struct record *r, const struct release *target, const char *boot_id);

/* The same for the version before, which is in the engine: what runs now goes to the rejected ones when
 * it is done. */
void plan_begin_rollback(struct record *r, const char *boot_id);

/* The record is lost: names and labels tell what was under way. Sets phase and what it needs. */
void plan_recover(struct record *r, const struct container_view slots[SLOT_MAX]);
/* The same for its ith follower, whose name is in the record already. */
void plan_recover_follower(struct record *r, size_t i, const struct pair *pair);

bool action_is_decision(enum action a);
/* The parts of the world (WORLD_...) that it may have changed. */
unsigned int action_touches(enum action a);
const char *action_name(enum action a);

/* The table itself, for tests that compare it with its descriptions. */
struct plan_row {
	enum phase phase;
	char unless[44]; /* the condition, as agent/README.md words it */
	enum action action;
	enum {
		ONE,  /* of the container itself */
		EACH, /* of it and then of each follower, which needs its namespaces to start */
		EACH_BACK, /* of the last follower first */
	} whom;
};
size_t plan_rows(const struct plan_row **ret);
