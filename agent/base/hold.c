/* SPDX-License-Identifier: MIT */
#include "hold.h"

#include <stdio.h>

#include "calendar.h"

bool hold_is_same(const struct hold *a, const struct hold *b)
{
	return a->until_s == b->until_s && streq(a->by, b->by) && streq(a->reason, b->reason);
}

void hold_explain(const struct hold *h, char *buf, size_t size)
{
	char until[CALENDAR_LOCAL_MAX] = "";

	if (h->until_s > 0)
		(void)calendar_local(h->until_s, until);
	(void)snprintf(buf, size, "held by %s%s%s%s%s", h->by[0] ? h->by : "the operator",
		       until[0] ? " until " : "", until, h->reason[0] ? ": " : "", h->reason);
}
