/* SPDX-License-Identifier: MIT */
/* rollout: the policy beside an image in the registry: which devices take a new image, and when. The format
 * is that of pullet-rollout(5). Pure. */
#pragma once

#include "digest.h"
#include "json.h"

#define COHORT_ALL	   1000000u /* unit of shares of a fleet and of positions in it */
#define ROLLOUT_MEDIA_TYPE "application/vnd.pullet.rollout.v1+json"
#define ROLLOUT_TAG_SUFFIX ".rollout"
/* Annotations of the artifact: the repository (HOST/PATH) and the tag that it is for. Whoever signs the artifact signs them, too. */
#define ROLLOUT_ANNOTATION_IMAGE "vnd.pullet.rollout.image"
#define ROLLOUT_ANNOTATION_TAG	 "vnd.pullet.rollout.tag"
#define ROLLOUT_BYTES_MAX	 ((size_t)16 * 1024)
#define ROLLOUT_POINTS_MAX	 64
#define ROLLOUT_RINGS_MAX	 64
#define ROLLOUT_RING_MAX	 64 /* bytes of a name, with its NUL */
#define ROLLOUT_NEVER		 INT64_MAX
#define ROLLOUT_STEP_MAX	 1000000 /* how much higher a sequence may be than the last one */
#define ROLLOUT_AHEAD_S		 86400	 /* or, as a Unix time, how far in the future */
#define ROLLOUT_TIME_MAX	 253402387199 /* the last second of 9999 in every time zone */

/* From at on, share of COHORT_ALL devices; linear between two points. */
struct rollout_point {
	int64_t at_s; /* Unix time; 0: always */
	uint32_t share;
};

/* The policy as it applies to one ring. */
struct rollout {
	uint64_t sequence;
	struct digest document; /* SHA-256 of its text; empty: not known */
	bool clear;		/* it ends all rollouts; nothing below is set */
	struct digest target;
	bool halt;
	char minimum_version[24]; /* empty: any */
	int64_t not_before_s;	  /* Unix time; 0: at once */
	struct rollout_point
		points[ROLLOUT_POINTS_MAX]; /* at least one; neither number decreases */
	size_t n_points;
};

/* The device to which a policy is applied. */
struct rollout_device {
	const char *version;  /* of the agent */
	uint32_t position;    /* cohort_position */
	uint64_t sequence;    /* highest seen for this container; 0: none */
	struct digest policy; /* the document that had it; empty: not known */
	struct digest digest; /* of the tag */
	int64_t now_s;	      /* Unix time; 0: the clock is not set */
};

/* -EBADMSG for a policy that is not valid in every part. The rest of the fleet has ring NULL, or a name that
 * the policy does not mention. */
int rollout_parse(const char *data, size_t n, const char *ring, struct rollout *ret,
		  struct error *ret_error) warn_unused;
int rollout_from_json(const json_t *j, const char *ring, struct rollout *ret,
		      struct error *ret_error) warn_unused;

/* How many of COHORT_ALL devices may take the image at now_s, by share and not-before alone. */
uint32_t rollout_share(const struct rollout *r, int64_t now_s);
/* The first second at which a device of this position may, or ROLLOUT_NEVER. */
int64_t rollout_turn(const struct rollout *r, uint32_t position);

/* The highest sequence that a device accepts after last, so that no policy can lock out all later ones: one more step,
 * or the present as a Unix time. */
uint64_t rollout_sequence_max(uint64_t last, int64_t now_s /* 0: the clock is not set */);
/* Whether the sequence of r may be the next one of d, or is the same policy again; else ret_why has the reason. */
bool rollout_is_in_sequence(const struct rollout *r, const struct rollout_device *d, char *ret_why,
			    size_t size);
/* Whether the device takes the image now; else ret_why has the reason, which stays the same until the policy
 * or the answer changes. */
bool rollout_admits(const struct rollout *r, const struct rollout_device *d, char *ret_why,
		    size_t size);

/* A share or position of COHORT_ALL as a percentage, "12.5", into buf; returns buf. */
const char *rollout_percent(uint32_t share, char *buf, size_t n);

bool rollout_ring_is_valid(const char *name);
