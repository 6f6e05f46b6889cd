/* SPDX-License-Identifier: MIT */
#include "act.h"

#include <errno.h>
#include <stdio.h>

#include "candidate.h"
#include "basis.h"
#include "download.h"
#include "disk-space.h"
#include "followers.h"
#include "hook.h"
#include "host.h"
#include "image.h"
#include "log.h"
#include "repair.h"
#include "successor.h"

static int create_and_connect(const struct pass *p, const char *base, const char *platform,
			      const struct recreate_plan *plan, struct error *ret_error)
{
	_cleanup_free_ char *name = world_slot_name(base, SLOT_NEXT);
	_cleanup_free_ char *id = NULL;
	const json_t *v;
	size_t i;
	int r = engine_create(p->context.engine, name, platform, plan->body, &id, ret_error);

	if (r < 0)
		return r;
	json_array_foreach (plan->connect, i, v) {
		struct error ignored;

		r = engine_connect(p->context.engine, json_get_string(v, "Network"), id,
				   json_object_get(v, "Body"), ret_error);
		if (r == 0)
			continue;
		/* A container that lacks a network must not stay. */
		(void)!engine_remove(p->context.engine, id, &ignored);
		return r;
	}
	return 0;
}

/* Puts the local tag where it was; image empty: it did not exist. */
static int put_tag(const struct pass *p, const char *image, struct error *ret_error)
{
	_cleanup_free_ char *repository = ref_repository(p->context.ref);
	_cleanup_free_ char *tagged = ref_tagged(p->context.ref);
	int r;

	if (image[0])
		return engine_tag(p->context.engine, image, repository, p->context.ref->tag,
				  ret_error);
	r = engine_remove_image(p->context.engine, tagged, ret_error);
	return r == -ENOENT ? 0 : r;
}

/* The engine refused the call; other errors are about the engine itself. */
static bool is_refused(int r)
{
	return r == -EINVAL || r == -EIO || r == -EEXIST || r == -ENOENT;
}

/* Something that stays as it is, in use or gone, is no reason to fail a pass. After any other error the call is made
 * once more. */
static bool call_is_over(int code, unsigned char *failures)
{
	return code == 0 || code == -ENOENT || code == -EEXIST || ++*failures > 1;
}

static int end_tag(struct pass *p, int code, bool *ret_tried, struct error *ret_error)
{
	*ret_tried = code < 0 && call_is_over(code, &p->state.tag_failures);
	if (!is_refused(code))
		return code;
	if (*ret_tried)
		log_warning("%s: %s; the tag stays as it is", p->c->name, ret_error->text);
	return 0;
}

/* A container that was created from the tag in the meantime keeps it; and others may have removed the old image. */
static int act_restore_tag(struct pass *p, struct error *ret_error)
{
	int q = put_tag(p, p->world.old.image, ret_error);

	if (p->record.phase == PHASE_PREPARE && q != -ENOENT && q != -EEXIST)
		return q;
	return end_tag(p, q, &p->state.tag_tried, ret_error);
}

static void note_created(struct member_progress *progress, const struct container_view *old)
{
	progress->created = true;
	copy_text(progress->created_from, sizeof(progress->created_from), old->id);
}

/* The container must name the operator's tag as its image, for `docker ps` and compose, but be created from
 * target: the tag points to target only while the engine creates it. */
static int act_create(struct pass *p, struct error *ret_error)
{
	_cleanup_free_ char *tagged = ref_tagged(p->context.ref);
	_cleanup_free_ char *pinned = ref_pinned(p->context.ref, release_pulled(&p->record.target));
	_cleanup_(recreate_plan_free) struct recreate_plan plan = {0};
	_cleanup_json_ json_t *image = NULL;
	const struct digest label = release_label(&p->record.target);
	const char *untagged = digest_is_set(&p->record.target.digest) ? pinned : p->world.image;
	const char *reference = tagged ? tagged : untagged;
	bool move = tagged && !streq(p->world.tag, p->world.image);
	struct oci_platform choice;
	struct error tag_error;
	/* Only containerd's store, which names images by their index, has those of several platforms. */
	bool indexed = streq(p->world.image, p->record.target.digest.text);
	int t = 0, q = engine_inspect_platform(p->context.engine, p->world.image,
					       image_choice(p, &choice), &image, ret_error);

	if (q == 0)
		q = successor_plan(p, &p->world, image, reference, label.text, &plan, ret_error);
	if (q == 0 && move)
		q = put_tag(p, p->world.image, ret_error);
	if (q < 0)
		return q;
	q = create_and_connect(p, p->context.name, indexed ? p->record.platform : "", &plan,
			       ret_error);
	/* The container has files of its own in the engine's store, which a power cut can damage. */
	engine_sync(p->context.engine);
	/* A tag that did not exist before stays: the engine removes no name of an image in use. */
	if (move && p->world.tag[0])
		t = put_tag(p, p->world.tag, &tag_error);
	if (q == 0 && t < 0) {
		*ret_error = tag_error;
		q = t;
	}
	if (q == 0)
		note_created(&p->state.member[0], &p->world.old);
	/* The container keeps its image from now on. */
	if (q == 0)
		basis_note_created(p);
	return q;
}

static int create_follower(struct pass *p, size_t member, struct error *ret_error)
{
	_cleanup_(recreate_plan_free) struct recreate_plan plan = {0};
	const struct container_view *old = &p->world.members[member].old;
	const char *name = p->record.followers[member - 1].name;
	const struct digest label = release_label(&p->record.target);
	char platform[PLATFORM_TEXT_MAX] = "";
	int q = successor_plan_follower(p, &p->world, old->id, name, label.text, &plan, ret_error);

	/* Its image stays the same, and so does the platform of it. */
	if (old->platform.os[0])
		(void)oci_platform_text(&old->platform, platform, sizeof(platform));
	if (q == 0)
		q = create_and_connect(p, name, platform, &plan, ret_error);
	engine_sync(p->context.engine);
	if (q == 0)
		note_created(&p->state.member[member], old);
	return q;
}

static int set_policy(const struct pass *p, const char *id, const char *text,
		      struct error *ret_error)
{
	_cleanup_json_ json_t *policy = recreate_policy_json(text);

	return engine_set_policy(p->context.engine, id, policy, ret_error);
}

/* Any part of the engine may report it, so only the text of errno is common. */
static bool is_disk_full(const struct error *e)
{
	return strcasestr(e->text, "no space left on device");
}

/* Followers would stay in the namespaces of its life before: they are started again after it. */
static int stop_followers(struct pass *p, struct error *ret_error)
{
	for (size_t i = 1; i <= p->record.n_followers; i++) {
		const struct container_view *new = &p->world.members[i].new;
		int r = view_exists(new) && view_is_up(new)
				? engine_stop(p->context.engine, new->id, -1, ret_error)
				: 0;

		if (r < 0 && r != -ENOENT)
			return r;
		p->state.member[i].started_new = false;
		p->state.member[i].starts = 0;
	}
	return 0;
}

/* A failed start on trial does not fail the pass: it was counted, and the third ends the trial. After the
 * verdict starts are not counted: the pass fails, and the next one tries again. */
static int act_start_new(struct pass *p, struct error *ret_error)
{
	bool counted = p->state.counted;
	int r = p->state.member[0].restart_due ? stop_followers(p, ret_error) : 0;

	if (r < 0)
		return r;
	r = engine_start(p->context.engine, p->world.new.id, ret_error);
	p->state.counted = false;
	if (r == 0)
		p->state.member[0].started_new = true;
	else
		(void)snprintf(p->state.reason, sizeof(p->state.reason), "%.500s", ret_error->text);
	p->state.store_said = r < 0 && ret_error->origin == ERROR_STORE;
	p->state.not_at_fault = r < 0 && is_disk_full(ret_error);
	/* HTTP 409 is about the moment, never about the image: it is being removed, or was paused; or another container, whose
	 * namespace it shares, is down. What is left of a start that was cut is about this container: the next one starts. */
	p->state.in_conflict = (r == -EEXIST && !strstr(ret_error->text, "cannot join ")) ||
			       (r < 0 && ret_error->origin == ERROR_STALE);
	p->state.host_said = is_refused(r) && ret_error->origin == ERROR_OTHER &&
			     !is_disk_full(ret_error) && !p->state.in_conflict;
	return counted && is_refused(r) ? 0 : r;
}

/* What old meets, too, is no fault of target. */
static void note_old_refused(struct pass *p, const struct error *said)
{
	struct record *r = &p->record;

	r->reject_target = false;
	if (!r->host.refused)
		record_host_refused(r, p->world.boot_id, p->state.engine);
	(void)snprintf(r->reason, sizeof(r->reason), "the host could not start it: %.400s",
		       said->text);
}

/* A follower gets as many starts in a pass as the container, since a single call of the engine may fail. After
 * those the pass goes on: on trial the verdict is bad then, and a revert must reach its end. */
static int start_follower(struct pass *p, const char *name, struct member_progress *progress,
			  const char *id, bool *ret_started, struct error *ret_error)
{
	int r = engine_start(p->context.engine, id, ret_error);

	if (r < 0 && !is_refused(r))
		return r;
	progress->starts++;
	*ret_started = r == 0 || ++progress->failed_starts >= PLAN_STARTS_MAX;
	if (*ret_started)
		progress->failed_starts = 0;
	if (r < 0 && *ret_started)
		log_warning("container %s, which depends on %s, cannot be started: %s", name,
			    p->context.name, ret_error->text);
	if (r < 0 && *ret_started && p->record.phase == PHASE_REVERT)
		note_old_refused(p, ret_error);
	return 0;
}

static int drop_image(const struct pass *p, const struct release *release, struct error *ret_error)
{
	_cleanup_free_ char *pinned = ref_pinned(p->context.ref, release_pulled(release));

	return engine_remove_image(p->context.engine, pinned, ret_error);
}

static int act_drop_older(struct pass *p, struct error *ret_error)
{
	int q = drop_image(p, &p->record.previous, ret_error);

	p->state.older_tried = call_is_over(q, &p->state.older_failures);
	return 0;
}

static int act_start_old(struct pass *p, struct error *ret_error)
{
	int r = engine_start(p->context.engine, p->world.old.id, ret_error);
	bool damaged =
		r < 0 && (ret_error->origin == ERROR_STORE || ret_error->origin == ERROR_STALE);
	struct member_progress *progress = &p->state.member[0];

	/* The revert goes on to its end; the next pass repairs the container. */
	progress->started_old = r == 0 || damaged;
	if (r < 0)
		log_debug("%s: %s", p->context.name, ret_error->text);
	/* A single call of the engine may fail. */
	if (damaged || p->record.phase != PHASE_REVERT || !is_refused(r))
		return damaged ? 0 : r;
	if (++progress->failed_starts < PLAN_STARTS_MAX)
		return 0;
	note_old_refused(p, ret_error);
	return error_prefix(ret_error, "the old container cannot be started either, which the next "
				       "poll tries again");
}

/* A crash while NAME.next was created may have left the local tag on the image, which would keep the image. */
static int drop_target(struct pass *p, struct error *ret_error)
{
	bool on_it = p->world.broken ? !p->world.tag[0] : streq(p->world.tag, p->world.image);
	struct error ignored;
	int q;

	if (p->record.phase == PHASE_PREPARE && on_it && p->context.ref->tag &&
	    !streq(p->world.old.image, p->world.image))
		(void)!put_tag(p, p->world.old.image, &ignored);
	q = drop_image(p, &p->record.target, ret_error);
	download_drop_name(p);
	/* The container that is remade of its saved spec ran the same image: its layers are to come again. */
	if (digest_is_set(&p->state.saved_spec))
		basis_drop(p->context.engine, p->context.name);
	p->state.damaged = false;
	p->state.drop_tried = call_is_over(q, &p->state.drop_failures);
	p->state.dropped = q == 0;
	return q;
}

/* An incomplete image that cannot be removed must not run: the pass fails. */
static int act_drop_target(struct pass *p, struct error *ret_error)
{
	bool must = p->record.phase == PHASE_PREPARE && !p->state.damaged && !p->world.broken;
	int q = drop_target(p, ret_error);

	return must && q != -EEXIST && q != -ENOENT ? q : 0;
}

/* One of ours runs before its trial only if others started it. */
static int remove_container(const struct pass *p, const struct container_view *v,
			    struct error *ret_error)
{
	int r = view_is_up(v) ? engine_stop(p->context.engine, v->id, -1, ret_error) : 0;

	return r < 0 && r != -ENOENT ? r : engine_remove(p->context.engine, v->id, ret_error);
}

void act_forget(struct pass *p)
{
	const struct record *r = &p->record;
	const struct world *w = &p->world;
	struct error ignored;

	for (size_t i = MEMBERS_MAX; i-- > 0;) {
		if (view_exists(&w->members[i].new))
			(void)!remove_container(p, &w->members[i].new, &ignored);
	}
	if (!r->target.brought || digest_eq(&r->target.digest, &r->previous.digest))
		return;
	/* While the local tag was on target, compose may have recreated the container from it. The tag must stay on
	 * the image that runs, or compose would recreate the container again. */
	if (w->image[0] && streq(w->old.image, w->image) && p->context.ref->tag &&
	    !streq(w->tag, w->image))
		(void)!put_tag(p, w->old.image, &ignored);
	if (drop_target(p, &ignored) < 0 && !p->state.drop_tried)
		(void)!drop_target(p, &ignored);
}

/* The followers of the record may be out of date, and a follower that is missed would be cut off. */
static int find_followers(struct pass *p, struct error *ret_error)
{
	int q = 0;

	p->record.n_followers = 0;
	if (view_exists(&p->world.old))
		q = followers_find(&p->context, p->world.old.id, "", &p->record, ret_error);
	p->state.followers_known = q == 0;
	return q;
}

static int check_space(struct pass *p, struct error *ret_error)
{
	bool present =
		p->record.phase == PHASE_PREPARE ? p->world.image[0] : p->state.image_present;
	int q = disk_space_check(p, present ? 0 : p->state.answer.reply.layer_bytes, ret_error);

	p->state.space_known = q == 0 || q == -ENOSPC;
	p->state.no_space = q == -ENOSPC ? *ret_error : (struct error){0};
	return p->state.space_known ? 0 : q;
}

static int act_keep_old(struct pass *p, struct error *ret_error)
{
	int q = engine_tag(p->context.engine, p->world.old.image, WORLD_KEEP_REPOSITORY,
			   p->context.name, ret_error);

	return end_tag(p, q, &p->state.keep_tried, ret_error);
}

static int act_move_tag(struct pass *p, struct error *ret_error)
{
	int q = put_tag(p, p->world.new.image, ret_error);

	/* With containerd's store a prune takes the image on trial, too: its container is made from the tag, which is not on
	 * it yet. */
	if (q == -ENOENT) {
		q = candidate_pull_again(p, &p->record.target, ret_error);
		if (q == 0)
			q = put_tag(p, p->world.new.image, ret_error);
		else if (q != -ECANCELED)
			q = -ENOENT;
	}
	return end_tag(p, q, &p->state.move_tried, ret_error);
}

/* The actions that are about the container itself, or about images. */
static act_fn *const functions[] = {
	[ACT_FIND_SPEC] = repair_find_spec,
	[ACT_ASK] = candidate_ask,
	[ACT_ASK_DETAILS] = candidate_ask_details,
	[ACT_ASK_POLICY] = candidate_ask_policy,
	[ACT_FIND_IMAGE] = candidate_find_image,
	[ACT_FIND_FOLLOWERS] = find_followers,
	[ACT_ASK_FLOOR] = candidate_ask_floor,
	[ACT_ASK_RENEWAL] = candidate_ask_renewal,
	[ACT_CHECK_SUCCESSOR] = successor_check,
	[ACT_CHECK_HOST] = host_check,
	[ACT_ASK_BEFORE] = hook_ask_before,
	[ACT_ASK_HEALTH] = hook_ask_health,
	[ACT_ASK_AFTER] = hook_ask_after,
	[ACT_VERIFY] = candidate_verify,
	[ACT_CHECK_SPACE] = check_space,
	[ACT_SAVE_SPEC] = repair_save_spec,
	[ACT_FETCH] = image_fetch,
	[ACT_DROP_TARGET] = act_drop_target,
	[ACT_CREATE] = act_create,
	[ACT_RESTORE_TAG] = act_restore_tag,
	[ACT_KEEP_OLD] = act_keep_old,
	[ACT_MOVE_TAG] = act_move_tag,
	[ACT_DROP_OLDER] = act_drop_older,
};

/* The others change one container, of any member. */
static const struct change {
	enum { NO_CHANGE, PARK, SET_POLICY, RENAME, STOP, START, REMOVE } verb;
	bool of_new;
	enum slot slot; /* of RENAME */
} changes[] = {
	[ACT_PARK_OLD] = {.verb = PARK},
	[ACT_PARK_NEW] = {.verb = PARK, .of_new = true},
	[ACT_RENAME_OLD_PREV] = {.verb = RENAME, .slot = SLOT_PREV},
	[ACT_RENAME_NEW] = {.verb = RENAME, .of_new = true, .slot = SLOT_MAIN},
	[ACT_RENAME_NEW_NEXT] = {.verb = RENAME, .of_new = true, .slot = SLOT_NEXT},
	[ACT_RENAME_OLD] = {.verb = RENAME, .slot = SLOT_MAIN},
	[ACT_STOP_OLD] = {.verb = STOP},
	[ACT_STOP_NEW] = {.verb = STOP, .of_new = true},
	[ACT_START_NEW] = {.verb = START, .of_new = true},
	[ACT_START_OLD] = {.verb = START},
	[ACT_POLICY_OLD] = {.verb = SET_POLICY},
	[ACT_POLICY_NEW] = {.verb = SET_POLICY, .of_new = true},
	[ACT_REMOVE_OLD] = {.verb = REMOVE},
	[ACT_REMOVE_NEW] = {.verb = REMOVE, .of_new = true},
};

/* A name that cannot be had is no reason to leave the old one down. */
static int rename_container(struct pass *p, size_t member, const char *id, const char *name,
			    struct error *ret_error)
{
	struct member_progress *progress = &p->state.member[member];
	int r = engine_rename(p->context.engine, id, name, ret_error);

	if (r == 0 || p->record.phase != PHASE_REVERT || progress->started_old ||
	    progress->name_failed || view_is_up(&p->world.members[member].old))
		return r;
	progress->name_failed = true;
	return 0;
}

static int change_container(struct pass *p, const struct change *change, size_t member,
			    struct error *ret_error)
{
	const struct follower *f = member ? &p->record.followers[member - 1] : NULL;
	const struct pair *pair = &p->world.members[member];
	const char *id = change->of_new ? pair->new.id : pair->old.id;
	const char *base = f ? f->name : p->context.name;
	_cleanup_free_ char *name = world_slot_name(base, change->slot);
	struct member_progress *progress = &p->state.member[member];

	switch (change->verb) {
	case NO_CHANGE:
		break;
	case PARK:
		return set_policy(p, id, "no", ret_error);
	case SET_POLICY:
		return set_policy(p, id, f ? f->policy : p->record.policy, ret_error);
	case RENAME:
		return rename_container(p, member, id, name, ret_error);
	case STOP:
		/* stop-timeout is for the container itself; a follower has its own timeout. */
		return engine_stop(p->context.engine, id, f ? -1 : p->c->stop_timeout_s, ret_error);
	case START:
		if (f)
			return start_follower(p, base, progress, id,
					      change->of_new ? &progress->started_new
							     : &progress->started_old,
					      ret_error);
		return change->of_new ? act_start_new(p, ret_error) : act_start_old(p, ret_error);
	case REMOVE:
		return remove_container(p, change->of_new ? &pair->new : &pair->old, ret_error);
	}
	return error_set(ret_error, -EINVAL, "no such change");
}

static int do_step(struct pass *p, struct step step, struct error *ret_error)
{
	if (step.action == ACT_CREATE && step.member > 0)
		return create_follower(p, step.member, ret_error);
	if (step.action < ARRAY_SIZE(functions) && functions[step.action])
		return functions[step.action](p, ret_error);
	if (step.action < ARRAY_SIZE(changes))
		return change_container(p, &changes[step.action], step.member, ret_error);
	return error_set(ret_error, -EINVAL, "%s is not an action on the engine",
			 action_name(step.action));
}

/* If the disk is full during a revert, the new container is removed before the old one starts. */
static int free_disk_space(struct pass *p, struct error *ret_error)
{
	int q = engine_remove(p->context.engine, p->world.new.id, ret_error);

	if (q == 0 && p->record.target.brought)
		q = act_drop_target(p, ret_error);
	return q;
}

int act_do(struct pass *p, struct step step, struct error *ret_error)
{
	int q = do_step(p, step, ret_error);

	if (q == 0 || p->record.phase != PHASE_REVERT || !view_exists(&p->world.new) ||
	    !is_disk_full(ret_error))
		return q;
	q = free_disk_space(p, ret_error);
	return q < 0 ? q : do_step(p, step, ret_error);
}
