/* SPDX-License-Identifier: MIT */
#include "world.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "engine.h"
#include "recreate.h"
#include "ref.h"

char *world_slot_name(const char *name, enum slot slot)
{
	static const char *const suffixes[SLOTS] = {
		[SLOT_MAIN] = "", [SLOT_NEXT] = ".next", [SLOT_PREV] = ".prev"};

	return slot < SLOTS ? xasprintf("%s%s", name, suffixes[slot]) : NULL;
}

/* Cuts what is too long. */
static void copy_text(char *ret, size_t size, const char *s)
{
	size_t n = s ? strnlen(s, size - 1) : 0;

	if (n > 0)
		memcpy(ret, s, n);
	ret[n] = '\0';
}

/* RFC 3339 with nanoseconds, as Go writes it, to nanoseconds of Unix time; 0 for "never". */
static int64_t parse_time(const char *s)
{
	struct tm tm = {0};
	const char *p = s ? strptime(s, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
	int64_t ns = 0, scale = 100000000;
	int hours, minutes;
	time_t t;

	if (!p || tm.tm_year < 70)
		return 0;
	if (*p == '.') {
		for (p++; *p >= '0' && *p <= '9'; p++, scale /= 10)
			ns += (*p - '0') * scale;
	}
	t = timegm(&tm);
	if ((*p == '+' || *p == '-') && sscanf(p + 1, "%2d:%2d", &hours, &minutes) == 2)
		t -= (*p == '+' ? 1 : -1) * (hours * 3600 + minutes * 60);
	return (int64_t)t * 1000000000 + ns;
}

static enum container_state read_state(const json_t *state)
{
	const char *status = json_get_string(state, "Status");

	if (json_is_true(json_object_get(state, "Restarting")))
		return STATE_RESTARTING;
	if (json_is_true(json_object_get(state, "Paused")))
		return STATE_PAUSED;
	if (json_is_true(json_object_get(state, "Running")))
		return STATE_RUNNING;
	return status && streq(status, "created") ? STATE_CREATED : STATE_EXITED;
}

static enum container_health read_health(const json_t *inspect)
{
	const json_t *test = json_get_path(inspect, "Config", "Healthcheck", "Test", NULL);
	const char *first = json_string_value(json_array_get(test, 0));
	const char *status =
		json_get_string(json_get_path(inspect, "State", "Health", NULL), "Status");

	if (status && streq(status, "healthy"))
		return CONTAINER_HEALTH_HEALTHY;
	if (status && streq(status, "unhealthy"))
		return CONTAINER_HEALTH_UNHEALTHY;
	if (status && streq(status, "starting"))
		return CONTAINER_HEALTH_STARTING;
	/* Before the first start there is no State.Health, only the wish for one. */
	return first && !streq(first, "NONE") ? CONTAINER_HEALTH_STARTING : CONTAINER_HEALTH_NONE;
}

int world_read_container(const json_t *inspect, struct container_view *ret, struct error *ret_error)
{
	const json_t *state = json_object_get(inspect, "State");
	const json_t *labels = json_get_path(inspect, "Config", "Labels", NULL);
	const char *id = json_get_string(inspect, "Id"), *image = json_get_string(inspect, "Image");
	const char *target = json_get_string(labels, "pullet.target");
	_cleanup_free_ char *policy = NULL;
	struct container_view v = {0};
	struct error text;

	if (!id || !image || !json_is_object(state) || strlen(id) >= sizeof(v.id))
		return error_set(ret_error, -EPROTO,
				 "the engine's inspect answer has no Id, Image, "
				 "State");
	policy = recreate_policy_text(json_get_path(inspect, "HostConfig", "RestartPolicy", NULL));
	copy_text(v.id, sizeof(v.id), id);
	copy_text(v.image, sizeof(v.image), image);
	copy_text(v.policy, sizeof(v.policy), policy);
	v.state = read_state(state);
	v.health = read_health(inspect);
	v.exit_code = (int)json_integer_value(json_object_get(state, "ExitCode"));
	(void)error_set(&text, -EIO, "%s",
			json_get_string(state, "Error") ? json_get_string(state, "Error") : "");
	copy_text(v.error, sizeof(v.error), text.text);
	v.started_ns = parse_time(json_get_string(state, "StartedAt"));
	v.finished_ns = parse_time(json_get_string(state, "FinishedAt"));
	if (v.state == STATE_EXITED && v.started_ns == 0)
		v.state = STATE_CREATED;
	if (target && digest_parse(target, &v.target) == 0)
		copy_text(v.final_policy, sizeof(v.final_policy),
			  json_get_string(labels, "pullet.policy"));
	*ret = v;
	return 0;
}

static int look_at(const struct sight *s, const char *name_or_id, enum slot slot,
		   struct container_view *ret, struct error *ret_error)
{
	_cleanup_json_ json_t *j = NULL;
	int r = engine_inspect_container(s->engine, name_or_id, &j, ret_error);

	if (r == -ENOENT) {
		*ret = (struct container_view){0};
		return 0;
	}
	if (r == 0)
		r = world_read_container(j, ret, ret_error);
	if (r == 0)
		ret->slot = slot;
	return r;
}

int world_look_at_names(const struct sight *s, struct container_view ret[SLOTS],
			struct error *ret_error)
{
	for (enum slot slot = SLOT_MAIN; slot < SLOTS; slot++) {
		_cleanup_free_ char *name = world_slot_name(s->name, slot);
		int r = look_at(s, name, slot, &ret[slot], ret_error);

		if (r < 0)
			return r;
	}
	return 0;
}

static bool has_id(const struct container_view *v, const char *id)
{
	return id[0] && streq(v->id, id);
}

void world_assign(const struct record *r, const struct container_view slots[SLOTS],
		  struct world *ret)
{
	const struct container_view *next = &slots[SLOT_NEXT], *prev = &slots[SLOT_PREV];

	switch (r->phase) {
	case PHASE_IDLE:
	case PHASE_PREPARE:
		ret->old = slots[SLOT_MAIN];
		if (digest_is_set(&next->target))
			ret->new = *next;
		else
			ret->obstacle = *next;
		if (view_exists(prev))
			ret->obstacle = *prev;
		return;
	case PHASE_TRIAL:
	case PHASE_COMMIT:
	case PHASE_REVERT:
		for (enum slot slot = SLOT_MAIN; slot < SLOTS; slot++) {
			if (has_id(&slots[slot], r->old_id))
				ret->old = slots[slot];
			else if (has_id(&slots[slot], r->new_id))
				ret->new = slots[slot];
			else if (view_exists(&slots[slot]))
				ret->obstacle = slots[slot];
		}
		return;
	}
}

/* The Id behind an image reference; empty when there is none. */
static int look_at_image(const struct sight *s, const char *reference, char *ret, size_t size,
			 struct error *ret_error)
{
	_cleanup_json_ json_t *j = NULL;
	int r = engine_inspect_image(s->engine, reference, &j, ret_error);

	ret[0] = '\0';
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	copy_text(ret, size, json_get_string(j, "Id"));
	return 0;
}

static int look_at_pinned(const struct sight *s, const struct release *release, char *ret,
			  size_t size, struct error *ret_error)
{
	_cleanup_free_ char *pinned = NULL;

	ret[0] = '\0';
	if (!digest_is_set(&release->digest))
		return 0;
	pinned = ref_pinned(s->ref, &release->digest);
	return look_at_image(s, pinned, ret, size, ret_error);
}

/* Somebody may have renamed them: then their ids still tell. */
static int look_by_id(const struct sight *s, const struct record *r, struct world *ret,
		      struct error *ret_error)
{
	int q = 0;

	if (r->phase != PHASE_TRIAL && r->phase != PHASE_COMMIT && r->phase != PHASE_REVERT)
		return 0;
	if (!view_exists(&ret->old) && r->old_id[0])
		q = look_at(s, r->old_id, SLOT_OTHER, &ret->old, ret_error);
	if (q == 0 && !view_exists(&ret->new) && r->new_id[0])
		q = look_at(s, r->new_id, SLOT_OTHER, &ret->new, ret_error);
	return q;
}

static int look_at_tag(const struct sight *s, char *ret, size_t size, struct error *ret_error)
{
	_cleanup_free_ char *tagged = ref_tagged(s->ref);

	ret[0] = '\0';
	return tagged ? look_at_image(s, tagged, ret, size, ret_error) : 0;
}

static int look_at_older(const struct sight *s, const struct record *r, struct world *ret,
			 struct error *ret_error)
{
	char image[80];
	int q;

	if (!r->previous.brought || digest_eq(&r->previous.digest, &r->target.digest) ||
	    digest_eq(&r->previous.digest, &r->current.digest))
		return 0;
	q = look_at_pinned(s, &r->previous, image, sizeof(image), ret_error);
	ret->older_present = q == 0 && image[0] && !streq(image, ret->new.image) &&
			     !streq(image, ret->old.image);
	return q;
}

static int look_at_images(const struct sight *s, const struct record *r, struct world *ret,
			  struct error *ret_error)
{
	_cleanup_free_ char *kept = xasprintf("%s:%s", WORLD_KEEP_REPOSITORY, s->name);
	int q = 0;

	switch (r->phase) {
	case PHASE_IDLE:
	case PHASE_TRIAL:
		return 0;
	case PHASE_PREPARE:
	case PHASE_REVERT:
		q = look_at_pinned(s, &r->target, ret->image, sizeof(ret->image), ret_error);
		return q < 0 ? q : look_at_tag(s, ret->tag, sizeof(ret->tag), ret_error);
	case PHASE_COMMIT:
		q = look_at_tag(s, ret->tag, sizeof(ret->tag), ret_error);
		if (q == 0)
			q = look_at_image(s, kept, ret->kept, sizeof(ret->kept), ret_error);
		/* Without a tag of its own there is none to move. */
		if (!s->ref->tag)
			copy_text(ret->tag, sizeof(ret->tag), ret->new.image);
		return q < 0 ? q : look_at_older(s, r, ret, ret_error);
	}
	return 0;
}

int world_look(const struct sight *s, const struct record *r, struct world *ret,
	       struct error *ret_error)
{
	struct container_view slots[SLOTS];
	struct world w = {0};
	int q = world_look_at_names(s, slots, ret_error);

	if (q < 0)
		return q;
	world_assign(r, slots, &w);
	boot_id(w.boot_id);
	q = look_by_id(s, r, &w, ret_error);
	if (q == 0)
		q = look_at_images(s, r, &w, ret_error);
	if (q == 0)
		*ret = w;
	return q;
}
