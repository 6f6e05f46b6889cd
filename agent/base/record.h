/* SPDX-License-Identifier: MIT */
/* record: what was decided about one container, kept across crashes; how far it got is never here
 * but read back from the engine. One small JSON file, STATE_DIR/NAME.json. Plain data. */
#pragma once

#include "digest.h"
#include "error.h"

#define RECORD_REJECTED_MAX 16
#define RECORD_TEXT_MAX	    512
#define POLICY_TEXT_MAX	    32
#define RECORD_DAMAGE_MAX   2 /* times that a version is brought for the store */
#define FOLLOWERS_MAX	    8
#define CONTAINER_NAME_MAX  128

enum phase {
	PHASE_IDLE,    /* nothing under way */
	PHASE_PREPARE, /* bring target in, make the container beside the running one */
	PHASE_TRIAL,   /* target runs in its place and is judged */
	PHASE_COMMIT,  /* it stays: clean up behind it */
	PHASE_REVERT,  /* it goes: the old one comes back */
};

/* One version of the image. */
struct release {
	struct digest digest;	/* what the tag resolved to: an index or a manifest */
	struct digest manifest; /* of this platform; empty when not known */
	char image[80];		/* the engine's Id of it; empty when not known */
	bool brought;		/* we pulled it: it was not in the engine before */
	struct digest pulled;	/* under which it was, if that is another; empty: digest */
};

/* Under which the engine lists it. */
static inline const struct digest *release_pulled(const struct release *r)
{
	return digest_is_set(&r->pulled) ? &r->pulled : &r->digest;
}

struct rejected {
	struct digest digest;
	struct digest manifest;
	char reason[RECORD_TEXT_MAX];
};

/* A container that shares a namespace of ours (network, pid, ipc): cut off when ours is replaced, so it is
 * made anew with it, and comes back with it. */
struct follower {
	char name[CONTAINER_NAME_MAX];
	char old_id[72], new_id[72];
	char policy[POLICY_TEXT_MAX];
	bool serving;
};

/* A version that the engine's store did not give back whole, though it was brought anew. */
struct damage {
	struct digest digest;	    /* empty: none */
	char boot_id[BOOT_ID_SIZE]; /* in which that was */
	unsigned int tries;	    /* how often */
};

struct record {
	enum phase phase;
	struct release current;
	struct release previous; /* the one before, kept in the engine to go back to */
	/* Of the update under way; meaningless in PHASE_IDLE. */
	struct release target;
	bool synced; /* target is on disk, whole */
	/* Of the boot in which target is pulled; empty: of an earlier one something may lie about in
	 * the engine, half written, that a pull takes for whole. */
	char boot_id[BOOT_ID_SIZE];
	char old_id[72];	      /* the container that is replaced; empty: there is none */
	char new_id[72];	      /* the container that replaces it */
	char policy[POLICY_TEXT_MAX]; /* restart policy that the survivor gets */
	bool serving;	     /* the old one ran when it was stopped, so it must run again */
	unsigned int starts; /* how often target was started */
	struct follower followers[FOLLOWERS_MAX]; /* in the order in which they start */
	size_t n_followers;
	bool rollback;		      /* target is the version before: an operator asked for it */
	bool reject_target;	      /* on revert: target goes to the rejected ones */
	char reason[RECORD_TEXT_MAX]; /* of a revert */
	int64_t downtime_ms;	      /* of the last swap; -1: none */
	/* Newest last. */
	struct rejected rejected[RECORD_REJECTED_MAX];
	size_t n_rejected;
	struct damage damage;
	bool held;		   /* by an operator, until released */
	uint64_t rollout_sequence; /* the highest that a policy had; 0: there was none */
	/* For min-age: what the tag points to, and since when this device knows (Unix time). */
	struct digest seen;
	int64_t seen_s;
	char last_error[RECORD_TEXT_MAX];
};

const char *phase_name(enum phase phase);

void record_init(struct record *r);

/* For who only wants to know. 0; -ENOENT: there is none; -EBADMSG: what is there is no record; any other:
 * it cannot be read now. */
int record_read(int state_dir, const char *name, struct record *ret,
		struct error *ret_error) warn_unused;
/* 0; -ENOENT: there is none; -EBADMSG: it was unreadable and stands aside now as NAME.json.broken
 * (text says why); any other: it cannot be read now. */
int record_load(int state_dir, const char *name, struct record *ret,
		struct error *ret_error) warn_unused;
/* Durable and atomic before it returns. */
int record_save(int state_dir, const char *name, const struct record *r,
		struct error *ret_error) warn_unused;

/* Once more the store did not give target back whole in this boot. */
void record_damage(struct record *r, const char *boot_id);
/* Whether that was tried often enough. */
bool record_is_hopeless(const struct record *r, const struct digest *d, const char *boot_id);

/* Whether d is rejected, by digest or by manifest; NULL or the entry. */
const struct rejected *record_rejected(const struct record *r, const struct digest *d);
/* Appends, forgetting the oldest when full; an entry of the same digest is replaced. */
void record_reject(struct record *r, const struct release *target, const char *reason);
