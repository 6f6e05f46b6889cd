/* SPDX-License-Identifier: MIT */
/* rollout: the policy that stands beside an image in the registry: who takes the new version, and when.
 * Pure. The format is that of pullet-rollout(5). */
#pragma once

#include "digest.h"
#include "json.h"

#define COHORT_ALL	   1000000u /* shares of a fleet, and positions in it, are counted in this unit */
#define ROLLOUT_MEDIA_TYPE "application/vnd.pullet.rollout.v1+json"
#define ROLLOUT_TAG_SUFFIX ".rollout"
#define ROLLOUT_BYTES_MAX  ((size_t)16 * 1024)
#define ROLLOUT_POINTS_MAX 64
#define ROLLOUT_RINGS_MAX  64
#define ROLLOUT_RING_MAX   64 /* bytes of a name, with its NUL */
#define ROLLOUT_NEVER	   INT64_MAX
#define ROLLOUT_TIME_MAX   253402387199 /* the last second of 9999, wherever */

/* From at on, share of COHORT_ALL devices; straight lines between two of them. */
struct rollout_point {
	int64_t at_s; /* Unix time; 0: ever since */
	uint32_t share;
};

/* What the policy says to the devices of one ring. */
struct rollout {
	uint64_t sequence;
	struct digest target;
	bool halt;
	char minimum_version[24]; /* empty: any */
	int64_t not_before_s;	  /* Unix time; 0: at once */
	struct rollout_point
		points[ROLLOUT_POINTS_MAX]; /* at least one; neither number ever falls */
	size_t n_points;
};

/* What it is held against. */
struct rollout_device {
	const char *version;  /* of the agent */
	uint32_t position;    /* cohort_position */
	uint64_t sequence;    /* the highest that was seen for this container; 0: none */
	struct digest digest; /* what the tag points to */
	int64_t now_s;	      /* Unix time; 0: the clock is not set */
};

/* A policy that is not exactly right is none: -EBADMSG and what is wrong. ring may be NULL, or a name
 * that the policy does not mention: the rest of the fleet. */
int rollout_parse(const char *data, size_t n, const char *ring, struct rollout *ret,
		  struct error *ret_error) warn_unused;
int rollout_from_json(const json_t *j, const char *ring, struct rollout *ret,
		      struct error *ret_error) warn_unused;

/* How many of COHORT_ALL devices may take it at that time, whatever else it says. */
uint32_t rollout_share(const struct rollout *r, int64_t now_s);
/* The first second at which a device of that position may; ROLLOUT_NEVER. */
int64_t rollout_turn(const struct rollout *r, uint32_t position);

/* Whether the device takes it now; else why not, in a sentence that stays the same until the policy or
 * the answer changes. */
bool rollout_admits(const struct rollout *r, const struct rollout_device *d, char *ret_why,
		    size_t size);

/* A share or a position of COHORT_ALL: "12.5", of a hundred. Into buf; returns buf. */
const char *rollout_percent(uint32_t share, char *buf, size_t n);

bool rollout_ring_is_valid(const char *name);
