/* SPDX-License-Identifier: MIT */
/* old-list: the images that deltas are made from. */
#pragma once

#include "error.h"

#define OLD_LIST_MAX 1000

struct old_list {
	char **images; /* references, in the repository of the new image */
	size_t n;
};

/* old is one reference or digest; or, with from, a number, a file ("-": standard input) with one a line, of which the last
 * ones count, and each once; '#' begins a comment. A digest alone is one of the repository of new. -EINVAL, also for another
 * repository than new's; -errno of the file. The caller frees *ret with old_list_free(), after an error too. */
int old_list_read(const char *old, const char *from, const char *new, struct old_list *ret,
		  struct error *ret_error) warn_unused;
void old_list_free(struct old_list *l);
