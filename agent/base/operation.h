/* SPDX-License-Identifier: MIT */
/* operation: the tasks of pullet-update, with their words for options, jobs, D-Bus and polkit. */
#pragma once

#include <stdbool.h>

#include "util.h"

/* What pulletd has on D-Bus; an object below BUS_CONTAINERS is a container. */
#define BUS_NAME       "org.pullet.Agent1"
#define BUS_PATH       "/org/pullet/Agent1"
#define BUS_CONTAINERS BUS_PATH "/container"
#define BUS_CONTAINER  BUS_NAME ".Container"

enum operation {
	OPERATION_UPDATE,   /* look for a new image and run it */
	OPERATION_FINISH,   /* finish the update under way, without the registry */
	OPERATION_CHECK,    /* look for a new image only */
	OPERATION_ROLLBACK, /* back to the previous image in the engine */
	OPERATION_HOLD,	    /* no update until released */
	OPERATION_RELEASE,
	OPERATION_RETRY, /* forget the rejected digests */
	OPERATION_POLL,	 /* resolve the tags of many containers */
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
