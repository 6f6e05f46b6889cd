/* SPDX-License-Identifier: MIT */
#include "operation.h"

#include <errno.h>

const struct operation_row operations[OPERATION_MAX] = {
	[OPERATION_UPDATE] = {"update", "Update", "org.pullet.agent1.update", false, true},
	[OPERATION_FINISH] = {"finish", "", "", false, false},
	[OPERATION_CHECK] = {"check", "Check", "org.pullet.agent1.check", false, true},
	[OPERATION_ROLLBACK] = {"rollback", "Rollback", "org.pullet.agent1.rollback", false, false},
	[OPERATION_HOLD] = {"hold", "Hold", "org.pullet.agent1.hold", true, false},
	[OPERATION_RELEASE] = {"release", "Release", "org.pullet.agent1.hold", true, false},
	[OPERATION_RETRY] = {"retry", "Retry", "org.pullet.agent1.retry", true, false},
	[OPERATION_POLL] = {"poll", "", "", false, true},
	[OPERATION_DOCTOR] = {"doctor", "", "", false, true},
	[OPERATION_FORGET] = {"forget", "", "", false, true},
	[OPERATION_LOOK] = {"look", "", "", false, false},
	[OPERATION_UPDATE_NOW] = {"update-now", "UpdateNow", "org.pullet.agent1.update", false,
				  true},
	[OPERATION_SURVEY] = {"survey", "", "", false, false},
};

int operation_from_name(const char *name, enum operation *ret)
{
	for (unsigned int i = 0; i < OPERATION_MAX; i++) {
		if (!streq_null(operations[i].name, name))
			continue;
		*ret = (enum operation)i;
		return 0;
	}
	return -ENOENT;
}
