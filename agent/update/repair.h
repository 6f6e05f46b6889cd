/* SPDX-License-Identifier: MIT */
/* repair: what a pass does about a damaged image store of the engine. A container that cannot start keeps its damaged
 * image in use, so it must be removed before the image is pulled again: its spec is saved on disk first. */
#pragma once

#include "pass.h"

/* Loads the saved spec of a missing container into the pass; removes that of a container that exists again. */
act_fn repair_find_spec;
/* Saves the old container's spec. */
act_fn repair_save_spec;

/* Whether the engine's error is one of a damaged store, and not prefixed with RESULT_STORE_DAMAGED yet. */
bool repair_is_about_store(const struct error *e);
/* The engine cannot read the image that was pulled: true if it may be pulled again, once in a pass. Counts the
 * damage in the record, which the caller saves. */
bool repair_may_pull_again(struct pass *p);
/* Removes a NAME.next that cannot be inspected, because its image is damaged. */
void repair_remove_next(struct pass *p);
/* Removes a container on trial that can no longer be inspected, and so not judged; the reason goes to the state. */
bool repair_remove_new(struct pass *p);
