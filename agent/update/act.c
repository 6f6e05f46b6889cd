/* SPDX-License-Identifier: MIT */
#include "act.h"

#include <errno.h>
#include <stdio.h>

#include "layers.h"
#include "log.h"
#include "recreate.h"
#include "ref.h"
#include "store.h"
#include "successor.h"

/* Whose container an action is about: ours (0) or a follower's. */
struct member {
	const char *name;
	const struct container_view *old, *new;
	const char *policy;
	struct member_progress *progress;
};

static struct member member_of(const struct act_context *h, const struct record *r,
			       const struct world *w, struct pass_state *m, size_t i)
{
	return (struct member){
		.name = i ? r->followers[i - 1].name : h->context.name,
		.old = i ? &w->followers[i - 1].old : &w->old,
		.new = i ? &w->followers[i - 1].new : &w->new,
		.policy = i ? r->followers[i - 1].policy : r->policy,
		.progress = &m->member[i],
	};
}

static bool has_repo_digest(const json_t *image, const struct digest *d)
{
	const json_t *list = json_object_get(image, "RepoDigests"), *v;
	size_t i;

	json_array_foreach (list, i, v) {
		const char *s = json_string_value(v);

		if (s && has_suffix(s, d->text))
			return true;
	}
	return false;
}

/* What came in must be what was asked for, and something this machine can run. */
static int check_image(const struct act_context *h, const json_t *image, const struct record *r,
		       const struct world *w, struct error *ret_error)
{
	const char *id = json_get_string(image, "Id");
	const struct oci_platform *host = engine_platform(h->context.engine);
	const char *arch = json_get_string(image, "Architecture"),
		   *os = json_get_string(image, "Os");
	const char *variant = json_get_string(image, "Variant");
	struct oci_platform p = {0};
	_cleanup_json_ json_t *old = NULL;
	struct error ignored;
	char a[80], b[80];

	/* What ran here before is known by its Id. */
	if (!has_repo_digest(image, &r->target.digest) &&
	    !(r->target.image[0] && streq_null(id, r->target.image)))
		return error_set(ret_error, -EKEYREJECTED,
				 "the engine does not list %s among the "
				 "image's RepoDigests",
				 r->target.digest.text);
	/* A graph driver names images by their config, containerd by index or manifest. */
	if (h->image_config && digest_is_set(h->image_config) && id &&
	    !streq(id, h->image_config->text) && !streq(id, r->target.digest.text) &&
	    !streq(id, r->target.manifest.text))
		return error_set(ret_error, -EKEYREJECTED,
				 "the engine took another platform's image: %s", id);
	copy_text(p.os, sizeof(p.os), os);
	copy_text(p.architecture, sizeof(p.architecture), arch);
	copy_text(p.variant, sizeof(p.variant), variant);
	if (!p.os[0] || !p.architecture[0] || oci_platform_rank(host, &p) > 0)
		return 0;
	/* Emulated on operation (binfmt): the one that runs now is of that kind too. */
	if (view_exists(&w->old) &&
	    engine_inspect_image(h->context.engine, w->old.image, &old, &ignored) == 0 &&
	    streq_null(json_get_string(old, "Architecture"), arch))
		return 0;
	return error_set(ret_error, -EKEYREJECTED, "the image is for %s, this machine is %s",
			 oci_platform_text(&p, a, sizeof(a)),
			 oci_platform_text(host, b, sizeof(b)));
}

static int act_fetch(const struct act_context *h, const struct record *r, const struct world *w,
		     struct pass_state *m, struct error *ret_error)
{
	_cleanup_free_ char *pinned = ref_pinned(h->context.ref, &r->target.digest);
	_cleanup_json_ json_t *image = NULL;
	bool here = w->image[0] != '\0';
	bool cut = !streq(r->boot_id, w->boot_id);
	size_t found = 0;
	int q = 0;

	/* Present means whole as long as the machine stayed up; only the disk may lag behind. */
	if (here)
		engine_sync(h->context.engine);
	else if (!h->verified)
		return error_set(ret_error, -EKEYREJECTED, "%s was not verified in this pass",
				 pinned);
	else
		q = engine_pull(h->context.engine, h->context.ref, h->verified, &h->pull, &found,
				ret_error);
	if (q == 0)
		q = engine_inspect_image(h->context.engine, here ? w->image : pinned, &image,
					 ret_error);
	if (q == 0)
		q = check_image(h, image, r, w, ret_error);
	if (q == 0) {
		m->fetched = true;
		m->drop_tried &= here;
		/* What is still there after a drop belongs to somebody else. When a pull was cut short not even
		 * a layer that was brought is sure: the engine may see only when it has unpacked it that it had
		 * it. */
		m->untrusted =
			!m->dropped &&
			(cut || (here ? m->doubted
				      : !layers_are_trusted(h->context.engine, image, found)));
	}
	return q;
}

static int create_and_connect(const struct act_context *h, const char *base,
			      const struct recreate_plan *plan, struct error *ret_error)
{
	_cleanup_free_ char *name = world_slot_name(base, SLOT_NEXT);
	_cleanup_free_ char *id = NULL;
	const json_t *v;
	size_t i;
	int r = engine_create(h->context.engine, name, plan->body, &id, ret_error);

	if (r < 0)
		return r;
	json_array_foreach (plan->connect, i, v) {
		struct error ignored;

		r = engine_connect(h->context.engine, json_get_string(v, "Network"), id,
				   json_object_get(v, "Body"), ret_error);
		if (r == 0)
			continue;
		/* Half connected it must not stay. */
		(void)!engine_remove(h->context.engine, id, &ignored);
		return r;
	}
	return 0;
}

/* Puts the local tag where it was; image empty: it did not exist. */
static int put_tag(const struct act_context *h, const char *image, struct error *ret_error)
{
	_cleanup_free_ char *repository = ref_repository(h->context.ref);
	_cleanup_free_ char *tagged = ref_tagged(h->context.ref);
	int r;

	if (image[0])
		return engine_tag(h->context.engine, image, repository, h->context.ref->tag,
				  ret_error);
	r = engine_remove_image(h->context.engine, tagged, ret_error);
	return r == -ENOENT ? 0 : r;
}

/* What somebody made from it meanwhile keeps it. */
static int act_restore_tag(const struct act_context *h, const struct world *w, struct pass_state *m,
			   struct error *ret_error)
{
	int r = put_tag(h, w->old.image, ret_error);

	if (r != -EEXIST || w->old.image[0])
		return r;
	m->tag_tried = true;
	return 0;
}

static void note_created(struct member_progress *progress, const struct container_view *old)
{
	progress->created = true;
	copy_text(progress->created_from, sizeof(progress->created_from), old->id);
}

/* The container shall say the operator's tag as its image, as `docker ps` and compose know it, yet be
 * made from target: so the tag is on target just while the engine reads it. */
static int act_create(const struct act_context *h, const struct record *r, const struct world *w,
		      struct pass_state *m, struct error *ret_error)
{
	_cleanup_free_ char *tagged = ref_tagged(h->context.ref);
	_cleanup_free_ char *pinned = ref_pinned(h->context.ref, &r->target.digest);
	_cleanup_(recreate_plan_free) struct recreate_plan plan = {0};
	_cleanup_json_ json_t *image = NULL;
	bool move = tagged && !streq(w->tag, w->image);
	struct error tag_error;
	int q, t = 0;

	q = engine_inspect_image(h->context.engine, w->image, &image, ret_error);
	if (q == 0 && view_exists(&w->old))
		q = successor_plan(h, w, &w->old, image, tagged ? tagged : pinned,
				   r->target.digest.text, &plan, ret_error);
	else if (q == 0)
		q = successor_plan_first(h, image, tagged ? tagged : pinned, r->target.digest.text,
					 &plan, ret_error);
	if (q == 0 && move)
		q = put_tag(h, w->image, ret_error);
	if (q < 0)
		return q;
	q = create_and_connect(h, h->context.name, &plan, ret_error);
	/* Its own files in the engine's store are as torn by a power cut as any layer. */
	engine_sync(h->context.engine);
	/* Without a place to go back to it stays: the engine takes no name from an image in use. */
	if (move && w->tag[0])
		t = put_tag(h, w->tag, &tag_error);
	if (q == 0 && t < 0) {
		*ret_error = tag_error;
		q = t;
	}
	if (q == 0)
		note_created(&m->member[0], &w->old);
	return q;
}

static int act_create_follower(const struct act_context *h, const struct member *p,
			       const struct record *r, const struct world *w,
			       struct error *ret_error)
{
	_cleanup_(recreate_plan_free) struct recreate_plan plan = {0};
	int q = successor_plan_follower(h, w, p->old, p->name, r->target.digest.text, &plan,
					ret_error);

	if (q == 0)
		q = create_and_connect(h, p->name, &plan, ret_error);
	engine_sync(h->context.engine);
	if (q == 0)
		note_created(p->progress, p->old);
	return q;
}

static int set_policy(const struct act_context *h, const struct container_view *v, const char *text,
		      struct error *ret_error)
{
	_cleanup_json_ json_t *policy = recreate_policy_json(text);

	return engine_set_policy(h->context.engine, v->id, policy, ret_error);
}

static int rename_to(const struct act_context *h, const struct member *p,
		     const struct container_view *v, enum slot slot, struct error *ret_error)
{
	_cleanup_free_ char *name = world_slot_name(p->name, slot);

	return engine_rename(h->context.engine, v->id, name, ret_error);
}

/* The container's own fault, not the engine's or ours. */
static bool is_refused_start(int r)
{
	return r == -EINVAL || r == -EIO || r == -EEXIST || r == -ENOENT;
}

/* In the words of whatever layer of the engine met it. */
static bool is_disk_full(const struct error *e)
{
	return strstr(e->text, "no space left on device") ||
	       strstr(e->text, "No space left on device");
}

/* A failed start on trial is no fault of the pass: it is counted, and the third ends the trial. One that
 * nobody counts, after the verdict, is for the next pass to try again. */
static int act_start_new(const struct act_context *h, const struct world *w, struct pass_state *m,
			 struct error *ret_error)
{
	int r = engine_start(h->context.engine, w->new.id, ret_error);
	bool counted = m->counted;

	m->counted = false;
	if (r == 0)
		m->member[0].started_new = true;
	else
		(void)snprintf(m->reason, sizeof(m->reason), "%.500s", ret_error->text);
	m->not_at_fault = r < 0 && is_disk_full(ret_error);
	return counted && is_refused_start(r) ? 0 : r;
}

/* A follower gets one start a pass. That it does not come up speaks against the new image when it
 * followed it, and is no reason to leave the way back half gone. */
static int start_follower(const struct act_context *h, const struct member *p,
			  const struct container_view *v, bool *ret_started,
			  struct error *ret_error)
{
	int r = engine_start(h->context.engine, v->id, ret_error);

	if (r < 0 && !is_refused_start(r))
		return r;
	if (r < 0)
		log_warning(
			"container %s, which shares the namespaces of %s, cannot be started: %s",
			p->name, h->context.name, ret_error->text);
	*ret_started = true;
	return 0;
}

static int drop_image(const struct act_context *h, const struct release *release,
		      struct error *ret_error)
{
	_cleanup_free_ char *pinned = ref_pinned(h->context.ref, release_pulled(release));

	return engine_remove_image(h->context.engine, pinned, ret_error);
}

/* Taking away what we brought is never worth failing for: in use by others it stays. */
static int act_drop_older(const struct act_context *h, const struct record *r, struct pass_state *m)
{
	struct error ignored;

	m->older_tried = true;
	(void)!drop_image(h, &r->previous, &ignored);
	return 0;
}

static int act_start_old(const struct act_context *h, const struct world *w, struct pass_state *m,
			 struct error *ret_error)
{
	int r = engine_start(h->context.engine, w->old.id, ret_error);

	/* The way back is gone to its end: what is there then can be made anew. */
	if (r < 0 && store_judge(ret_error->text, 0) == STORE_DAMAGED) {
		log_error("%s: %s", h->context.name, ret_error->text);
		r = 0;
	}
	if (r == 0)
		m->member[0].started_old = true;
	return r;
}

/* A crash while NAME.next was made may have left the local tag on it, and with a name it would stay. In use
 * by others it stays. What else keeps it, and may be torn, is not to be run. */
static int act_drop_target(const struct act_context *h, const struct record *r,
			   const struct world *w, struct pass_state *m, struct error *ret_error)
{
	bool on_it = w->broken ? !w->tag[0] : streq(w->tag, w->image);
	bool must = r->phase == PHASE_PREPARE && !m->damaged && !w->broken;
	struct error ignored;
	int q;

	if (r->phase == PHASE_PREPARE && on_it && h->context.ref->tag &&
	    !streq(w->old.image, w->image))
		(void)!put_tag(h, w->old.image, &ignored);
	m->damaged = false;
	m->drop_tried = true;
	q = drop_image(h, &r->target, ret_error);
	m->dropped = q == 0;
	return must && q != -EEXIST && q != -ENOENT ? q : 0;
}

static int act_keep_old(const struct act_context *h, const struct world *w, struct error *ret_error)
{
	return engine_tag(h->context.engine, w->old.image, WORLD_KEEP_REPOSITORY, h->context.name,
			  ret_error);
}

static int do_step(const struct act_context *h, struct step step, const struct record *r,
		   const struct world *w, struct pass_state *m, struct error *ret_error)
{
	struct member p = member_of(h, r, w, m, step.member);
	/* Ours by the configuration, a follower by what it says itself. */
	int stop_timeout = step.member ? -1 : h->config->stop_timeout_s;
	struct engine *e = h->context.engine;

	switch (step.action) {
	case ACT_FETCH:
		return act_fetch(h, r, w, m, ret_error);
	case ACT_DROP_TARGET:
		return act_drop_target(h, r, w, m, ret_error);
	case ACT_CREATE:
		return step.member ? act_create_follower(h, &p, r, w, ret_error)
				   : act_create(h, r, w, m, ret_error);
	case ACT_RESTORE_TAG:
		return act_restore_tag(h, w, m, ret_error);
	case ACT_PARK_OLD:
		return set_policy(h, p.old, "no", ret_error);
	case ACT_PARK_NEW:
		return set_policy(h, p.new, "no", ret_error);
	case ACT_RENAME_OLD_PREV:
		return rename_to(h, &p, p.old, SLOT_PREV, ret_error);
	case ACT_RENAME_NEW:
		return rename_to(h, &p, p.new, SLOT_MAIN, ret_error);
	case ACT_RENAME_OLD:
		return rename_to(h, &p, p.old, SLOT_MAIN, ret_error);
	case ACT_STOP_OLD:
		return engine_stop(e, p.old->id, stop_timeout, ret_error);
	case ACT_STOP_NEW:
		return engine_stop(e, p.new->id, stop_timeout, ret_error);
	case ACT_START_NEW:
		return step.member
			       ? start_follower(h, &p, p.new, &p.progress->started_new, ret_error)
			       : act_start_new(h, w, m, ret_error);
	case ACT_START_OLD:
		return step.member
			       ? start_follower(h, &p, p.old, &p.progress->started_old, ret_error)
			       : act_start_old(h, w, m, ret_error);
	case ACT_POLICY_OLD:
		return set_policy(h, p.old, p.policy, ret_error);
	case ACT_POLICY_NEW:
		return set_policy(h, p.new, p.policy, ret_error);
	case ACT_KEEP_OLD:
		return act_keep_old(h, w, ret_error);
	case ACT_MOVE_TAG:
		return put_tag(h, w->new.image, ret_error);
	case ACT_REMOVE_OLD:
		return engine_remove(e, p.old->id, ret_error);
	case ACT_REMOVE_NEW:
		return engine_remove(e, p.new->id, ret_error);
	case ACT_DROP_OLDER:
		return act_drop_older(h, r, m);
	case ACT_NOTHING:
	case ACT_WAIT:
	case ACT_REFUSE:
	case ACT_PROBE: /* the pass waits: it holds the clock */
	case ACT_DECIDE_FETCH:
	case ACT_DECIDE_SYNCED:
	case ACT_DECIDE_TRIAL:
	case ACT_DECIDE_START:
	case ACT_DECIDE_COMMIT:
	case ACT_DECIDE_REVERT:
	case ACT_DECIDE_IDLE:
		break;
	}
	return error_set(ret_error, -EINVAL, "%s is nothing to do on the engine",
			 action_name(step.action));
}

/* On the way back from a disk that is full the one that failed goes first, to make room for the one that
 * served. */
static int make_room(const struct act_context *h, const struct record *r, const struct world *w,
		     struct pass_state *m, struct error *ret_error)
{
	int q = engine_remove(h->context.engine, w->new.id, ret_error);

	if (q == 0 && r->target.brought)
		q = act_drop_target(h, r, w, m, ret_error);
	return q;
}

int act_do(const struct act_context *h, struct step step, const struct record *r,
	   const struct world *w, struct pass_state *m, struct error *ret_error)
{
	int q = do_step(h, step, r, w, m, ret_error);

	if (q == 0 || r->phase != PHASE_REVERT || !view_exists(&w->new) || !is_disk_full(ret_error))
		return q;
	q = make_room(h, r, w, m, ret_error);
	return q < 0 ? q : do_step(h, step, r, w, m, ret_error);
}
