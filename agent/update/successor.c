/* SPDX-License-Identifier: MIT */
#include "successor.h"

#include <errno.h>
#include <limits.h>

#include "candidate.h"
#include "copied.h"
#include "log.h"
#include "podman.h"
#include "trusted-file.h"

#define CREATE_FILE_MAX ((size_t)256 * 1024)

/* The id of the container that replaces id in this update; NULL: none does. */
static const char *successor_of(const struct world *w, const char *id)
{
	for (size_t i = 0; w && i < MEMBERS_MAX; i++) {
		const struct pair *pair = &w->members[i];

		if (streq(id, pair->old.id) && view_exists(&pair->new))
			return pair->new.id;
	}
	return NULL;
}

/* Maps the references to other containers to names, which survive a recreation, in *ret_volumes; in *ret to the id of
 * the successor of a container that this update replaces, else likewise. w may be NULL. Caller frees both. */
static int look_up_names(const struct pass *p, const struct world *w, const json_t *container,
			 json_t **ret, json_t **ret_volumes, struct error *ret_error)
{
	_cleanup_json_ json_t *references = recreate_references(container);
	_cleanup_json_ json_t *names = json_need(json_object());
	_cleanup_json_ json_t *volumes = json_need(json_object());
	const json_t *v;
	size_t i;

	json_array_foreach (references, i, v) {
		const char *text = json_string_value(v), *new;
		_cleanup_json_ json_t *other = NULL;
		int r = engine_inspect_neighbour(p->context.engine, text, &other, ret_error);

		if (r == -ENOENT)
			continue;
		if (r < 0)
			return r;
		new = successor_of(w, json_get_string(other, "Id"));
		json_put(names, text, json_string(new ? new : world_name_of(other)));
		json_put(volumes, text, json_string(world_name_of(other)));
	}
	*ret = steal(names);
	*ret_volumes = steal(volumes);
	return 0;
}

/* Makes the plan of a container that is missing: from its saved spec, else from the operator's create file. */
static int plan_first(const struct pass *p, struct recreate_input *in, struct recreate_plan *ret,
		      struct error *ret_error)
{
	const struct recreate_plan *saved = &p->saved.plan;
	_cleanup_json_ json_t *body = NULL;
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	if (saved->body) {
		*ret = (struct recreate_plan){.body = json_incref(saved->body),
					      .connect = json_incref(saved->connect)};
		return 0;
	}
	if (!p->c->create)
		return error_set(ret_error, -ENOENT,
				 "there is no container of that name, and no create = to make one");
	r = read_trusted_file(p->c->create, CREATE_FILE_MAX, &text, &len, ret_error);
	if (r == 0)
		r = json_parse(text, len, p->c->create, &body, ret_error);
	if (r < 0)
		return r;
	in->first = body;
	r = recreate_spec(in, ret, ret_error);
	return r < 0 ? error_prefix(ret_error, "%s", p->c->create) : 0;
}

/* podman can do more than Docker's API can say. */
static int refuse_podman_settings(const struct pass *p, const char *id, struct error *ret_error)
{
	_cleanup_json_ json_t *own = NULL;
	const char *option;
	int r = engine_inspect_podman(p->context.engine, id, &own, ret_error);

	if (r < 0)
		return r;
	option = podman_find_own_option(own);
	return option ? error_set(ret_error, -EKEYREJECTED,
				  "it was created with podman's %s, which Docker's API cannot say",
				  option)
		      : 0;
}

/* *ret stays NULL if the image is not to be had: recreate_spec() refuses then. */
static int inspect_old_image(const struct pass *p, const struct container_view *old, json_t **ret,
			     struct error *ret_error)
{
	const struct release *current = &p->record.current;
	int r = engine_inspect_platform(p->context.engine, old->image, &old->platform, ret,
					ret_error);

	if (r != -ENOENT || !streq(old->image, current->image) || !digest_is_set(&current->digest))
		return r == -ENOENT ? 0 : r;
	/* A prune removed it, or the tag moved on in containerd's store. Its registry may still have it. */
	r = candidate_pull_again(p, current, ret_error);
	if (r == 0)
		r = engine_inspect_platform(p->context.engine, old->image, &old->platform, ret,
					    ret_error);
	if (r < 0 && r != -ECANCELED)
		log_warning("%s: its image was removed and cannot be pulled again: %s", p->c->name,
			    ret_error->text);
	return r == -ECANCELED ? r : 0;
}

/* What the label of a follower's successor says of its image, which stays the same: the digest of its own update, else
 * the Id, which is no claim about any tag. target: what can be said where the Id is no digest. */
static const char *follower_target(const json_t *container, const json_t *image,
				   const struct container_view *old, const char *target)
{
	const char *own = recreate_own_label(container, image, RECREATE_LABEL_TARGET);
	struct digest d;

	if (own && digest_is_set(&old->target) && world_has_digest(image, &old->target))
		return own;
	return digest_parse(old->image, &d) == 0 ? old->image : target;
}

/* A follower may have a section of its own. */
static bool ignores_copies(const struct pass *p, const json_t *container)
{
	const struct container_config *own =
		config_container(p->task->config, world_name_of(container));

	return (own ? own : p->c)->copied == COPIED_IGNORE;
}

/* container: old's inspect answer; NULL: there is none to replace. */
static int make_plan(const struct pass *p, const struct world *w, json_t *container,
		     const struct container_view *old, bool is_follower, const json_t *image,
		     const char *reference, const char *target, struct recreate_plan *ret,
		     struct error *ret_error)
{
	const struct version *version = engine_version(p->context.engine);
	_cleanup_json_ json_t *old_image = NULL, *names = NULL, *volumes = NULL;
	char host_name[HOST_NAME_MAX + 1] = "";
	struct recreate_input in = {
		.new_image = image,
		.host_name = host_name,
		.image = reference,
		.target = target,
		.api_minor = version->api_minor,
	};
	int r = 0;

	if (!container)
		return plan_first(p, &in, ret, ret_error);
	(void)gethostname(host_name, sizeof(host_name) - 1);
	r = inspect_old_image(p, old, &old_image, ret_error);
	if (r < 0)
		return r;
	/* Compose copied no files into a container that Pullet created. */
	if (!ignores_copies(p, container) &&
	    (!digest_is_set(&old->target) ||
	     !recreate_own_label(container, old_image, RECREATE_LABEL_TARGET)))
		r = copied_refuse(p->context.engine, container, old_image, ret_error);
	if (r < 0)
		return r;
	if (version->podman) {
		r = refuse_podman_settings(p, old->id, ret_error);
		if (r < 0)
			return r;
		podman_mend_config(container, old_image);
	}
	r = look_up_names(p, w, container, &names, &volumes, ret_error);
	if (r < 0)
		return r;
	in.container = container;
	in.old_image = old_image;
	in.new_image = image ? image : old_image;
	if (is_follower)
		in.target = follower_target(container, old_image, old, target);
	in.names = names;
	in.volumes = volumes;
	return recreate_spec(&in, ret, ret_error);
}

int successor_plan(const struct pass *p, const struct world *w, const json_t *image,
		   const char *reference, const char *target, struct recreate_plan *ret,
		   struct error *ret_error)
{
	const struct container_view *old = &p->world.old;
	_cleanup_json_ json_t *container = NULL;
	int r = 0;

	if (view_exists(old))
		r = engine_inspect_container(p->context.engine, old->id, &container, ret_error);
	return r < 0 ? r
		     : make_plan(p, w, container, old, false, image, reference, target, ret,
				 ret_error);
}

/* The reference to a follower's image, which its successor keeps: the name that the operator gave if that still
 * means the image, else the Id. Caller frees. */
static int follower_reference(const struct pass *p, const json_t *container, const char *id,
			      char **ret, struct error *ret_error)
{
	const char *name = json_get_string(json_object_get(container, "Config"), "Image");
	_cleanup_json_ json_t *image = NULL;
	int r = name ? engine_identify_image(p->context.engine, name, &image, ret_error) : -ENOENT;

	if (r < 0 && r != -ENOENT)
		return r;
	*ret = xstrdup(streq_null(json_get_string(image, "Id"), id) ? name : id);
	return 0;
}

int successor_plan_follower(const struct pass *p, const struct world *w, const char *id,
			    const char *name, const char *target, struct recreate_plan *ret,
			    struct error *ret_error)
{
	_cleanup_free_ char *reference = NULL;
	_cleanup_json_ json_t *container = NULL;
	struct container_view old = {0};
	int r = engine_inspect_container(p->context.engine, id, &container, ret_error);

	if (r == 0)
		r = world_read_container(container, &old, ret_error);
	if (r == 0 && !w && old.state == STATE_PAUSED)
		return error_set(ret_error, -EKEYREJECTED,
				 "container %s, which depends on it, is paused", name);
	if (r == 0)
		r = follower_reference(p, container, old.image, &reference, ret_error);
	if (r == 0)
		r = make_plan(p, w, container, &old, true, NULL, reference, target, ret, ret_error);
	return r < 0 ? error_prefix(ret_error, "container %s, which depends on it", name) : 0;
}

int successor_check(struct pass *p, struct error *ret_error)
{
	const struct release *kept =
		p->record.phase == PHASE_PREPARE ? &p->record.target : &p->record.previous;
	const struct digest label =
		digest_is_set(pass_candidate(p)) ? *pass_candidate(p) : release_label(kept);
	_cleanup_(recreate_plan_free) struct recreate_plan plan = {0};
	int q = successor_plan(p, NULL, NULL, p->c->image, label.text, &plan, ret_error);

	for (size_t i = 0; q == 0 && view_exists(&p->world.old) && i < p->record.n_followers; i++) {
		const struct follower *f = &p->record.followers[i];

		recreate_plan_free(&plan);
		q = successor_plan_follower(p, NULL, f->old_id, f->name, label.text, &plan,
					    ret_error);
	}
	p->state.successor_checked = q == 0;
	return q;
}
