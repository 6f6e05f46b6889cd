/* SPDX-License-Identifier: MIT */
/* order: sorts things by what each comes after. Pure. */
#pragma once

#include "util.h"

/* node comes after before; both are numbers below n. */
struct dependency {
	size_t node, before;
};

/* Fills ret, which has room for n + 1, with all numbers below n, each behind those that it comes after and as early as
 * these allow. -ELOOP: ret begins with a circle of *ret_circle numbers, each of which comes after the next; the last is the
 * first again. */
int order_sort(size_t n, const struct dependency *d, size_t n_d, size_t *ret,
	       size_t *ret_circle) warn_unused;

/* Sets ret[] of each number that node comes after, directly or not. */
void order_find_before(size_t node, const struct dependency *d, size_t n_d, bool *ret);
