/* SPDX-License-Identifier: MIT */
#include "followers.h"

#include <errno.h>

#include "engine.h"
#include "recreate.h"

enum side { SIDE_NONE, SIDE_OLD, SIDE_NEW };

/* A container that shares a namespace, and with which of old and new. */
struct neighbour {
	char id[72], name[CONTAINER_NAME_MAX];
	char shares[RECREATE_MODES][CONTAINER_NAME_MAX]; /* ids, or names */
	enum side side;
};

static int read_neighbours(const struct context *s, struct neighbour **ret, size_t *ret_n,
			   struct error *ret_error)
{
	_cleanup_json_ json_t *list = NULL;
	_cleanup_free_ struct neighbour *n = NULL;
	const json_t *v;
	size_t i, count = 0;
	int r = engine_list(s->engine, &list, ret_error);

	if (r < 0)
		return r;
	n = xcalloc(json_array_size(list) + 1, sizeof(*n));
	json_array_foreach (list, i, v) {
		const char *id = json_get_string(v, "Id");
		_cleanup_json_ json_t *j = NULL;
		bool any = false;

		r = id ? engine_inspect_neighbour(s->engine, id, &j, ret_error) : -ENOENT;
		/* Removed since the list was made. Any other error hides a container that may depend on ours. */
		if (r == -ENOENT)
			continue;
		if (r < 0)
			return r;
		copy_text(n[count].id, sizeof(n[count].id), id);
		copy_text(n[count].name, sizeof(n[count].name), world_name_of(j));
		for (size_t m = 0; m < RECREATE_MODES; m++) {
			const char *whose =
				recreate_shared_with(json_object_get(j, "HostConfig"), m);

			copy_text(n[count].shares[m], sizeof(n[count].shares[m]), whose);
			any |= whose != NULL;
		}
		/* A container that shares nothing is overwritten by the next. */
		count += any;
	}
	*ret = steal(n);
	*ret_n = count;
	return 0;
}

static bool shares_with(const struct neighbour *n, const char *id, const char *name)
{
	for (size_t m = 0; id[0] && m < ARRAY_SIZE(n->shares); m++) {
		if (streq(n->shares[m], id) || (name && streq(n->shares[m], name)))
			return true;
	}
	return false;
}

/* A follower that is parked beside its successor: the container that it shares with may be gone already. */
static bool is_parked(const struct record *r, const struct neighbour *n)
{
	for (size_t i = 0; i < r->n_followers; i++) {
		_cleanup_free_ char *parked = world_slot_name(r->followers[i].name, SLOT_PREV);

		if (r->followers[i].new_id[0] && streq(n->name, parked))
			return true;
	}
	return false;
}

static int add_follower(struct record *r, const struct neighbour *n, bool under_way,
			struct error *ret_error)
{
	const char *suffix = n->side == SIDE_OLD ? ".prev" : ".next";
	struct follower *f = r->followers, made = {0};

	/* Its name in the configuration: an update under way may have added a suffix. */
	copy_text(made.name, sizeof(made.name), n->name);
	if (under_way && has_suffix(made.name, suffix))
		made.name[strlen(made.name) - strlen(suffix)] = '\0';
	while (f < r->followers + r->n_followers && !streq(f->name, made.name))
		f++;
	if (f == r->followers + FOLLOWERS_MAX)
		return error_set(ret_error, -EKEYREJECTED,
				 "more than %d containers share its namespaces", FOLLOWERS_MAX);
	if (f == r->followers + r->n_followers) {
		*f = made;
		r->n_followers++;
	}
	copy_text(n->side == SIDE_OLD ? f->old_id : f->new_id, sizeof(f->old_id), n->id);
	return 0;
}

static enum side side_of(const struct neighbour *n, const struct record *r, const char *old_id,
			 const char *new_id, const char *name, const struct neighbour *all,
			 size_t n_all)
{
	if (shares_with(n, old_id, name) || is_parked(r, n))
		return SIDE_OLD;
	if (shares_with(n, new_id, NULL))
		return SIDE_NEW;
	for (size_t i = 0; i < n_all; i++) {
		if (all[i].side != SIDE_NONE && shares_with(n, all[i].id, all[i].name))
			return all[i].side;
	}
	return SIDE_NONE;
}

int followers_find(const struct context *s, const char *old_id, const char *new_id,
		   struct record *r, struct error *ret_error)
{
	_cleanup_free_ struct neighbour *all = NULL;
	bool grown = true;
	size_t n = 0;
	int q = read_neighbours(s, &all, &n, ret_error);

	r->n_followers = 0;
	/* Each turn adds those that share with one already found, so that each comes after the one that it needs. */
	while (q == 0 && grown) {
		grown = false;
		for (size_t i = 0; q == 0 && i < n; i++) {
			if (all[i].side != SIDE_NONE)
				continue;
			all[i].side = side_of(&all[i], r, old_id, new_id, s->name, all, n);
			if (all[i].side == SIDE_NONE)
				continue;
			grown = true;
			q = add_follower(r, &all[i], new_id[0] != '\0', ret_error);
		}
	}
	return q;
}
