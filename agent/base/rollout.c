/* SPDX-License-Identifier: MIT */
#include "rollout.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "calendar.h"

#define VERSION	     1
#define SEQUENCE_MAX ((json_int_t)1 << 53) /* exact in every JSON library */
#define PERCENT	     (COHORT_ALL / 100)
#define NUMBERS	     4 /* of a version */

/* All valid keys, besides those that begin with "x-". "" ends a list. */
static const char policy_keys[][16] = {"version", "sequence",	"target", "percent",	     "ramp",
				       "rings",	  "not-before", "halt",	  "minimum-version", ""};
static const char clear_keys[][16] = {"version", "sequence", "clear", ""};
static const char ring_keys[][16] = {"percent", "ramp", "not-before", ""};
static const char point_keys[][16] = {"at", "percent", ""};

static int check_keys(const json_t *j, const char *what, const char (*known)[16],
		      struct error *ret_error)
{
	const char *key;
	json_t *value;

	if (!json_is_object(j))
		return error_set(ret_error, -EBADMSG, "%s is not an object", what);
	json_object_foreach ((json_t *)j, key, value) {
		bool found = after_prefix(key, "x-");

		for (size_t i = 0; known[i][0]; i++)
			found |= streq(known[i], key);
		if (!found)
			return error_set(ret_error, -EBADMSG, "%s has an unknown key \"%.64s\"",
					 what, key);
	}
	return 0;
}

static int parse_time(const json_t *j, const char *key, int64_t *ret, struct error *ret_error)
{
	const char *s = json_get_string(j, key);
	struct timespec t;

	if (!s || calendar_parse_rfc3339(s, &t) < 0 || t.tv_sec <= 0)
		return error_set(
			ret_error, -EBADMSG,
			"\"%s\" is not a time of RFC 3339, such as \"2026-12-01T08:00:00Z\"", key);
	*ret = t.tv_sec;
	return 0;
}

static int parse_percent(const json_t *j, uint32_t *ret, struct error *ret_error)
{
	const json_t *value = json_object_get(j, "percent");
	double share = json_number_value(value) * PERCENT, rest;

	if (!json_is_number(value) || share < 0 || share > COHORT_ALL)
		return error_set(ret_error, -EBADMSG, "\"percent\" is not a number from 0 to 100");
	*ret = (uint32_t)(share + 0.5);
	rest = share - *ret;
	if (rest > 1e-6 || rest < -1e-6)
		return error_set(ret_error, -EBADMSG, "\"percent\" has more than four decimals");
	return 0;
}

static int parse_ramp(const json_t *list, struct rollout *ret, struct error *ret_error)
{
	size_t n = json_array_size(list);

	if (n < 1 || n > ROLLOUT_POINTS_MAX)
		return error_set(ret_error, -EBADMSG, "\"ramp\" is not a list of 1 to %d points",
				 ROLLOUT_POINTS_MAX);
	for (size_t i = 0; i < n; i++) {
		const json_t *point = json_array_get(list, i);
		struct rollout_point *p = &ret->points[i];
		int r = check_keys(point, "a point of \"ramp\"", point_keys, ret_error);

		if (r == 0)
			r = parse_time(point, "at", &p->at_s, ret_error);
		if (r == 0)
			r = parse_percent(point, &p->share, ret_error);
		if (r < 0)
			return r;
		/* A device that runs the image does not go back. */
		if (i > 0 && (p->at_s < p[-1].at_s || p->share < p[-1].share))
			return error_set(ret_error, -EBADMSG,
					 "\"ramp\" decreases: neither \"at\" nor \"percent\" may");
	}
	ret->n_points = n;
	return 0;
}

/* The part that the whole policy and a ring have in common. */
static int parse_stage(const json_t *j, struct rollout *ret, struct error *ret_error)
{
	const json_t *ramp = json_object_get(j, "ramp");
	int r = 0;

	ret->not_before_s = 0;
	if (!ramp == !json_object_get(j, "percent"))
		return error_set(ret_error, -EBADMSG,
				 "exactly one of \"percent\" and \"ramp\" is required");
	if (json_object_get(j, "not-before"))
		r = parse_time(j, "not-before", &ret->not_before_s, ret_error);
	if (r < 0)
		return r;
	if (ramp)
		return parse_ramp(ramp, ret, ret_error);
	ret->n_points = 1;
	ret->points[0].at_s = 0;
	return parse_percent(j, &ret->points[0].share, ret_error);
}

bool rollout_ring_is_valid(const char *name)
{
	size_t n = strlen(name);

	return n > 0 && n < ROLLOUT_RING_MAX && name[0] != '-' &&
	       strspn(name, ALPHANUMERIC "._-") == n;
}

/* Checks all rings, and uses the device's. */
static int parse_rings(const json_t *j, const char *ring, struct rollout *ret,
		       struct error *ret_error)
{
	json_t *rings = json_object_get(j, "rings"), *value;
	const char *name;

	if (!rings)
		return 0;
	if (!json_is_object(rings) || json_object_size(rings) > ROLLOUT_RINGS_MAX)
		return error_set(ret_error, -EBADMSG,
				 "\"rings\" is not an object of at most %d rings",
				 ROLLOUT_RINGS_MAX);
	json_object_foreach (rings, name, value) {
		struct rollout one = *ret;
		int r;

		if (!rollout_ring_is_valid(name))
			return error_set(ret_error, -EBADMSG, "\"%.64s\" is not a valid ring name",
					 name);
		r = check_keys(value, "the ring", ring_keys, ret_error);
		if (r == 0)
			r = parse_stage(value, &one, ret_error);
		if (r < 0)
			return error_prefix(ret_error, "ring %s", name);
		if (ring && streq(name, ring))
			*ret = one;
	}
	return 0;
}

/* Reads the numbers of "1.2.3"; missing ones are 0. Returns the rest of s. */
static const char *take_version(const char *s, unsigned long numbers[NUMBERS])
{
	for (size_t i = 0; i < NUMBERS; i++) {
		char *end;

		numbers[i] = 0;
		if (*s < '0' || *s > '9')
			return s;
		numbers[i] = strtoul(s, &end, 10);
		s = end;
		if (*s != '.' || s[1] < '0' || s[1] > '9')
			break;
		s++;
	}
	return s;
}

static bool is_older(const char *version, const char *minimum)
{
	unsigned long a[NUMBERS] = {0}, b[NUMBERS] = {0};

	(void)take_version(version, a);
	(void)take_version(minimum, b);
	for (size_t i = 0; i < NUMBERS; i++) {
		if (a[i] != b[i])
			return a[i] < b[i];
	}
	return false;
}

static int parse_version(const json_t *j, struct rollout *ret, struct error *ret_error)
{
	/* 0: not an integer */
	json_int_t version = json_integer_value(json_object_get(j, "version"));
	json_int_t sequence = json_integer_value(json_object_get(j, "sequence"));

	if (version > VERSION)
		return error_set(ret_error, -EBADMSG,
				 "it has version %" JSON_INTEGER_FORMAT
				 ", this pullet supports %d; update pullet",
				 version, VERSION);
	if (version != VERSION)
		return error_set(ret_error, -EBADMSG, "\"version\" is not %d", VERSION);
	if (sequence < 1 || sequence > SEQUENCE_MAX)
		return error_set(ret_error, -EBADMSG, "\"sequence\" is not a positive integer");
	ret->sequence = (uint64_t)sequence;
	return 0;
}

static int parse_head(const json_t *j, struct rollout *ret, struct error *ret_error)
{
	const json_t *halt = json_object_get(j, "halt");
	const char *minimum = json_get_string(j, "minimum-version");
	const char *target = json_get_string(j, "target");
	unsigned long ignored[NUMBERS];

	if (!target || digest_parse(target, &ret->target) < 0)
		return error_set(ret_error, -EBADMSG,
				 "\"target\" is not \"sha256:\" and 64 lower-case hex digits");
	if (halt && !json_is_boolean(halt))
		return error_set(ret_error, -EBADMSG, "\"halt\" is neither true nor false");
	ret->halt = json_is_true(halt);
	if (!json_object_get(j, "minimum-version"))
		return 0;
	if (!minimum || !*minimum || strlen(minimum) >= sizeof(ret->minimum_version) ||
	    *take_version(minimum, ignored))
		return error_set(ret_error, -EBADMSG,
				 "\"minimum-version\" is not of the form \"1.2.3\"");
	copy_text(ret->minimum_version, sizeof(ret->minimum_version), minimum);
	return 0;
}

/* With a target or a halt beside it, the author may have meant either. */
static int parse_clear(const json_t *j, struct rollout *ret, struct error *ret_error)
{
	ret->clear = json_is_true(json_object_get(j, "clear"));
	if (!ret->clear)
		return error_set(ret_error, -EBADMSG, "\"clear\" is not true");
	return check_keys(j, "it ends all rollouts with \"clear\", but", clear_keys, ret_error);
}

int rollout_from_json(const json_t *j, const char *ring, struct rollout *ret,
		      struct error *ret_error)
{
	struct rollout policy = {0};
	int r;

	if (!json_is_object(j))
		return error_set(ret_error, -EBADMSG, "it is not a JSON object");
	/* The version comes first: a later one may have other keys. */
	r = parse_version(j, &policy, ret_error);
	if (r == 0 && json_object_get(j, "clear")) {
		r = parse_clear(j, &policy, ret_error);
		if (r == 0)
			*ret = policy;
		return r;
	}
	if (r == 0)
		r = parse_head(j, &policy, ret_error);
	if (r == 0)
		r = check_keys(j, "it", policy_keys, ret_error);
	if (r == 0)
		r = parse_stage(j, &policy, ret_error);
	if (r == 0)
		r = parse_rings(j, ring, &policy, ret_error);
	if (r == 0)
		*ret = policy;
	return r;
}

int rollout_parse(const char *data, size_t n, const char *ring, struct rollout *ret,
		  struct error *ret_error)
{
	_cleanup_json_ json_t *j = NULL;
	int r;

	if (n > ROLLOUT_BYTES_MAX)
		return error_set(ret_error, -EBADMSG, "it has %zu bytes; at most %zu are allowed",
				 n, ROLLOUT_BYTES_MAX);
	r = json_parse(data, n, "it", &j, ret_error);
	return r < 0 ? r : rollout_from_json(j, ring, ret, ret_error);
}

uint32_t rollout_share(const struct rollout *r, int64_t now_s)
{
	const struct rollout_point *a, *b;
	size_t i = 0;

	while (i < r->n_points && r->points[i].at_s <= now_s)
		i++;
	if (i == 0 || now_s < r->not_before_s)
		return 0;
	a = &r->points[i - 1];
	if (i == r->n_points)
		return a->share;
	b = a + 1;
	return a->share +
	       (uint32_t)((int64_t)(b->share - a->share) * (now_s - a->at_s) / (b->at_s - a->at_s));
}

int64_t rollout_turn(const struct rollout *r, uint32_t position)
{
	int64_t at = ROLLOUT_NEVER;

	for (size_t i = 0; i < r->n_points; i++) {
		const struct rollout_point *b = &r->points[i], *a = b - 1;
		int64_t steps, rise;

		if (b->share <= position)
			continue;
		at = b->at_s;
		if (i > 0) {
			/* The first whole second of the line that is high enough: rounded up. */
			steps = (int64_t)(position + 1 - a->share) * (b->at_s - a->at_s);
			rise = b->share - a->share;
			at = a->at_s + (steps + rise - 1) / rise;
		}
		return at > r->not_before_s ? at : r->not_before_s;
	}
	return at;
}

const char *rollout_percent(uint32_t share, char *buf, size_t n)
{
	(void)snprintf(buf, n, "%.6g", (double)share / PERCENT); /* four decimals at most */
	return buf;
}

uint64_t rollout_sequence_max(uint64_t last, int64_t now_s)
{
	uint64_t step = last + ROLLOUT_STEP_MAX;
	uint64_t time = now_s > 0 ? (uint64_t)now_s + ROLLOUT_AHEAD_S : 0;

	return step > time ? step : time;
}

static bool is_rewritten(const struct rollout *r, const struct rollout_device *d)
{
	return r->sequence == d->sequence && digest_is_set(&d->policy) &&
	       !digest_eq(&r->document, &d->policy);
}

bool rollout_is_in_sequence(const struct rollout *r, const struct rollout_device *d, char *ret_why,
			    size_t size)
{
	uint64_t most = rollout_sequence_max(d->sequence, d->now_s);

	ret_why[0] = '\0';
	if (r->sequence < d->sequence)
		(void)snprintf(ret_why, size,
			       "the rollout policy is too old: its sequence is %" PRIu64
			       ", but %" PRIu64 " was seen before; a new one needs a higher number",
			       r->sequence, d->sequence);
	else if (is_rewritten(r, d))
		(void)snprintf(ret_why, size,
			       "the rollout policy was changed, but its sequence is still %" PRIu64
			       "; publish it with a higher one",
			       r->sequence);
	else if (r->sequence > most)
		(void)snprintf(ret_why, size,
			       "the sequence of the rollout policy, %" PRIu64
			       ", is too high: at most %" PRIu64 " is accepted%s",
			       r->sequence, most, d->now_s ? "" : " while the clock is not set");
	return !ret_why[0];
}

bool rollout_admits(const struct rollout *r, const struct rollout_device *d, char *ret_why,
		    size_t size)
{
	int64_t turn = rollout_turn(r, d->position);
	bool needs_clock = r->not_before_s > 0 || r->points[0].at_s > 0;
	char most[16], mine[16], when[32];

	if (!rollout_is_in_sequence(r, d, ret_why, size))
		return false;
	if (r->clear)
		return true;
	(void)rollout_percent(d->position, mine, sizeof(mine));
	if (!digest_eq(&r->target, &d->digest))
		(void)snprintf(ret_why, size,
			       "the rollout policy (sequence %" PRIu64
			       ") is for another image, %.19s",
			       r->sequence, r->target.text);
	else if (r->halt)
		(void)snprintf(ret_why, size, "the rollout is halted (sequence %" PRIu64 ")",
			       r->sequence);
	else if (is_older(d->version, r->minimum_version))
		(void)snprintf(ret_why, size, "the rollout requires pullet %s or newer, this is %s",
			       r->minimum_version, d->version);
	else if (turn == ROLLOUT_NEVER)
		(void)snprintf(
			ret_why, size,
			"the rollout covers %s %% of the devices, this device is at %s %%",
			rollout_percent(r->points[r->n_points - 1].share, most, sizeof(most)),
			mine);
	else if (needs_clock && d->now_s == 0)
		(void)snprintf(ret_why, size,
			       "the clock is not set, and the rollout depends on it");
	else if (turn > d->now_s)
		(void)snprintf(ret_why, size, "the rollout reaches this device (at %s %%) at %s",
			       mine, calendar_rfc3339(turn, when, sizeof(when)));
	return !ret_why[0];
}
