/* SPDX-License-Identifier: MIT */
/* record: the decisions about one container, kept across crashes in STATE_DIR/NAME.json. Progress is not in it:
 * the engine has that. Plain data. */
#pragma once

#include "digest.h"
#include "error.h"
#include "platform.h"

#define RECORD_REJECTED_MAX  16
#define RECORD_BEFORE_MAX    64 /* rejections whose reasons are forgotten */
#define RECORD_ENGINE_MAX    32
#define RECORD_TEXT_MAX	     512
#define POLICY_TEXT_MAX	     32
#define RECORD_DAMAGE_MAX    2	  /* times that a damaged image is pulled again */
#define RECORD_COUNT_MAX     1000 /* of any count; before-unit-deferrals is at most that */
#define RECORD_DISTURBED_MAX 3	  /* updates to one digest that others undo */
#define RECORD_HOST_MAX	     3	  /* times that old is stopped for a start that the host refuses */
#define FOLLOWERS_MAX	     8
#define CONTAINER_NAME_MAX   128
#define VERSION_TEXT_MAX     40
#define HISTORY_MAX	     20
#define HISTORY_TEXT_MAX     256
#define SIGNATURE_KEYS_MAX   8
#define RECORD_SEQUENCES_MAX 16

/* The label of an image, or the annotation of its manifest (OCI image-spec, annotations.md). */
#define VERSION_LABEL "org.opencontainers.image.version"

enum phase {
	PHASE_IDLE,    /* no update under way */
	PHASE_PREPARE, /* pull target, create its container beside the running one */
	PHASE_TRIAL,   /* target runs and its health is checked */
	PHASE_COMMIT,  /* target stays: remove the old container */
	PHASE_REVERT,  /* target is removed: the old container comes back */
};
#define PHASE_MAX (PHASE_REVERT + 1)

/* A key that signed a digest. */
struct signed_key {
	char name[64];	  /* of the key's file, without its directory */
	struct digest id; /* SHA-256 of the key's DER */
	uint64_t seq;	  /* that it signed; 0: none */
};

/* The statements by which a digest was verified, a key at most once. */
struct signature {
	struct signed_key keys[SIGNATURE_KEYS_MAX]; /* the keys that count */
	size_t n_keys;				    /* 0: unsigned */
	int64_t expires_s;			    /* Unix time; 0: no end */
	struct digest
		reference; /* SHA-256 of HOST/PATH:TAG, for which it holds; empty: not known */
};

/* Where signatures are in a repository. */
enum signature_place {
	SIGNATURES_TAG,	      /* the tag sha256-HEX.sig */
	SIGNATURES_REFERRERS, /* the referrers API */
	SIGNATURES_FALLBACK,  /* the tag sha256-HEX, for a registry without that API */
};
#define SIGNATURE_PLACES (SIGNATURES_FALLBACK + 1)
extern const char *const signature_place_names[SIGNATURE_PLACES];

/* The highest seq of a key. */
struct key_sequence {
	struct digest key;
	uint64_t seq;
	struct digest digest; /* that it signed with it */
};

/* A candidate whose signature was verified once. */
struct signed_candidate {
	struct digest digest; /* empty: none */
	struct digest pulled; /* that is signed: digest, or this platform's manifest */
	struct signature signature;
};

/* One version of the image. Empty: neither digest nor image is set. */
struct release {
	struct digest
		digest; /* what the tag resolved to: an index or a manifest; empty when not known */
	struct digest manifest;		/* of this platform; empty when not known */
	char image[80];			/* the engine's Id of it; empty when not known */
	bool brought;			/* Pullet pulled it: it was not in the engine before */
	struct digest pulled;		/* the digest it was pulled by; empty: digest */
	char version[VERSION_TEXT_MAX]; /* as the image says; empty: not known */
	struct signature signature;	/* of pulled */
};

/* The digest under which the engine lists it. */
static inline const struct digest *release_pulled(const struct release *r)
{
	return digest_is_set(&r->pulled) ? &r->pulled : &r->digest;
}

static inline bool release_is_set(const struct release *r)
{
	return digest_is_set(&r->digest) || r->image[0];
}

/* What names it in the label of its container: the digest under which the engine lists it, else the engine's Id. */
struct digest release_label(const struct release *r);

/* Copies what an image says of its version; "" if it is NULL or no word of printable ASCII. */
void release_set_version(char ret[VERSION_TEXT_MAX], const char *text);

struct rejected {
	struct digest digest;
	struct digest manifest;
	/* The version of the engine that could not use it; another may. Empty: it failed on trial. */
	char engine[RECORD_ENGINE_MAX];
	char reason[RECORD_TEXT_MAX];
};

/* The same without its reason. */
struct rejected_before {
	struct digest digest;
	struct digest manifest;
	char engine[RECORD_ENGINE_MAX];
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

/* Updates to one digest that something else on the machine undid: no fault of the image. */
struct disturbed {
	struct digest digest; /* empty: none */
	char engine[RECORD_ENGINE_MAX];
	unsigned int times;
};

/* Starts of target that the engine refused because of the host. */
struct host_refusal {
	char boot_id[BOOT_ID_SIZE]; /* empty: none */
	bool refused;		    /* the revert under way is for that */
	char engine[RECORD_ENGINE_MAX];
	unsigned int times; /* that old was stopped for it, in that boot with that engine */
};

/* A result that changed something, or that was new. */
struct history_entry {
	int64_t at_s; /* Unix time of its end; 0: the clock was not set */
	char result[12];
	struct digest from, to;
	char from_version[VERSION_TEXT_MAX], to_version[VERSION_TEXT_MAX];
	int64_t duration_ms, downtime_ms; /* -1: none, or not known */
	char reason[HISTORY_TEXT_MAX];
};

/* An operator's hold. */
struct hold {
	int64_t until_s; /* Unix time; 0: until it is released */
	char by[40];	 /* login name, or "uid 1000"; empty: not known */
	char reason[160];
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
	bool ordered;	    /* update = tell: by an operator, so the schedule finishes it */
	bool rollback;	    /* target is the previous image, as the operator asked */
	int64_t began_ms;   /* Unix time when it was prepared; 0: not known */
	bool reject_target; /* on revert: target becomes rejected */
	struct host_refusal host;
	char reason[RECORD_TEXT_MAX]; /* of a revert */
	int64_t downtime_ms;	      /* of the last update; -1: none */
	/* Newest last. */
	struct rejected rejected[RECORD_REJECTED_MAX];
	size_t n_rejected;
	struct rejected_before rejected_before[RECORD_BEFORE_MAX];
	size_t n_rejected_before;
	struct damage damage;
	struct disturbed disturbed;
	struct disturbed deferred; /* the same of updates that before-unit deferred; no engine */
	bool held;		   /* see record_is_held() */
	struct hold hold;
	struct digest told;	   /* update = tell: the digest that only waits for an operator */
	uint64_t rollout_sequence; /* highest seen in a policy; 0: none */
	struct digest rollout_policy; /* the policy that had it; empty: not known */
	/* ROLLOUT_SEEN, ROLLOUT_CLEARED or ROLLOUT_LOST; empty: ROLLOUT_SEEN with a sequence, else there was none. */
	char rollout_state[8];
	/* For min-age: the digest of the tag, and when this device first saw it (Unix time). */
	struct digest seen;
	int64_t seen_s;
	/* Which the operator chose when the container was created ("linux/386"); empty: the machine's own. */
	char platform[PLATFORM_TEXT_MAX];
	char last_error[RECORD_TEXT_MAX];
	struct history_entry history[HISTORY_MAX]; /* newest last */
	size_t n_history;
	/* The key that signed last is last. */
	struct key_sequence sequences[RECORD_SEQUENCES_MAX];
	size_t n_sequences;
	int64_t statement_s; /* Unix time when the newest statement (a seq above all before) was first seen; 0: not known */
	int64_t renewal_s; /* Unix time when the registry was asked for a signature of current that has not expired; 0: never */
	enum signature_place place; /* where the last signature was found; asked first */
	struct signed_candidate signed_candidate;
	struct digest
		floor; /* what ran when sequences were taken from its own signatures; empty: they never were */
	struct digest
		rollout_manifest; /* the artifact of the policy whose signature was verified; empty: none */
	struct signature rollout_signature; /* by which it was */
	struct digest rollout_refused;	    /* the last one whose signature was not; empty: none */
};

/* What is known of the policy beside the image. */
#define ROLLOUT_SEEN	"seen"	  /* there was one: that it is gone says nothing */
#define ROLLOUT_CLEARED "cleared" /* the last one ended all rollouts */
#define ROLLOUT_LOST	"lost"	  /* the record was damaged */

extern const char phase_names[PHASE_MAX][8];

void record_init(struct record *r);

/* Whether an operator's hold is in force. now_s: Unix time; 0: the clock is not set, and no hold ends. */
static inline bool record_is_held(const struct record *r, int64_t now_s)
{
	return r->held && (r->hold.until_s == 0 || now_s == 0 || now_s < r->hold.until_s);
}

/* Reads without a change. -ENOENT: there is no record; -EBADMSG: the file is no valid record; any other: it cannot
 * be read now. */
int record_read(int state_dir, const char *name, struct record *ret,
		struct error *ret_error) warn_unused;
/* Reads, and renames a file that is no valid record to NAME.json.broken. Errors as record_read(). With -EBADMSG *ret has
 * what the operator and the registry said, as far as it can be read; the rest is empty. */
int record_load(int state_dir, const char *name, struct record *ret,
		struct error *ret_error) warn_unused;
/* Durable and atomic before it returns. */
int record_save(int state_dir, const char *name, const struct record *r,
		struct error *ret_error) warn_unused;

/* The version of that digest, as far as the record has it, else "". Borrowed. */
const char *record_version(const struct record *r, const struct digest *d);

/* Counts one more damaged pull of target in this boot. */
void record_damage(struct record *r, const char *boot_id);
/* Counts one more update to d that something else undid. */
void record_disturbed(struct record *r, const struct digest *d, const char *engine);
/* Notes that the host refused the start of target. */
void record_host_refused(struct record *r, const char *boot_id, const char *engine);
/* Whether it did so RECORD_HOST_MAX times, in that boot with that engine. */
bool record_host_is_hopeless(const struct record *r, const char *boot_id, const char *engine);
/* Whether updates to d were undone RECORD_DISTURBED_MAX times, under an engine of that version. */
bool record_is_disturbed(const struct record *r, const struct digest *d, const char *engine);

/* Whether d was pulled RECORD_DAMAGE_MAX times in this boot and is still damaged. */
static inline bool record_is_hopeless(const struct record *r, const struct digest *d,
				      const char *boot_id)
{
	return digest_eq(&r->damage.digest, d) && r->damage.tries >= RECORD_DAMAGE_MAX &&
	       strcmp(r->damage.boot_id, boot_id) == 0;
}

/* Whether a policy governs the image: if none is found now, it was removed. */
static inline bool record_has_policy(const struct record *r)
{
	return strcmp(r->rollout_state, ROLLOUT_SEEN) == 0 ||
	       (r->rollout_sequence > 0 && strcmp(r->rollout_state, ROLLOUT_CLEARED) != 0);
}
/* Whether the registry's policy was forgotten, which there was. */
bool record_forget_policy(struct record *r);

/* Whether both are of the same keys with the same seq and end, for the same reference. */
bool signature_eq(const struct signature *a, const struct signature *b);
/* Whether what runs was not verified here, and was not asked yet which sequence must not be gone below: a record was lost, the first
 * key was set, or others updated the container. */
bool record_lacks_floor(const struct record *r);
/* What is known of that key; NULL: nothing. Borrowed. */
const struct key_sequence *record_find_sequence(const struct record *r, const struct digest *key);
/* The highest seq of that key; 0: none is known. */
uint64_t record_sequence(const struct record *r, const struct digest *key);
/* Notes what a key signed, if its seq is above the one that is known. Of RECORD_SEQUENCES_MAX + 1 keys the one that signed
 * longest ago is forgotten. */
void record_raise_sequence(struct record *r, const struct key_sequence *s);
/* The same for all keys of a release that has come to stay. now_s: Unix time; 0: the clock is not set. */
void record_raise_sequences(struct record *r, const struct release *stays, int64_t now_s);

/* Whether the signature of what runs has expired. now_s as before. */
static inline bool record_has_expired(const struct record *r, int64_t now_s)
{
	return r->current.signature.expires_s != 0 && now_s >= r->current.signature.expires_s;
}

#define RECORD_KNOWN_MAX (2 * (RECORD_REJECTED_MAX + RECORD_BEFORE_MAX))

/* Why d is rejected, by digest or by manifest, for an engine of that version (NULL: of any); NULL: it is not.
 * Borrowed. */
const char *record_rejected(const struct record *r, const struct digest *d, const char *engine);
/* All digests and manifests that are. Returns their number. */
size_t record_list_rejected(const struct record *r, const char *engine,
			    struct digest ret[RECORD_KNOWN_MAX]);
/* Appends, and replaces an entry of the same digest; without a digest nothing is rejected. Of RECORD_REJECTED_MAX + 1 the oldest loses its reason; of
 * RECORD_BEFORE_MAX + 1 without one the oldest that failed on no trial is forgotten, else the oldest. engine "": it
 * failed on trial. */
void record_reject(struct record *r, const struct release *target, const char *engine,
		   const char *reason);
