/* SPDX-License-Identifier: MIT */
/* sequence: in which order the updates of a round are made: after = in the configuration, and compose's depends_on. A
 * label that the image has, too, does not count, because an image can set labels. Labels only order. */
#pragma once

#include "order.h"
#include "task.h"

struct sequence {
	size_t *order; /* all containers of the configuration, by number */
	struct dependency *after;
	size_t n_after;
	char *fault; /* why labels are ignored: they make a circle; NULL: they are not */
};

/* Labels that cannot be read do not count. */
void sequence_find(const struct task *task, struct sequence *ret);
void sequence_free(struct sequence *s);
