/* SPDX-License-Identifier: MIT */
#include "order.h"

#include <errno.h>

enum state {
	NEW,
	OPEN, /* it is on the path */
	DONE,
};

struct sort {
	const struct dependency *d;
	size_t n_d;
	unsigned char *state;
	size_t *path, n_path; /* each comes after the next */
	size_t *sorted, n_sorted;
};

static int visit(struct sort *s, size_t node)
{
	int r = s->state[node] == OPEN ? -ELOOP : 0;

	if (s->state[node] == DONE)
		return 0;
	s->path[s->n_path++] = node;
	s->state[node] = OPEN;
	for (size_t i = 0; r == 0 && i < s->n_d; i++) {
		if (s->d[i].node == node)
			r = visit(s, s->d[i].before);
	}
	if (r < 0)
		return r;
	s->n_path--;
	s->state[node] = DONE;
	s->sorted[s->n_sorted++] = node;
	return 0;
}

int order_sort(size_t n, const struct dependency *d, size_t n_d, size_t *ret, size_t *ret_circle)
{
	_cleanup_free_ unsigned char *state = xcalloc(n + 1, sizeof(*state));
	_cleanup_free_ size_t *path = xcalloc(n + 1, sizeof(*path));
	struct sort s = {.d = d, .n_d = n_d, .state = state, .path = path, .sorted = ret};
	size_t first = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = visit(&s, i);
	if (r == 0)
		return 0;
	while (path[first] != path[s.n_path - 1])
		first++;
	*ret_circle = s.n_path - first;
	memcpy(ret, path + first, *ret_circle * sizeof(*ret));
	return r;
}

void order_find_before(size_t node, const struct dependency *d, size_t n_d, bool *ret)
{
	for (size_t i = 0; i < n_d; i++) {
		if (d[i].node != node || ret[d[i].before])
			continue;
		ret[d[i].before] = true;
		order_find_before(d[i].before, d, n_d, ret);
	}
}
