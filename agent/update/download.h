/* SPDX-License-Identifier: MIT */
/* download: brings what the engine lacks of target's image into the spool, and from there into the engine. */
#pragma once

#include "pass.h"

/* Whether the image comes through the spool: configured so, and every document of it is at hand. */
bool download_is_spooled(const struct pass *p);

/* Bytes of the layers to come that are in the spool. */
uint64_t download_here(const struct pass *p);

/* Gives what the spool has of the image's documents to the next question for it: they are not asked for again. */
void download_recall(struct pass *p);

/* Brings the image into the engine, as a pull by digest does. A download that stops before its end, at the end of its
 * slice, of its window or of the budget, is no error: state.pause says why. Needs p->verified. *ret_found: number of its lowest layers that the engine had, if it had more than it was left to have;
 * else 0. -EKEYREJECTED: the image can
 * never be used. */
int download_image(struct pass *p, size_t *ret_found, struct error *ret_error) warn_unused;

/* Removes the name that a load gave the image: until a container has it, docker image prune takes an image without a name. */
void download_drop_name(const struct pass *p);

/* Sets the part of the result that is about a download under way. */
void download_note(const struct pass *p, struct result *ret);
