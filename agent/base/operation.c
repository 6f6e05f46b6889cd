/* SPDX-License-Identifier: MIT */
#include "operation.h"

#include <errno.h>

/* Arrays, not pointers, which each start of a program would relocate. */
static const struct row {
	char name[10], method[10], action[28];
	bool record_only, many;
} rows[OPERATION_MAX] = {
	[OPERATION_UPDATE] = {"update", "Update", "org.pullet.agent1.update", false, false},
	[OPERATION_FINISH] = {"finish", "", "", false, false},
	[OPERATION_CHECK] = {"check", "Check", "org.pullet.agent1.check", false, true},
	[OPERATION_ROLLBACK] = {"rollback", "Rollback", "org.pullet.agent1.rollback", false, false},
	[OPERATION_HOLD] = {"hold", "Hold", "org.pullet.agent1.hold", true, false},
	[OPERATION_RELEASE] = {"release", "Release", "org.pullet.agent1.hold", true, false},
	[OPERATION_RETRY] = {"retry", "Retry", "org.pullet.agent1.retry", true, false},
	[OPERATION_POLL] = {"poll", "", "", false, true},
};

static int find(const char *word, bool is_method, enum operation *ret)
{
	for (unsigned int i = 0; word && i < OPERATION_MAX; i++) {
		if (!streq(is_method ? rows[i].method : rows[i].name, word) || !word[0])
			continue;
		*ret = (enum operation)i;
		return 0;
	}
	return -ENOENT;
}

const char *operation_name(enum operation o)
{
	return rows[o].name;
}

int operation_from_name(const char *name, enum operation *ret)
{
	return find(name, false, ret);
}

const char *operation_method(enum operation o)
{
	return rows[o].method[0] ? rows[o].method : NULL;
}

const char *operation_action(enum operation o)
{
	return rows[o].action[0] ? rows[o].action : NULL;
}

int operation_from_method(const char *method, enum operation *ret)
{
	return find(method, true, ret);
}

bool operation_is_record_only(enum operation o)
{
	return rows[o].record_only;
}

bool operation_takes_many(enum operation o)
{
	return rows[o].many;
}
