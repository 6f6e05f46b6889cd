/* SPDX-License-Identifier: MIT */
/* operation: what a pass is made for. One word each, for options, D-Bus and people. */
#pragma once

enum operation {
	OPERATION_UPDATE,   /* look for news and take them: what a poll does */
	OPERATION_FINISH,   /* only what is under way; the registry is not asked */
	OPERATION_CHECK,    /* look for news and take nothing */
	OPERATION_ROLLBACK, /* back to the version before, which the engine still has */
	OPERATION_HOLD,	    /* take nothing more until released */
	OPERATION_RELEASE,
	OPERATION_RETRY, /* forget what was rejected */
};
#define OPERATION_MAX 7

const char *operation_name(enum operation p);
