/* SPDX-License-Identifier: MIT */
/* operation: what a job of pullet-update does, with its names in options, jobs, D-Bus and polkit. */
#pragma once

#include "util.h"

/* What pulletd has on D-Bus; an object below BUS_CONTAINERS is a container. */
#define BUS_NAME       "org.pullet.Agent1"
#define BUS_PATH       "/org/pullet/Agent1"
#define BUS_CONTAINERS BUS_PATH "/container"
#define BUS_CONTAINER  BUS_NAME ".Container"

/* What an operation does now, in events of pullet-update and the property Step. The last of them has a length: it is
 * over then for sure. */
#define STEP_ASK      "asks the registry"
#define STEP_DETAILS  "reads what the registry says of the image"
#define STEP_DOWNLOAD "downloads" /* progress: bytes of the layers */
#define STEP_REBUILD  "makes the layers from the old image and the delta"
#define STEP_LOAD     "loads the image into the engine" /* progress: bytes of the tar */
#define STEP_PULL     "waits for the first byte"
#define STEP_IMAGE    "looks at the image"
#define STEP_EXIT     "waits for its exit"
#define STEP_HEALTHY  "waits for healthy"
#define STEP_TRIAL    "on trial" /* which takes that long; the two before at most */

enum operation {
	OPERATION_UPDATE,   /* look for a new image and run it */
	OPERATION_FINISH,   /* finish the update under way, without the registry */
	OPERATION_CHECK,    /* look for a new image only */
	OPERATION_ROLLBACK, /* back to the previous image in the engine */
	OPERATION_HOLD,	    /* no update until released */
	OPERATION_RELEASE,
	OPERATION_RETRY,  /* forget the rejected digests */
	OPERATION_POLL,	  /* resolve the tags of many containers */
	OPERATION_DOCTOR, /* ask all that an update needs; of no container */
	OPERATION_FORGET, /* what is kept of containers without a section */
	OPERATION_LOOK,	  /* with update = tell: what an update does, but for taking a new image */
	OPERATION_UPDATE_NOW, /* an update past window, download-window, min-age, speed and budget */
	OPERATION_SURVEY,     /* find the containers that are not followed; names none */
};
#define OPERATION_MAX (OPERATION_SURVEY + 1)

static inline bool operation_is_update(enum operation operation)
{
	return operation == OPERATION_UPDATE || operation == OPERATION_UPDATE_NOW;
}

/* Arrays, not pointers, which each start of a program would relocate. */
struct operation_row {
	char name[12];
	/* The method of org.pullet.Agent1.Container and the polkit action that guards it (systemd/
	 * org.pullet.Agent1.policy). "": no client may request the operation. */
	char method[10], action[28];
	bool record_only; /* it changes the record alone and touches no container */
	bool takes_many;  /* one process does it for several containers */
};
extern const struct operation_row operations[OPERATION_MAX];

/* -ENOENT. NULL is no name. */
int operation_from_name(const char *name, enum operation *ret) warn_unused;
