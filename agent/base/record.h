/* SPDX-License-Identifier: MIT */
/* record: the decisions about one container, kept across crashes in STATE_DIR/NAME.json. Progress is not in it:
 * the engine has that. Plain data. */
#pragma once

#include "digest.h"
#include "error.h"

#define RECORD_REJECTED_MAX 16
#define RECORD_TEXT_MAX	    512
#define POLICY_TEXT_MAX	    32
#define RECORD_DAMAGE_MAX   2 /* times that a damaged image is pulled again */
#define FOLLOWERS_MAX	    8
#define CONTAINER_NAME_MAX  128

enum phase {
	PHASE_IDLE,    /* no update under way */
	PHASE_PREPARE, /* pull target, create its container beside the running one */
	PHASE_TRIAL,   /* target runs and its health is checked */
	PHASE_COMMIT,  /* target stays: remove the old container */
	PHASE_REVERT,  /* target is removed: the old container comes back */
};
#define PHASE_MAX (PHASE_REVERT + 1)

/* One version of the image. */
struct release {
	struct digest digest;	/* what the tag resolved to: an index or a manifest */
	struct digest manifest; /* of this platform; empty when not known */
	char image[80];		/* the engine's Id of it; empty when not known */
	bool brought;		/* Pullet pulled it: it was not in the engine before */
	struct digest pulled;	/* the digest it was pulled by; empty: digest */
};

/* The digest under which the engine lists it. */
static inline const struct digest *release_pulled(const struct release *r)
{
	return digest_is_set(&r->pulled) ? &r->pulled : &r->digest;
}

struct rejected {
	struct digest digest;
	struct digest manifest;
	char reason[RECORD_TEXT_MAX];
};

/* A container that shares a namespace (network, pid, ipc) of the updated one. Replacing the one cuts off the
 * other, so it is created again, and restored on a revert. */
struct follower {
	char name[CONTAINER_NAME_MAX];
	char old_id[72], new_id[72];
	char policy[POLICY_TEXT_MAX];
	bool serving;
};

/* An image that the engine's store returned damaged although it was pulled again. */
struct damage {
	struct digest digest;	    /* empty: none */
	char boot_id[BOOT_ID_SIZE]; /* of that boot */
	unsigned int tries;
};

struct record {
	enum phase phase;
	struct release current;
	struct release previous; /* kept in the engine for a rollback */
	/* The update under way; not used in PHASE_IDLE. */
	struct release target;
	bool synced; /* target is complete on disk */
	/* The boot in which target is pulled. Empty: an earlier boot may have left an incomplete image in the engine
	 * that a pull takes for complete. */
	char boot_id[BOOT_ID_SIZE];
	char old_id[72];	      /* the container that is replaced; empty: there is none */
	char new_id[72];	      /* the container that replaces it */
	char policy[POLICY_TEXT_MAX]; /* restart policy of the container that stays */
	bool serving;		      /* the old container was running, so it must run again */
	unsigned int starts;	      /* how often target was started */
	struct follower followers[FOLLOWERS_MAX]; /* in the order in which they start */
	size_t n_followers;
	bool rollback;		      /* target is the previous image, as the operator asked */
	bool reject_target;	      /* on revert: target becomes rejected */
	char reason[RECORD_TEXT_MAX]; /* of a revert */
	int64_t downtime_ms;	      /* of the last update; -1: none */
	/* Newest last. */
	struct rejected rejected[RECORD_REJECTED_MAX];
	size_t n_rejected;
	struct damage damage;
	bool held;		   /* by an operator, until released */
	uint64_t rollout_sequence; /* highest seen in a policy; 0: none */
	/* For min-age: the digest of the tag, and when this device first saw it (Unix time). */
	struct digest seen;
	int64_t seen_s;
	char last_error[RECORD_TEXT_MAX];
};

extern const char phase_names[PHASE_MAX][8];

void record_init(struct record *r);

/* Reads without a change. -ENOENT: there is no record; -EBADMSG: the file is no valid record; any other: it cannot
 * be read now. */
int record_read(int state_dir, const char *name, struct record *ret,
		struct error *ret_error) warn_unused;
/* Reads, and renames a file that is no valid record to NAME.json.broken. Errors as record_read(). */
int record_load(int state_dir, const char *name, struct record *ret,
		struct error *ret_error) warn_unused;
/* Durable and atomic before it returns. */
int record_save(int state_dir, const char *name, const struct record *r,
		struct error *ret_error) warn_unused;

/* Counts one more damaged pull of target in this boot. */
void record_damage(struct record *r, const char *boot_id);
/* Whether d was pulled RECORD_DAMAGE_MAX times in this boot and is still damaged. */
bool record_is_hopeless(const struct record *r, const struct digest *d, const char *boot_id);

/* The rejection of d, by digest or by manifest; NULL: none. Borrowed. */
const struct rejected *record_rejected(const struct record *r, const struct digest *d);
/* Appends, forgetting the oldest when full; an entry of the same digest is replaced. */
void record_reject(struct record *r, const struct release *target, const char *reason);
