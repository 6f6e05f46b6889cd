/* SPDX-License-Identifier: MIT */
#include "purpose.h"

static const char names[PURPOSES][12] = {
	[PURPOSE_UPDATE] = "update",	 [PURPOSE_FINISH] = "finish", [PURPOSE_CHECK] = "check",
	[PURPOSE_ROLLBACK] = "rollback", [PURPOSE_HOLD] = "hold",     [PURPOSE_RELEASE] = "release",
	[PURPOSE_RETRY] = "retry",
};

const char *purpose_name(enum purpose p)
{
	return names[p];
}
