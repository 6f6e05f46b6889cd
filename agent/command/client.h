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
	struct client_event event;
};

/* Needs only the bus. An error leaves nothing to close. */
int client_open(struct client *c, struct error *ret_error) warn_unused;
void client_close(struct client *c);

/* Sends the request; the answer is an event. operation: one that has a method. */
int client_request(struct client *c, const char *name, enum operation operation,
		   struct error *ret_error) warn_unused;

/* Waits until an event, or until_ms of now_ms(). Valid until the next call. From the first call on SIGINT
 * and SIGTERM are events, too. */
const struct client_event *client_next(struct client *c, uint64_t until_ms);
