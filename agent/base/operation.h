/* SPDX-License-Identifier: MIT */
/* operation: what a job of pullet-update does, with its names in options, jobs, D-Bus and polkit. */
#pragma once

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

/* Arrays, not pointers, which each start of a program would relocate. */
struct operation_row {
	char name[10];
	/* The method of org.pullet.Agent1.Container and the polkit action that guards it (systemd/
	 * org.pullet.Agent1.policy). "": no client may request the operation. */
	char method[10], action[28];
	bool record_only; /* it changes the record alone and touches no container */
	bool takes_many;  /* one process does it for several containers */
};
extern const struct operation_row operations[OPERATION_MAX];

/* -ENOENT. NULL is no name. */
int operation_from_name(const char *name, enum operation *ret) warn_unused;
