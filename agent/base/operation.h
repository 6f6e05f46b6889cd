/* SPDX-License-Identifier: MIT */
/* operation: what pullet-update is started for. One table of words for options, jobs, D-Bus and polkit. */
#pragma once

#include <stdbool.h>

#include "util.h"

enum operation {
	OPERATION_UPDATE,   /* look for a new image and take it */
	OPERATION_FINISH,   /* finish what is under way; the registry is not asked */
	OPERATION_CHECK,    /* look for a new image and take nothing */
	OPERATION_ROLLBACK, /* back to the previous image, which the engine still has */
	OPERATION_HOLD,	    /* take nothing more until released */
	OPERATION_RELEASE,
	OPERATION_RETRY, /* forget the rejected digests */
	OPERATION_POLL,	 /* a round: of which containers may the image be new? */
};
#define OPERATION_MAX 8

const char *operation_name(enum operation o);
int operation_from_name(const char *name, enum operation *ret) warn_unused;

/* The method of org.pullet.Agent1.Container and the polkit action that guards it (systemd/
 * org.pullet.Agent1.policy). NULL: no client may request the operation. */
const char *operation_method(enum operation o);
const char *operation_action(enum operation o);
int operation_from_method(const char *method, enum operation *ret) warn_unused;

/* Whether it changes the record alone and touches no container: hold, release, retry. */
bool operation_is_record_only(enum operation o);
/* Whether one process does it for several containers: poll, check. */
bool operation_takes_many(enum operation o);
