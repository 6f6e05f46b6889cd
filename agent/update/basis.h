/* SPDX-License-Identifier: MIT */
/* basis: the name of what a delta made, in containerd's store. There the registry's manifest finds no files of layers, and a
 * local image (engine_load()) has them: under this name it keeps them, tells the engine half which layers these are, and is
 * what the next delta starts from. Until the update is over its name is that of the load. A graph driver has layers only, and
 * needs no such name. */
#pragma once

#include "pass.h"

#define BASIS_REPOSITORY "localhost/pullet/basis"

/* The image to take the layers of the running one from; they are layers[0..n-1]. *ret_local: it is a local one. The caller
 * frees it. */
char *basis_choose(const struct pass *p, const struct digest *layers, size_t n, bool *ret_local);

/* The container was created: the name of the load goes, unless it is of a local image. */
void basis_note_created(const struct pass *p);
/* The update is over, and the new container runs: its local image becomes the basis. If it has none, and what it runs needs
 * nothing of the basis, that is removed. */
void basis_note_committed(const struct pass *p);
void basis_drop(struct engine *e, const char *name);
