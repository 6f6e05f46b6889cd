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

	/* Nanoseconds of Unix time end in 2262. */
	if (!p || tm.tm_year < 70 || tm.tm_year > 300)
		return 0;
	if (*p == '.') {
		for (p++; *p >= '0' && *p <= '9'; p++, scale /= 10)
			ns += (*p - '0') * scale;
	}
	t = timegm(&tm);
	if ((*p == '+' || *p == '-') && sscanf(p + 1, "%2d:%2d", &hours, &minutes) == 2)
		t -= (time_t)(*p == '+' ? 1 : -1) * (hours * 3600 + minutes * 60);
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

/* Both, and both as we write them; anything else is not of our making. */
static void read_our_labels(const json_t *labels, struct container_view *v)
{
	const char *target = json_get_string(labels, RECREATE_LABEL_TARGET);
	const char *policy = json_get_string(labels, RECREATE_LABEL_POLICY);
	_cleanup_json_ json_t *parsed = policy ? recreate_policy_json(policy) : NULL;

	if (parsed && target && digest_parse(target, &v->target) == 0)
		copy_text(v->final_policy, sizeof(v->final_policy), policy);
}

int world_read_container(const json_t *inspect, struct container_view *ret, struct error *ret_error)
{
	const json_t *state = json_object_get(inspect, "State");
	const json_t *labels = json_get_path(inspect, "Config", "Labels", NULL);
	const char *id = json_get_string(inspect, "Id"), *image = json_get_string(inspect, "Image");
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
	read_our_labels(labels, &v);
	*ret = v;
	return 0;
}

static enum slot slot_of(const struct sight *s, const char *name)
{
	for (enum slot slot = SLOT_MAIN; slot < SLOTS; slot++) {
		_cleanup_free_ char *ours = world_slot_name(s->name, slot);

		if (name && streq(name + (name[0] == '/'), ours))
			return slot;
	}
	return SLOT_OTHER;
}

static int look_at(const struct sight *s, const char *name_or_id, struct container_view *ret,
		   struct error *ret_error)
{
	_cleanup_json_ json_t *j = NULL;
	int r;

	*ret = (struct container_view){0};
	if (!name_or_id[0])
		return 0;
	r = engine_inspect_container(s->engine, name_or_id, &j, ret_error);
	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = world_read_container(j, ret, ret_error);
	if (r == 0)
		ret->slot = slot_of(s, json_get_string(j, "Name"));
	return r;
}

/* An image can carry labels too, and the engine gives them to its containers. It cannot carry its own
 * digest: a label that the image has as well did not come from us. */
static int distrust_labels(const struct sight *s, struct container_view *v, struct error *ret_error)
{
	_cleanup_json_ json_t *image = NULL;
	const char *label;
	int r;

	if (!digest_is_set(&v->target))
		return 0;
	r = engine_inspect_image(s->engine, v->image, &image, ret_error);
	if (r < 0 && r != -ENOENT)
		return r;
	label = json_get_string(json_get_path(image, "Config", "Labels", NULL),
				RECREATE_LABEL_TARGET);
	if (label && streq(label, v->target.text)) {
		v->target = (struct digest){0};
		v->final_policy[0] = '\0';
	}
	return 0;
}

static int look_at_names(const struct sight *s, struct container_view ret[SLOTS],
			 struct error *ret_error)
{
	for (enum slot slot = SLOT_MAIN; slot < SLOTS; slot++) {
		_cleanup_free_ char *name = world_slot_name(s->name, slot);
		int r = look_at(s, name, &ret[slot], ret_error);

		if (r < 0)
			return r;
	}
	return distrust_labels(s, &ret[SLOT_NEXT], ret_error);
}

int world_look_at_names(const struct sight *s, struct container_view ret[SLOTS],
			struct error *ret_error)
{
	int r = look_at_names(s, ret, ret_error);

	return r < 0 ? r : distrust_labels(s, &ret[SLOT_MAIN], ret_error);
}

/* Before the trial names tell who is who, for nothing was decided about any of them. */
void world_assign(const struct container_view slots[SLOTS], struct world *ret)
{
	ret->old = slots[SLOT_MAIN];
	if (digest_is_set(&slots[SLOT_NEXT].target))
		ret->new = slots[SLOT_NEXT];
	else
		ret->obstacle = slots[SLOT_NEXT];
	if (view_exists(&slots[SLOT_PREV]))
		ret->obstacle = slots[SLOT_PREV];
}

/* From then on their ids tell, whatever anybody renames them to. */
static int look_at_containers(const struct sight *s, const struct record *r, struct world *ret,
			      struct error *ret_error)
{
	struct container_view slots[SLOTS];
	int q;

	if (r->phase == PHASE_IDLE || r->phase == PHASE_PREPARE) {
		q = look_at_names(s, slots, ret_error);
		if (q == 0)
			world_assign(slots, ret);
		return q;
	}
	q = look_at(s, r->old_id, &ret->old, ret_error);
	return q < 0 ? q : look_at(s, r->new_id, &ret->new, ret_error);
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

int world_look(const struct sight *s, const struct record *r, unsigned int parts, struct world *w,
	       struct error *ret_error)
{
	struct world fresh = {0};
	int q = 0;

	if (parts == WORLD_IMAGES) {
		fresh.old = w->old;
		fresh.new = w->new;
		fresh.obstacle = w->obstacle;
	} else if (parts == WORLD_CONTAINERS) {
		memcpy(fresh.image, w->image, sizeof(fresh.image));
		memcpy(fresh.tag, w->tag, sizeof(fresh.tag));
		memcpy(fresh.kept, w->kept, sizeof(fresh.kept));
		fresh.older_present = w->older_present;
	}
	if (parts & WORLD_CONTAINERS)
		q = look_at_containers(s, r, &fresh, ret_error);
	if (q == 0 && (parts & WORLD_IMAGES))
		q = look_at_images(s, r, &fresh, ret_error);
	boot_id(fresh.boot_id);
	if (q == 0)
		*w = fresh;
	return q;
}
