/* SPDX-License-Identifier: MIT */
#include "operation.h"

static const char names[OPERATION_MAX][12] = {
	[OPERATION_UPDATE] = "update", [OPERATION_FINISH] = "finish",
	[OPERATION_CHECK] = "check",   [OPERATION_ROLLBACK] = "rollback",
	[OPERATION_HOLD] = "hold",     [OPERATION_RELEASE] = "release",
	[OPERATION_RETRY] = "retry",
};

const char *operation_name(enum operation p)
{
	return names[p];
}
