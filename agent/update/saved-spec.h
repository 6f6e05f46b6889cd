/* SPDX-License-Identifier: MIT */
/* saved-spec: the create body of a container that was removed because the engine's store is damaged, in
 * STATE_DIR/NAME.json.kept until it is recreated. */
#pragma once

#include "digest.h"
#include "recreate.h"

struct saved_spec {
	struct digest digest; /* the version that it ran */
	struct recreate_plan plan;
};

/* Durable before it returns. */
int saved_spec_save(int state_dir, const char *name, const struct saved_spec *k,
		    struct error *ret_error) warn_unused;
/* -ENOENT: there is none. Caller frees with saved_spec_free(). */
int saved_spec_load(int state_dir, const char *name, struct saved_spec *ret,
		    struct error *ret_error) warn_unused;
bool saved_spec_exists(int state_dir, const char *name);
void saved_spec_forget(int state_dir, const char *name);
void saved_spec_free(struct saved_spec *k);
