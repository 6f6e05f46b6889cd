/* SPDX-License-Identifier: MIT */
#include "followers.h"

#include <errno.h>

#include "engine.h"
#include "recreate.h"

enum side { SIDE_NONE, SIDE_OLD, SIDE_NEW };

/* A container, and on which of old and new it depends. */
struct neighbour {
	char id[72], name[CONTAINER_NAME_MAX];
	json_t *inspect;
	enum side side;
	bool added;
};

static void free_neighbours(struct neighbour *n, size_t count)
{
	for (size_t i = 0; i < count; i++)
		json_decref(n[i].inspect);
	free(n);
}

static int read_neighbours(const struct context *s, struct neighbour **ret, size_t *ret_n,
			   struct error *ret_error)
{
	_cleanup_json_ json_t *list = NULL;
	const json_t *v;
	size_t i;
	int r = engine_list(s->engine, NULL, &list, ret_error);

	if (r < 0)
		return r;
	*ret = xcalloc(json_array_size(list) + 1, sizeof(**ret));
	json_array_foreach (list, i, v) {
		const char *id = json_get_string(v, "Id");
		struct neighbour *n = &(*ret)[*ret_n];

		r = id ? engine_inspect_neighbour(s->engine, id, &n->inspect, ret_error) : -ENOENT;
		/* Removed since the list was made. Any other error hides a container that may depend on ours. */
		if (r == -ENOENT)
			continue;
		if (r < 0)
			return r;
		copy_text(n->id, sizeof(n->id), id);
		copy_text(n->name, sizeof(n->name), world_name_of(n->inspect));
		(*ret_n)++;
	}
	return 0;
}

/* id: of any container; name: another that what shares a namespace may have written for it, or NULL. */
static bool depends_on(const struct neighbour *n, const char *id, const char *name,
		       const struct neighbour *all, size_t n_all)
{
	const char *called = "";

	for (size_t i = 0; i < n_all; i++) {
		if (streq(all[i].id, id))
			called = all[i].name;
	}
	return id[0] &&
	       recreate_depends_on(json_object_get(n->inspect, "HostConfig"), id, called, name);
}

/* The name in the configuration: an update under way may have added a suffix. Caller frees. */
static char *base_name(const struct neighbour *n, bool under_way)
{
	const char *suffix = n->side == SIDE_OLD ? ".prev" : ".next";
	bool longer = under_way && has_suffix(n->name, suffix);

	return xstrndup(n->name, strlen(n->name) - (longer ? strlen(suffix) : 0));
}

/* A follower that is parked beside its successor: the container that it depends on may be gone already. */
static bool is_parked(const struct neighbour *n, const struct neighbour *all, size_t n_all)
{
	for (size_t i = 0; i < n_all; i++) {
		_cleanup_free_ char *base = base_name(&all[i], true);
		_cleanup_free_ char *parked = world_slot_name(base, SLOT_PREV);

		if (all[i].side == SIDE_NEW && streq(n->name, parked))
			return true;
	}
	return false;
}

static int add_follower(struct record *r, const struct neighbour *n, bool under_way,
			struct error *ret_error)
{
	_cleanup_free_ char *name = base_name(n, under_way);
	struct follower *f = r->followers, made = {0};

	copy_text(made.name, sizeof(made.name), name);
	while (f < r->followers + r->n_followers && !streq(f->name, made.name))
		f++;
	if (f == r->followers + FOLLOWERS_MAX)
		return error_set(ret_error, -EKEYREJECTED, "more than %d containers depend on it",
				 FOLLOWERS_MAX);
	if (f == r->followers + r->n_followers) {
		*f = made;
		r->n_followers++;
	}
	copy_text(n->side == SIDE_OLD ? f->old_id : f->new_id, sizeof(f->old_id), n->id);
	return 0;
}

static enum side side_of(const struct neighbour *n, const char *old_id, const char *new_id,
			 const char *name, const struct neighbour *all, size_t n_all)
{
	if (streq(n->id, old_id) || streq(n->id, new_id))
		return SIDE_NONE;
	if (depends_on(n, old_id, name, all, n_all) || is_parked(n, all, n_all))
		return SIDE_OLD;
	if (depends_on(n, new_id, NULL, all, n_all))
		return SIDE_NEW;
	for (size_t i = 0; i < n_all; i++) {
		if (all[i].side != SIDE_NONE && depends_on(n, all[i].id, all[i].name, all, n_all))
			return all[i].side;
	}
	return SIDE_NONE;
}

/* Whether n needs another of them that is not in the record yet. */
static bool must_wait(const struct neighbour *n, const struct neighbour *all, size_t n_all)
{
	for (size_t i = 0; i < n_all; i++) {
		if (&all[i] != n && all[i].side != SIDE_NONE && !all[i].added &&
		    depends_on(n, all[i].id, all[i].name, all, n_all))
			return true;
	}
	return false;
}

/* Each comes after those that it needs. */
static int add_in_order(struct record *r, struct neighbour *all, size_t n_all, bool under_way,
			struct error *ret_error)
{
	bool grown = true;
	int q = 0;

	while (q == 0 && grown) {
		grown = false;
		for (size_t i = 0; q == 0 && i < n_all; i++) {
			if (all[i].side == SIDE_NONE || all[i].added ||
			    must_wait(&all[i], all, n_all))
				continue;
			all[i].added = grown = true;
			q = add_follower(r, &all[i], under_way, ret_error);
		}
	}
	/* Those that need each other, in any order: they could not start before either. */
	for (size_t i = 0; q == 0 && i < n_all; i++) {
		if (all[i].side != SIDE_NONE && !all[i].added)
			q = add_follower(r, &all[i], under_way, ret_error);
	}
	return q;
}

int followers_find(const struct context *s, const char *old_id, const char *new_id,
		   struct record *r, struct error *ret_error)
{
	struct neighbour *all = NULL;
	bool grown = true;
	size_t n = 0;
	int q = read_neighbours(s, &all, &n, ret_error);

	r->n_followers = 0;
	while (q == 0 && grown) {
		grown = false;
		for (size_t i = 0; i < n; i++) {
			if (all[i].side != SIDE_NONE)
				continue;
			all[i].side = side_of(&all[i], old_id, new_id, s->name, all, n);
			grown |= all[i].side != SIDE_NONE;
		}
	}
	if (q == 0)
		q = add_in_order(r, all, n, new_id[0] != '\0', ret_error);
	free_neighbours(all, n);
	return q;
}
