/* SPDX-License-Identifier: MIT */
/* plan: decides the one next action of a pass from the record (what was decided), the world (what the
 * engine has) and the pass_state (what this pass has learnt and done). Pure, and a table: plan-take.c has
 * the rows until an update is prepared, plan-swap.c those from there on. */
#pragma once

#include <time.h>

#include "health.h"
#include "operation.h"
#include "message.h"
#include "result.h"

#define PLAN_STARTS_MAX	     HEALTH_STARTS_MAX
#define PLAN_ROLLED_BACK     "rolled back by the operator"
#define PLAN_POLICY_FRESH_MS 60000 /* after a longer download the policy is asked again */

enum action {
	/* the pass ends, with the row's reason */
	ACT_NOTHING, /* no update was asked for */
	ACT_UP_TO_DATE,
	ACT_DEFER,
	ACT_REFUSE,
	ACT_FAIL,

	/* a fact is learnt, and nothing changed */
	ACT_FIND_SPEC,	 /* a saved spec of a container that is missing */
	ACT_ASK,	 /* the registry: where the tag points */
	ACT_ASK_DETAILS, /* the registry: the candidate's manifest, config and size */
	ACT_ASK_POLICY,	 /* the registry: the rollout policy beside the image */
	ACT_FIND_IMAGE,	 /* whether the engine has the candidate's image */
	ACT_FIND_FOLLOWERS,
	ACT_ASK_FLOOR,	     /* the registry: which sequence what runs was signed with */
	ACT_ASK_RENEWAL,     /* the registry: whether what runs was signed again */
	ACT_CHECK_SUCCESSOR, /* whether the container can be recreated faithfully */
	ACT_VERIFY,
	ACT_CHECK_SPACE,
	ACT_CHECK_HOST, /* whether the host has what a start needs */

	/* a unit of the operator is asked, which may take an hour */
	ACT_ASK_BEFORE, /* whether old may be stopped now */
	ACT_ASK_HEALTH, /* whether the new version works */
	ACT_ASK_AFTER,	/* nothing: it is told */

	/* on the engine; action_touches() goes by the order */
	ACT_SAVE_SPEC, /* write the container's create body to disk before it is removed */
	ACT_FETCH, /* bring target's image in, whole and synced, or a part of it into the spool */
	ACT_DROP_TARGET, /* remove target's image; only one that we brought */
	ACT_RESTORE_TAG, /* point the local tag back at the old container's image */
	ACT_KEEP_OLD,	 /* tag the old image as the one to go back to */
	ACT_MOVE_TAG,	 /* point the local tag at target's image */
	ACT_DROP_OLDER,	 /* remove the image that was kept until now */
	ACT_CREATE,	 /* make NAME.next from the old container and target's image */
	ACT_PARK_OLD,	 /* restart policy no */
	ACT_PARK_NEW,	 /* restart policy no */
	ACT_RENAME_OLD_PREV,
	ACT_RENAME_NEW, /* to NAME */
	ACT_RENAME_NEW_NEXT,
	ACT_RENAME_OLD, /* back to NAME */
	ACT_STOP_OLD,
	ACT_STOP_NEW,
	ACT_START_NEW,
	ACT_START_OLD,
	ACT_POLICY_OLD, /* give it its own restart policy back */
	ACT_POLICY_NEW, /* give it its final restart policy */
	ACT_PROBE,	/* wait until something happens to it, or time is up */
	ACT_REMOVE_OLD,
	ACT_REMOVE_NEW,

	/* on the record: decisions, each written down before the next action */
	ACT_DECIDE_CURRENT, /* the container runs the candidate already */
	ACT_DECIDE_REJECTED, /* the candidate can never be used, or its manifest was rejected under another
			      * digest */
	ACT_DECIDE_SEEN,      /* the candidate is waited for from now on */
	ACT_DECIDE_SEQUENCE,  /* an older policy is a replay from now on */
	ACT_DECIDE_FLOOR,     /* no lower sequence than what runs has */
	ACT_DECIDE_RENEWAL,   /* what runs has a newer signature, or none yet */
	ACT_DECIDE_SIGNATURE, /* the candidate need not be verified again */
	ACT_DECIDE_FORGET,    /* the update that is prepared; NAME.next and its image go before */
	ACT_DECIDE_PREPARE,
	ACT_DECIDE_FETCH,    /* the image may be incomplete from now on */
	ACT_DECIDE_SYNCED,   /* target's image is in the engine and on the disk */
	ACT_DECIDE_DEFERRAL, /* count a deferral by before-unit; the last one may reject target */
	ACT_DECIDE_TRIAL,
	ACT_DECIDE_START, /* count a start that is about to be made */
	ACT_DECIDE_COMMIT,
	ACT_DECIDE_REVERT,
	ACT_DECIDE_AGAIN, /* the host was to blame: the update stays prepared */
	ACT_DECIDE_IDLE,
};

struct member_progress {
	bool created;	       /* NAME.next is of this pass, */
	char created_from[72]; /* made from what this container is now; empty: there was none */
	bool started_new;      /* by this pass, whatever it is now */
	bool started_old;
	bool name_failed; /* on the way back the name could not be given before the start */
	bool restart_due; /* the new one exited, and its restart policy is there for that */
	unsigned char
		starts; /* of a follower's container, by this pass; the container's are in the record */
	unsigned char failed_starts; /* of a follower, one after the other */
};

/* What the registry said about the candidate. */
struct answer {
	bool known;
	struct error error; /* code 0: none, and the reply is set */
	struct fetch_reply reply;
	bool listed; /* the engine lists the container's image under the reply's digest */
	struct digest
		runs; /* under which it lists that image, if it is another; empty: under none */
};

/* What the rollout policy says; the device's position in it is a number below COHORT_ALL. */
struct policy_answer {
	bool known;
	uint64_t asked_ms;
	struct error error;
	struct rollout_reply reply; /* without its texts */
	uint32_t position;
	/* With a key. Only a policy that is signed counts: reply has none if it is refused. */
	struct digest manifest;	    /* its artifact; empty: there is none, or no key is set */
	struct signature signature; /* by which it counts */
	bool refused;
};

/* What the unit of a hook answered. */
struct hook_answer {
	bool asked;
	bool host;    /* the unit did not run: that says nothing about the release */
	bool final;   /* with this deferral before-unit gives the release up */
	bool written; /* the deferral is in the record */
	char refusal[RECORD_TEXT_MAX]; /* empty: it said yes */
};

/* What this pass has learnt and done beside the record. All unknown and false when it begins, and after a
 * crash; that is always safe. */
struct pass_state {
	enum operation operation;
	bool recovered;	      /* the record was lost, and made again from the engine */
	bool has_credentials; /* for its registry */
	bool pinned;	      /* the configured image is a digest, which no policy governs */
	char engine[RECORD_ENGINE_MAX]; /* its version */

	/* the clock, before each decision */
	uint64_t now_ms;
	int64_t now_s;	 /* Unix time; 0: the clock is not set */
	struct tm local; /* of now_s */

	/* facts about the candidate */
	struct error refusal;	 /* of an action that returned -EKEYREJECTED; code 0: none did */
	struct release unusable; /* the refusal is final about it; empty: it is not */
	bool spec_known;
	struct digest saved_spec; /* the version of a missing container, whose spec is saved */
	char service_of[CONTAINER_NAME_MAX]; /* the container whose compose service has its name */
	struct answer answer;
	struct oci_platform platform; /* which the operator chose; empty: the machine's own */
	struct policy_answer policy;
	bool image_known, image_present;
	bool followers_known;
	bool successor_checked;
	struct digest verified;		   /* the digest that is */
	struct signed_candidate signature; /* by which it is; empty: no key is set */
	enum signature_place place;	   /* where it was found */
	/* With which the version of that digest, which runs, is signed. floor_of empty: not asked. */
	struct digest floor_of;
	struct key_sequence floor[RECORD_SEQUENCES_MAX];
	size_t n_floor;
	bool renewal_known, renewal_written;
	struct signature
		renewal;     /* of what runs, that has not expired; without keys: there is none */
	bool no_key_demands; /* a version without a digest has none to verify, and no key is set */
	bool space_known;
	struct error no_space; /* code 0: there is disk space */
	bool host_is_known;
	struct error host_lacks; /* code 0: nothing that can be seen */
	struct hook_answer before;
	struct hook_answer health; /* of this life of the new one */
	bool after_asked;
	bool spec_saved;
	bool by_engine; /* it pulls the image, since its documents are too large to be handed over */
	char pause
		[RECORD_TEXT_MAX]; /* why the download is not whole in this pass; empty: it is, or goes on */
	bool pull_was_cut; /* a power cut ended the pull of the update that was forgotten */

	/* progress */
	struct member_progress member[MEMBERS_MAX];
	bool fetched;	 /* the image was pulled and synced by this pass */
	bool untrusted;	 /* fetched, but maybe with layers of a pull that a power cut ended */
	bool dropped;	 /* target's image, and with it each layer that no other image has */
	bool damaged;	 /* the engine's store could not give the image back; it is to be dropped */
	bool counted;	 /* a start of the new one is written down and not made yet */
	bool drop_tried; /* target's image: removed, or in use by other containers */
	bool older_tried; /* the older image, likewise */
	bool keep_tried;  /* our tag on the old image, and */
	bool move_tried;  /* the local tag on the new one: others made it impossible */
	unsigned char drop_failures, older_failures, tag_failures;
	bool tag_tried;	       /* the local tag cannot be put back where it was */
	bool not_at_fault;     /* an operator stopped the new one, or the disk is full */
	bool in_conflict;      /* its last start was refused, or ended, for what others do to it */
	bool removed;	       /* the operator removed it, too */
	uint64_t up_since_ms;  /* since when the new one is known to be up; 0: not */
	int64_t up_started_ns; /* in which life of it, */
	bool up_paused;	       /* and whether it was paused */
	unsigned int lives;    /* times that the one or the other changed */
	bool follower_restarted;
	size_t blamed; /* the member whose end a bad verdict is about */
	enum verdict verdict;
	char reason[RECORD_TEXT_MAX]; /* of a bad verdict, or of the last failed start */
	bool store_said; /* the reason is the engine's word that it cannot read its store */
	bool host_said;	 /* the reason is its word about the host */
};

/* Which rows are walked: until the trial those of the operation come first. */
enum block {
	BLOCK_ASK,
	BLOCK_REPAIR, /* the container cannot start, since the engine's store is damaged */
	BLOCK_TAKE,
	BLOCK_ROLLBACK,
	BLOCK_PREPARE,
	BLOCK_TRIAL,
	BLOCK_COMMIT,
	BLOCK_REVERT,
};

struct step {
	enum action action;
	size_t member; /* whose container it is about */
	enum block block;
	bool already_reported; /* the record has it already, or an operator asked: last_error stays */
	char reason[RECORD_TEXT_MAX + 128]; /* of a pass that ends */
};

struct step plan_next(const struct container_config *c, const struct record *r,
		      const struct world *w, const struct pass_state *m);

/* What the record says of a policy that was found. */
struct policy_note {
	uint64_t sequence;
	struct digest policy;
	const char *state; /* borrowed */
};
struct policy_note plan_note_policy(const struct record *r, const struct world *w,
				    const struct pass_state *m);

/* Carries a decision out on the record, which the caller then saves before anything else. */
void plan_decide(struct record *r, struct pass_state *m, enum action decision,
		 const struct world *w);

/* The version that the pass is about: what the tag points to, the previous one in a rollback, the current
 * one in a repair. */
const struct digest *plan_candidate(const struct record *r, const struct world *w,
				    const struct pass_state *m);
/* Whether the container runs the version that the registry answered, by the record, the image's Id and, if known,
 * the digests that the engine lists. */
bool plan_runs_already(const struct record *r, const struct world *w, const struct pass_state *m);

/* Carries out an operation that only writes the record (hold, release, retry) and sets the result; true when r
 * changed and is to be saved. hold: of OPERATION_HOLD; else empty. */
bool plan_note(enum operation operation, const struct container_config *c, const struct hold *hold,
	       struct record *r, struct result *ret);

/* The record is lost: names and labels tell what was under way. Sets phase and what it needs. */
void plan_recover(struct record *r, const struct container_view slots[SLOT_MAX]);
/* The same for its ith follower, whose name is in the record already. */
void plan_recover_follower(struct record *r, size_t i, const struct pair *pair);

bool action_is_end(enum action a);
bool action_is_decision(enum action a);
/* The parts of the world (WORLD_...) that it may have changed. */
unsigned int action_touches(enum action a);
const char *action_name(enum action a);
const char *block_name(enum block b);

struct situation;

/* The table itself, for tests that compare it with its descriptions. */
struct plan_row {
	enum block block;
	char unless[60]; /* the condition, as agent/README.md words it */
	enum action action;
	enum {
		ONE,  /* of the container itself */
		EACH, /* of it and then of each follower, which needs its namespaces to start */
		EACH_BACK, /* of the last follower first */
	} members;
	bool (*holds)(const struct situation *s);
	/* Writes the reason of a pass that ends here. */
	void (*explain)(const struct situation *s, char *text, size_t size);
	bool already_reported;
};
size_t plan_rows(const struct plan_row **ret);
