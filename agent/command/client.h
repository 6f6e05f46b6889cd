/* SPDX-License-Identifier: MIT */
/* client: the D-Bus client of pulletd. Mirrors its containers, requests operations, and returns events one at a
 * time. Only this module of the command uses D-Bus. */
#pragma once

#include "error.h"
#include "operation.h"
#include "status.h"

#define CLIENT_FOREVER UINT64_MAX

enum client_event_kind {
	CLIENT_NOTHING,	 /* the time is up */
	CLIENT_CHANGED,	 /* properties of a container */
	CLIENT_LISTED,	 /* containers came or went: the configuration was read again */
	CLIENT_ACCEPTED, /* the request; the next end of the operation may be its end */
	CLIENT_REFUSED,	 /* the request; error has the reason: -EACCES, -EHOSTDOWN or -EIO */
	CLIENT_FINISHED, /* an operation on a container */
	CLIENT_GONE,	 /* pulletd */
	CLIENT_BACK,
	CLIENT_INTERRUPTED, /* by SIGINT or SIGTERM */
	CLIENT_LOST,	    /* the bus itself */
};

struct client_event {
	enum client_event_kind kind;
	char *name;		  /* of the container; NULL: the event is not of one */
	enum operation operation; /* CLIENT_FINISHED */
	json_t *result;		  /* CLIENT_FINISHED: the contract's object */
	struct error error;
};

struct client {
	struct sd_bus *bus;
	struct sd_event *loop; /* NULL before the first client_next() */
	bool up;	       /* pulletd runs */
	/* Empty while pulletd is down. Valid until the next client_next(). */
	struct status_list list;
	char *config_error; /* why updates are suspended; NULL: they are not */
	json_t *unfollowed; /* names of containers that are up; NULL: not known */
	/* Bytes of the day, its budget, bytes of the month, its budget; a budget of 0 is none. */
	uint64_t traffic[4];
	struct client_event event;
};

/* Needs only the bus. An error leaves nothing to close. */
int client_open(struct client *c, struct error *ret_error) warn_unused;
void client_close(struct client *c);

/* Reads all containers again. 0 also when pulletd does not run. */
int client_list(struct client *c, struct error *ret_error) warn_unused;

/* Sends the request; the answer is an event. operation: one that has a method. hold: of OPERATION_HOLD. */
int client_request(struct client *c, const char *name, enum operation operation,
		   const struct hold *hold, struct error *ret_error) warn_unused;

/* LoadState and ActiveState of a unit of systemd, which the caller frees. */
int client_unit_state(struct client *c, const char *unit, char **ret_load,
		      char **ret_active) warn_unused;
/* What pulletd has of the container's history (history.h), and the names of records without a section; an empty list if it
 * says nothing. The caller owns them. */
json_t *client_history(struct client *c, const char *name);
json_t *client_gone(struct client *c);

/* Has the configuration read again if it changed, without waiting for the engine, and lists what is followed now. */
int client_refresh(struct client *c, struct error *ret_error) warn_unused;

/* Has the configuration read again if it changed, and asks the engine for the containers that are not followed: an array
 * of objects as of survey.h, in the order of their names. The caller owns it. */
int client_survey(struct client *c, json_t **ret, struct error *ret_error) warn_unused;

/* Waits until an event, or until_ms of now_ms(). Valid until the next call. From the first call on SIGINT
 * and SIGTERM are events, too. */
const struct client_event *client_next(struct client *c, uint64_t until_ms);
