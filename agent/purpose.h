/* SPDX-License-Identifier: MIT */
/* purpose: what a pass is made for. One word each, for options, D-Bus and people. */
#pragma once

enum purpose {
	PURPOSE_UPDATE,	  /* look for news and take them: what a poll does */
	PURPOSE_FINISH,	  /* only what is under way; the registry is not asked */
	PURPOSE_CHECK,	  /* look for news and take nothing */
	PURPOSE_ROLLBACK, /* back to the version before, which the engine still has */
	PURPOSE_HOLD,	  /* take nothing more until released */
	PURPOSE_RELEASE,
	PURPOSE_RETRY, /* forget what was rejected */
};
#define PURPOSES 7

const char *purpose_name(enum purpose p);
