/* SPDX-License-Identifier: MIT */
/* unit-start: asks the starter (pullet run-unit, behind pullet-unit.socket) for a unit that the configuration names. The
 * starter is root's: who asks chooses a container and a key, never a unit. One connection is for one request.
 *   request  {"container": NAME, "key": "before-unit", "health-unit" or "after-unit"}
 *   reply    {"result": TEXT, "status": NUMBER}     when the unit has ended: systemd.service(5), Result=
 *   request  {"key": "notify", "event": {...}}
 *   reply    {"result": "success", "status": 0}     when the units are being started
 *   reply    {"error": TEXT}                        to any request: nothing was started */
#pragma once

#include <signal.h>

#include "config.h"
#include "json.h"

#define UNIT_SOCKET_DEFAULT "/run/pullet/unit.sock"
#define UNIT_KEY_NOTIFY	    "notify"

extern const char unit_keys[HOOK_MAX][12]; /* "before-unit", ... */

struct unit_end {
	char result[32]; /* "success", "exit-code", "signal", "timeout", ... */
	int status;	 /* exit status or signal of the main process */
};

/* The unit itself, or the instance of a template. Caller frees. */
char *unit_instance(const char *unit, const char *instance);

/* Starts the unit of that hook and waits for its end. -ECANCELED when *cancel is set, which ends the unit; any other
 * error: the unit did not run. */
int unit_run(const char *socket, const struct container_config *c, enum hook_kind kind,
	     const volatile sig_atomic_t *cancel, struct unit_end *ret,
	     struct error *ret_error) warn_unused;
/* Starts the units that want to know of event, which is borrowed, and does not wait for their end. */
int unit_notify(const char *socket, json_t *event, struct error *ret_error) warn_unused;
