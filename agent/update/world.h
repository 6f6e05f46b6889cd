/* SPDX-License-Identifier: MIT */
/* world: what one look at the engine shows, as far as the plan needs it. Plain data. */
#pragma once

#include <errno.h>

#include "json.h"
#include "record.h"

struct engine;
struct ref;

#define IMAGE_ID_SIZE 80

enum slot {
	SLOT_MAIN,  /* NAME */
	SLOT_NEXT,  /* NAME.next */
	SLOT_PREV,  /* NAME.prev */
	SLOT_OTHER, /* an operator renamed it */
};
#define SLOT_MAX 3

enum container_state {
	STATE_CREATED, /* never started */
	STATE_RUNNING,
	STATE_RESTARTING, /* down, and the engine is about to start it again */
	STATE_PAUSED,
	STATE_EXITED,
	STATE_REMOVING, /* down, and somebody removes it, or tried to: it never starts again */
};

enum container_health {
	CONTAINER_HEALTH_NONE, /* it has no HEALTHCHECK */
	CONTAINER_HEALTH_STARTING,
	CONTAINER_HEALTH_HEALTHY,
	CONTAINER_HEALTH_UNHEALTHY,
};

/* The times of a HEALTHCHECK, with the engine's defaults for those that are 0. */
struct health_check {
	uint64_t start_period_ms, start_interval_ms, interval_ms, timeout_ms, retries;
	bool has_ended; /* at least once since the start */
};

struct container_view {
	char id[72]; /* empty: there is no such container */
	enum slot slot;
	enum container_state state;
	enum container_health health;
	struct health_check check; /* unless health is CONTAINER_HEALTH_NONE */
	int exit_code;
	bool oom_killed;
	bool ended_alone;	     /* down against its policy, and no operator stopped it */
	bool stopped;		     /* an operator stopped it, by the engine's word */
	bool cannot_be_removed;	     /* a removal failed, and it never starts again */
	char error[RECORD_TEXT_MAX]; /* why the last start failed, in the engine's words */
	char image[IMAGE_ID_SIZE];
	char version[VERSION_TEXT_MAX]; /* label of its image; empty: none */
	/* Of its image's manifest, with containerd's store from API 1.48 on; empty: the image tells. */
	struct digest manifest;
	struct oci_platform platform;
	char policy[POLICY_TEXT_MAX]; /* "no", "always", "unless-stopped", "on-failure:3" */
	struct digest target;	      /* label pullet.target: we made it for that digest */
	bool confirmed; /* its image is of target, by the engine's word (world_look_at_names) */
	char final_policy[POLICY_TEXT_MAX]; /* label pullet.policy: what it gets on commit */
	int64_t started_ns;		    /* Unix time by the engine; 0: never */
	int64_t finished_ns;
};

struct pair {
	struct container_view old, new;
};

/* The container itself is member 0, its followers are the others. */
#define MEMBERS_MAX (1 + FOLLOWERS_MAX)

struct world {
	union {
		struct pair members[MEMBERS_MAX];
		struct {
			struct container_view old; /* what runs, or ran, before the update */
			struct container_view new; /* what we made to replace it */
			struct pair followers[FOLLOWERS_MAX]; /* as in the record */
		};
	};
	struct container_view blocker; /* not ours, under a name that we need */
	char blocker_name[CONTAINER_NAME_MAX + 8];
	char image[IMAGE_ID_SIZE]; /* of the target's image; empty: not in the engine */
	bool broken; /* it is there, and the engine cannot give it back, or not in an answer that may be taken */
	char tag[IMAGE_ID_SIZE];	    /* that the local tag points to; empty: nothing */
	char previous_image[IMAGE_ID_SIZE]; /* of the image kept to go back to; empty: none */
	bool older_present; /* the image before the previous one, which we brought */
	char boot_id[BOOT_ID_SIZE];
};

/* The engine's answer is larger than may be taken, or no answer: the next one will be the same. */
static inline bool world_is_unreadable(int code)
{
	return code == -EFBIG || code == -EBADMSG;
}

static inline bool view_exists(const struct container_view *v)
{
	return v->id[0] != '\0';
}

/* It is there to stay, as far as others are concerned. */
static inline bool view_is_kept(const struct container_view *v)
{
	return view_exists(v) && v->state != STATE_REMOVING;
}

static inline bool view_is_up(const struct container_view *v)
{
	return v->state == STATE_RUNNING || v->state == STATE_RESTARTING ||
	       v->state == STATE_PAUSED;
}

/* A start of the container was tried at least once. */
static inline bool view_was_started(const struct container_view *v)
{
	return view_exists(v) && (v->state != STATE_CREATED || v->error[0]);
}

/* The container is down, and the engine says that it could not start it because of its image store, or of
 * what is left of an earlier start. */
bool view_is_broken(const struct container_view *v);

/* The container is down, and not because an operator stopped it: the engine could not start it, or gave up. */
bool view_has_failed(const struct container_view *v);

/* Why the container is left alone (static text): an operator stopped or paused it, or created and never
 * started it; NULL when it may be updated. */
const char *view_left_alone(const struct container_view *v);

/* The record's current version is what the container runs; an operator may have replaced it. */
bool world_runs_current(const struct world *w, const struct record *r);

/* What a look needs: the container's name in the configuration and its image reference. */
struct context {
	struct engine *engine;
	const char *name;
	const struct ref *ref;
};

/* Parts of a look. */
#define WORLD_CONTAINERS 1u
#define WORLD_IMAGES	 2u
#define WORLD_WHOLE	 (WORLD_CONTAINERS | WORLD_IMAGES)

/* Looks again at those parts, as far as r's phase needs them; the others stay as they are in *w. What
 * is not there is empty, not an error. On failure *w is as before. */
int world_look(const struct context *s, const struct record *r, unsigned int parts, struct world *w,
	       struct error *ret_error) warn_unused;

/* The three names alone, for a record that is lost (plan_recover). */
int world_look_at_names(const struct context *s, struct container_view ret[SLOT_MAX],
			struct error *ret_error) warn_unused;

/* NAME, NAME.next, NAME.prev; NULL for SLOT_OTHER. Caller frees. */
char *world_slot_name(const char *name, enum slot slot);

/* The repository that keeps previous images, each under its container's name as tag. */
#define WORLD_KEEP_REPOSITORY "localhost/pullet/previous"

/* Whether an image's inspect answer lists d among its RepoDigests. Pure. */
bool world_has_digest(const json_t *image, const struct digest *d);

/* Name of an inspect answer, without the slash; never NULL. Borrowed. */
const char *world_name_of(const json_t *inspect);

/* For tests: an inspect answer to a view. Pure. */
int world_read_container(const json_t *inspect, struct container_view *ret,
			 struct error *ret_error) warn_unused;
