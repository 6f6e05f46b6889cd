/* SPDX-License-Identifier: MIT */
#include "world.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "calendar.h"
#include "engine.h"
#include "oci.h"
#include "recreate.h"
#include "ref.h"

char *world_slot_name(const char *name, enum slot slot)
{
	static const char suffixes[SLOT_MAX][8] = {
		[SLOT_MAIN] = "", [SLOT_NEXT] = ".next", [SLOT_PREV] = ".prev"};

	return slot < SLOT_MAX ? xasprintf("%s%s", name, suffixes[slot]) : NULL;
}

bool view_is_broken(const struct container_view *v)
{
	return view_exists(v) && !view_is_up(v) && v->error[0] &&
	       (store_is_damaged(v->error) || store_is_stale(v->error));
}

bool view_has_failed(const struct container_view *v)
{
	return view_exists(v) && !view_is_up(v) && (v->error[0] || v->ended_alone);
}

static bool must_run(const struct container_view *v)
{
	return streq(v->policy, "always") || streq(v->policy, "unless-stopped");
}

const char *view_left_alone(const struct container_view *v)
{
	if (view_exists(v) && v->state == STATE_REMOVING)
		return "it is being removed";
	if (!view_exists(v) || v->state == STATE_RUNNING || v->state == STATE_RESTARTING ||
	    view_has_failed(v))
		return NULL;
	if (v->state == STATE_PAUSED)
		return "paused by the operator; unpause it to resume updates";
	if (v->state == STATE_CREATED)
		return "the container was never started";
	if (v->stopped || must_run(v))
		return "stopped by the operator; start it to resume updates";
	return NULL;
}

bool world_runs_current(const struct world *w, const struct record *r)
{
	return r->current.image[0] && view_exists(&w->old) && streq(r->current.image, w->old.image);
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
	/* The engine's "dead": a removal that failed. A container that never ran is "created" then, too. */
	if (json_is_true(json_object_get(state, "Dead")) || (status && streq(status, "removing")))
		return STATE_REMOVING;
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
	/* Before the first start there is no State.Health, only the configured HEALTHCHECK. The engine
	 * runs no other kinds. */
	return streq_null(first, "CMD") || streq_null(first, "CMD-SHELL")
		       ? CONTAINER_HEALTH_STARTING
		       : CONTAINER_HEALTH_NONE;
}

/* A duration of Go, nanoseconds. */
static uint64_t read_ms(const json_t *check, const char *key, uint64_t default_ms)
{
	json_int_t ns = json_integer_value(json_object_get(check, key));

	return ns > 0 ? ((uint64_t)ns + 999999) / 1000000 : default_ms;
}

/* Config.Healthcheck: the operator's values, else the image's. Defaults: moby, daemon/health.go. */
static struct health_check read_check(const json_t *inspect)
{
	const json_t *check = json_get_path(inspect, "Config", "Healthcheck", NULL);
	json_int_t retries = json_integer_value(json_object_get(check, "Retries"));

	return (struct health_check){
		.start_period_ms = read_ms(check, "StartPeriod", 0),
		.start_interval_ms = read_ms(check, "StartInterval", 5000),
		.interval_ms = read_ms(check, "Interval", 30000),
		.timeout_ms = read_ms(check, "Timeout", 30000),
		.retries = retries > 0 ? (uint64_t)retries : 3,
		.has_ended =
			json_array_size(json_get_path(inspect, "State", "Health", "Log", NULL)) > 0,
	};
}

/* A container is ours only if it has both labels, in the form in which Pullet writes them. */
static void read_our_labels(const json_t *labels, struct container_view *v)
{
	const char *target = json_get_string(labels, RECREATE_LABEL_TARGET);
	const char *policy = json_get_string(labels, RECREATE_LABEL_POLICY);
	_cleanup_json_ json_t *parsed = policy ? recreate_policy_json(policy) : NULL;

	if (parsed && target && digest_parse(target, &v->target) == 0)
		copy_text(v->final_policy, sizeof(v->final_policy), policy);
}

static void read_manifest(const json_t *inspect, struct container_view *v)
{
	const json_t *manifest = json_object_get(inspect, "ImageManifestDescriptor");
	const char *digest = json_get_string(manifest, "digest");
	struct error ignored;

	if (!digest || digest_parse(digest, &v->manifest) < 0 ||
	    oci_read_platform(json_object_get(manifest, "platform"), &v->platform, &ignored) < 0)
		v->platform = (struct oci_platform){0};
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
				 "the engine's inspect answer has no Id, Image, State");
	policy = recreate_policy_text(json_get_path(inspect, "HostConfig", "RestartPolicy", NULL));
	copy_text(v.id, sizeof(v.id), id);
	copy_text(v.image, sizeof(v.image), image);
	copy_text(v.policy, sizeof(v.policy), policy);
	v.state = read_state(state);
	v.cannot_be_removed = streq_null(json_get_string(state, "Status"), "dead");
	v.health = read_health(inspect);
	v.check = read_check(inspect);
	v.exit_code = (int)json_integer_value(json_object_get(state, "ExitCode"));
	v.oom_killed = json_is_true(json_object_get(state, "OOMKilled"));
	(void)error_set(&text, -EIO, "%s",
			json_get_string(state, "Error") ? json_get_string(state, "Error") : "");
	copy_text(v.error, sizeof(v.error), text.text);
	v.started_ns = calendar_parse_time(json_get_string(state, "StartedAt"));
	v.finished_ns = calendar_parse_time(json_get_string(state, "FinishedAt"));
	if (v.state == STATE_EXITED && v.started_ns == 0)
		v.state = STATE_CREATED;
	read_our_labels(labels, &v);
	release_set_version(v.version, json_get_string(labels, VERSION_LABEL));
	read_manifest(inspect, &v);
	*ret = v;
	return 0;
}

const char *world_name_of(const json_t *inspect)
{
	const char *name = json_get_string(inspect, "Name");

	return name ? name + (name[0] == '/') : "";
}

/* Which of the names of the container base this is. */
static enum slot slot_of(const char *base, const char *name)
{
	for (enum slot slot = SLOT_MAIN; slot < SLOT_MAX; slot++) {
		_cleanup_free_ char *ours = world_slot_name(base, slot);

		if (streq(name, ours))
			return slot;
	}
	return SLOT_OTHER;
}

static int look_at(const struct context *s, const char *base, const char *name_or_id,
		   struct container_view *ret, struct error *ret_error)
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
		ret->slot = slot_of(base, world_name_of(j));
	return r;
}

bool world_has_digest(const json_t *image, const struct digest *d)
{
	const json_t *v;
	size_t i;

	json_array_foreach (json_object_get(image, "RepoDigests"), i, v)
		if (json_is_string(v) && has_suffix(json_string_value(v), d->text))
			return true;
	return false;
}

/* A container inherits the labels of its image. An image cannot contain its own digest, so a label that the
 * image has, too, is not ours. */
static int distrust_labels(const struct context *s, struct container_view *v,
			   struct error *ret_error)
{
	_cleanup_json_ json_t *image = NULL;
	const char *label;
	int r;

	if (!digest_is_set(&v->target))
		return 0;
	r = engine_inspect_image(s->engine, v->image, &image, ret_error);
	if (r < 0 && r != -ENOENT && ret_error->origin != ERROR_STORE)
		return r;
	v->confirmed = streq(v->image, v->target.text) || world_has_digest(image, &v->target);
	label = json_get_string(json_get_path(image, "Config", "Labels", NULL),
				RECREATE_LABEL_TARGET);
	if (label && streq(label, v->target.text)) {
		v->target = (struct digest){0};
		v->final_policy[0] = '\0';
	}
	return 0;
}

static int look_at_names(const struct context *s, const char *base,
			 struct container_view ret[SLOT_MAX], struct error *ret_error)
{
	for (enum slot slot = SLOT_MAIN; slot < SLOT_MAX; slot++) {
		_cleanup_free_ char *name = world_slot_name(base, slot);
		int r = look_at(s, base, name, &ret[slot], ret_error);

		if (r < 0)
			return r;
	}
	return distrust_labels(s, &ret[SLOT_NEXT], ret_error);
}

int world_look_at_names(const struct context *s, struct container_view ret[SLOT_MAX],
			struct error *ret_error)
{
	int r = look_at_names(s, s->name, ret, ret_error);

	return r < 0 ? r : distrust_labels(s, &ret[SLOT_MAIN], ret_error);
}

/* A status that a stop may leave behind, but not one of the kernel, or of a host that went down; on-failure is for every
 * other one than those of the signals. */
static bool looks_stopped(const struct container_view *v)
{
	if (v->exit_code == 255 || (v->exit_code == 137 && v->oom_killed))
		return false;
	return must_run(v) || v->exit_code == 128 + SIGTERM || v->exit_code == 128 + SIGKILL;
}

/* A container that is down: an operator stopped it, or it has ended, against its policy or not. The engine's events tell
 * as long as it runs; after that only the status. */
static void note_ending(const struct context *s, struct container_view *v)
{
	bool kept_up = must_run(v) || (after_prefix(v->policy, "on-failure") && v->exit_code != 0);
	enum ending ending;

	if (v->state != STATE_EXITED || v->error[0])
		return;
	ending = engine_find_ending(s->engine, v->id, v->started_ns);
	if (ending == ENDING_UNKNOWN && kept_up)
		ending = looks_stopped(v) ? ENDING_STOPPED : ENDING_OWN;
	v->stopped = ending == ENDING_STOPPED;
	v->ended_alone = ending == ENDING_OWN && kept_up;
}

/* Before the trial the record has no ids yet: old and new are known by their names. */
static int look_at_pair_by_name(const struct context *s, const char *base, struct pair *ret,
				struct world *w, struct error *ret_error)
{
	struct container_view slots[SLOT_MAX];
	const struct container_view *blocker = &slots[SLOT_PREV];
	int q = look_at_names(s, base, slots, ret_error);

	if (q < 0)
		return q;
	ret->old = slots[SLOT_MAIN];
	note_ending(s, &ret->old);
	if (digest_is_set(&slots[SLOT_NEXT].target))
		ret->new = slots[SLOT_NEXT];
	else if (!view_exists(blocker))
		blocker = &slots[SLOT_NEXT];
	if (view_exists(blocker)) {
		w->blocker = *blocker;
		(void)snprintf(w->blocker_name, sizeof(w->blocker_name), "%s%s", base,
			       blocker->slot == SLOT_PREV ? ".prev" : ".next");
	}
	return 0;
}

/* If neither old nor new has the name now, looks whether another container has it. */
static int look_for_another(const struct context *s, struct world *ret, struct error *ret_error)
{
	if ((view_exists(&ret->old) && ret->old.slot == SLOT_MAIN) ||
	    (view_exists(&ret->new) && ret->new.slot == SLOT_MAIN))
		return 0;
	copy_text(ret->blocker_name, sizeof(ret->blocker_name), s->name);
	return look_at(s, s->name, s->name, &ret->blocker, ret_error);
}

static int look_at_containers(const struct context *s, const struct record *r, struct world *ret,
			      struct error *ret_error)
{
	bool by_name = r->phase == PHASE_IDLE || r->phase == PHASE_PREPARE;
	size_t n = r->phase == PHASE_IDLE ? 1 : 1 + r->n_followers;
	int q = 0;

	memset(ret->members, 0, sizeof(ret->members));
	ret->blocker = (struct container_view){0};
	ret->blocker_name[0] = '\0';
	for (size_t i = 0; q == 0 && i < n; i++) {
		const struct follower *f = i ? &r->followers[i - 1] : NULL;
		const char *base = f ? f->name : s->name;
		struct pair *pair = &ret->members[i];

		if (by_name) {
			q = look_at_pair_by_name(s, base, pair, ret, ret_error);
			continue;
		}
		/* From the trial on, the record has their ids, and an operator may rename them. */
		q = look_at(s, base, f ? f->old_id : r->old_id, &pair->old, ret_error);
		if (q == 0)
			q = look_at(s, base, f ? f->new_id : r->new_id, &pair->new, ret_error);
	}
	return q < 0 || by_name ? q : look_for_another(s, ret, ret_error);
}

/* The Id of the image; empty if there is none, or if the engine cannot read it, which sets *ret_broken (may be
 * NULL). */
static int look_at_image(const struct context *s, const char *reference, char ret[IMAGE_ID_SIZE],
			 bool *ret_broken, struct error *ret_error)
{
	_cleanup_json_ json_t *j = NULL;
	int r;

	ret[0] = '\0';
	if (!reference)
		return 0;
	r = engine_identify_image(s->engine, reference, &j, ret_error);
	if (r < 0 && (world_is_unreadable(r) || ret_error->origin == ERROR_STORE)) {
		if (ret_broken)
			*ret_broken = true;
		return 0;
	}
	copy_text(ret, IMAGE_ID_SIZE, r < 0 ? "" : json_get_string(j, "Id"));
	return r == -ENOENT ? 0 : r;
}

static int look_at_release(const struct context *s, const struct release *release,
			   char ret[IMAGE_ID_SIZE], bool *ret_broken, struct error *ret_error)
{
	_cleanup_free_ char *pinned = digest_is_set(&release->digest)
					      ? ref_pinned(s->ref, release_pulled(release))
					      : NULL;

	return look_at_image(s, pinned, ret, ret_broken, ret_error);
}

static int look_at_older(const struct context *s, const struct record *r, struct world *ret,
			 struct error *ret_error)
{
	char image[IMAGE_ID_SIZE];
	int q;

	/* A container that is recreated from the same version keeps the previous image. */
	if (!r->previous.brought || digest_eq(&r->previous.digest, &r->target.digest) ||
	    digest_eq(&r->previous.digest, &r->current.digest) ||
	    digest_eq(&r->current.digest, &r->target.digest))
		return 0;
	q = look_at_release(s, &r->previous, image, NULL, ret_error);
	ret->older_present = q == 0 && image[0] && !streq(image, ret->new.image) &&
			     !streq(image, ret->old.image);
	return q;
}

static int look_at_images(const struct context *s, const struct record *r, struct world *ret,
			  struct error *ret_error)
{
	_cleanup_free_ char *kept = xasprintf("%s:%s", WORLD_KEEP_REPOSITORY, s->name);
	_cleanup_free_ char *tagged = ref_tagged(s->ref);
	int q = 0;

	ret->image[0] = ret->tag[0] = ret->previous_image[0] = '\0';
	ret->broken = ret->older_present = false;
	if (r->phase == PHASE_IDLE || r->phase == PHASE_TRIAL)
		return 0;
	/* An image that ran here before is known by its Id, also if it lost its names. */
	if (r->phase != PHASE_COMMIT && r->target.image[0])
		q = look_at_image(s, r->target.image, ret->image, &ret->broken, ret_error);
	else if (r->phase != PHASE_COMMIT)
		q = look_at_release(s, &r->target, ret->image, &ret->broken, ret_error);
	if (q == 0)
		q = look_at_image(s, tagged, ret->tag, NULL, ret_error);
	if (q < 0 || r->phase != PHASE_COMMIT)
		return q;
	/* A reference without a tag has no local tag to move. */
	if (!tagged)
		copy_text(ret->tag, sizeof(ret->tag), ret->new.image);
	q = look_at_image(s, kept, ret->previous_image, NULL, ret_error);
	return q < 0 ? q : look_at_older(s, r, ret, ret_error);
}

int world_look(const struct context *s, const struct record *r, unsigned int parts, struct world *w,
	       struct error *ret_error)
{
	struct world fresh = *w;
	int q = 0;

	if (parts & WORLD_CONTAINERS)
		q = look_at_containers(s, r, &fresh, ret_error);
	if (q == 0 && (parts & WORLD_IMAGES))
		q = look_at_images(s, r, &fresh, ret_error);
	boot_id(fresh.boot_id);
	if (q == 0)
		*w = fresh;
	return q;
}
