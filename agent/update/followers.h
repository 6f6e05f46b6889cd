/* SPDX-License-Identifier: MIT */
/* followers: the containers that share a network, process or ipc namespace with one of ours. They are
 * cut off when it is replaced, so they are replaced with it. */
#pragma once

#include "world.h"

/* Who shares a namespace with the container old_id, or with one who does, in the order in which they
 * can start: sets r's followers, their names and old ids. With new_id (else "": a lost record) those of
 * the other side too, brought together by what NAME.prev and NAME.next are made from. -EKEYREJECTED:
 * too many of them; the engine's error when it does not answer for each container of its list. */
int followers_find(const struct context *s, const char *old_id, const char *new_id,
		   struct record *r, struct error *ret_error) warn_unused;
