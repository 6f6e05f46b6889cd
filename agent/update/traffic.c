/* SPDX-License-Identifier: MIT */
#include "traffic.h"

#include "clock.h"
#include "spool.h"

void traffic_tell(const struct task *task, const struct fetch *f)
{
	struct budget b;
	struct traffic moved;

	fetch_traffic(f, &moved);
	if (!moved.id[0])
		return;
	spool_read_budget(task->state_dir, &b);
	(void)budget_add(&b, &moved, clock_now());
	task->on_event(json_pack("{s:s, s:I, s:I}", "event", "traffic", "day",
				 (json_int_t)b.day_bytes, "month", (json_int_t)b.month_bytes));
}
