/* SPDX-License-Identifier: MIT */
/* kept: what a container was made of, on disk for as long as it is not there: it had to be removed for the
 * engine's store is damaged, and is made anew from this. STATE_DIR/NAME.json.kept. */
#pragma once

#include "digest.h"
#include "recreate.h"

struct kept {
	struct digest digest; /* the version that it ran */
	struct recreate_plan plan;
};

/* Durable before it returns. */
int kept_save(int state_dir, const char *name, const struct kept *k,
	      struct error *ret_error) warn_unused;
/* -ENOENT: there is none. Caller frees with kept_free(). */
int kept_load(int state_dir, const char *name, struct kept *ret,
	      struct error *ret_error) warn_unused;
void kept_forget(int state_dir, const char *name);
void kept_free(struct kept *k);
