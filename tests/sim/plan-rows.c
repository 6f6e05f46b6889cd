/* SPDX-License-Identifier: MIT */
/* plan-rows: the table of plan.c, a row a line, for programs that make something else of it. */
#include <stdio.h>

#include "plan.h"

int main(void)
{
	static const char *const members[] = {
		[ONE] = "ONE", [EACH] = "EACH", [EACH_BACK] = "EACH_BACK"};
	const struct plan_row *rows;
	size_t n = plan_rows(&rows);

	for (size_t i = 0; i < n; i++)
		printf("%s|%s|%s|%s|%d\n", block_name(rows[i].block), rows[i].unless,
		       action_name(rows[i].action), members[rows[i].members], (int)rows[i].action);
	return 0;
}
