/* SPDX-License-Identifier: MIT */
/* followers: the containers that share a network, process or ipc namespace of a managed container, have a link to it on
 * the default bridge, or take volumes from it by its id. Its replacement would cut them off, or keep them from starting
 * again, so they are replaced with it. */
#pragma once

#include "world.h"

/* Finds the containers that depend on old_id, directly or through another, in the order in which they can start: sets r's followers, with names and old ids. For a lost record new_id is not "": then finds those of
 * new_id, too, and pairs both by name. -EKEYREJECTED: there are too many. */
int followers_find(const struct context *s, const char *old_id, const char *new_id,
		   struct record *r, struct error *ret_error) warn_unused;
