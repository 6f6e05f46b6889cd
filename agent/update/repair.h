/* SPDX-License-Identifier: MIT */
/* repair: what a pass does about a damaged image store of the engine. A container that cannot start holds its
 * damaged image, so it has to be removed before the image can be pulled again: its spec is saved on disk, and
 * from then on it is a first container. */
#pragma once

#include "pass.h"

/* Loads the saved spec of a missing container into the pass; forgets that of one which is there again. */
act_fn repair_find_spec;
/* Saves the old container's spec. */
act_fn repair_save_spec;

/* The error tells of damage that no text names yet (RESULT_STORE_DAMAGED). */
bool repair_is_about_store(const struct error *e);
/* The engine cannot give back the image that was brought: true when it is to be pulled again, once a pass. The
 * record counts it, and is to be saved. */
bool repair_may_pull_again(struct pass *p);
/* NAME.next, made from a damaged image, cannot even be inspected. */
void repair_remove_next(struct pass *p);
/* The container on trial cannot be inspected any more, so it cannot be judged: removed, with the reason in the state. */
bool repair_remove_new(struct pass *p);
