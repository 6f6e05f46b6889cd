/* SPDX-License-Identifier: MIT */
/* command: the functions of the commands of pullet, and the options that they take. */
#pragma once

#include <stdio.h>

#include "json.h"

struct command_options {
	const char *command; /* its name in the table */
	const char *config, *state_dir, *engine, *platform;
	const char *percent, *ramp, *ring, *not_before, *minimum_version, *target, *sequence;
	const char *lines, *until, *reason, *user, *from;
	bool json, watch, gone, now, all, write, password_stdin, dry_run, help;
};

/* Prints j, which it takes over, as a line. */
static inline void command_print_json(json_t *j)
{
	_cleanup_json_ json_t *line = json_need(j);

	(void)json_dumpf(line, stdout, JSON_COMPACT);
	putchar('\n');
}

/* command-status.c */
int command_status(const struct command_options *o, const char *const *operands);
/* command-operation.c: the command's name is that of its operation. */
int command_operation(const struct command_options *o, const char *const *operands);
/* command-log.c: these work without pulletd, too. */
int command_log(const struct command_options *o, const char *const *operands);
int command_forget(const struct command_options *o, const char *const *operands);
/* command-adopt.c */
int command_adopt(const struct command_options *o, const char *const *operands);
/* What pulletd does not follow, as a sentence with the next command; NULL: nothing that is known. Caller frees. */
struct client;
#define ADOPT_EMPTY "no container is followed yet; to see what runs here: pullet adopt"
char *adopt_hint(struct client *c);
/* command-local.c: these work without pulletd. */
/* Appends all faults of the configuration and of the files that it names to faults; asks: pullet-fetch reads what each
 * image needs, too. *ret_usable: the configuration itself has none, and the services can read it. config_free(). */
struct config *command_find_faults(const struct command_options *o, bool asks, json_t *faults,
				   bool *ret_usable);
int command_config_show(const struct command_options *o, const char *const *operands);
int command_config_check(const struct command_options *o, const char *const *operands);
/* command-verify.c: asks pullet-update, without pulletd. */
int command_verify(const struct command_options *o, const char *const *operands);
/* command-doctor.c: asks the services, with or without pulletd. */
int command_doctor(const struct command_options *o, const char *const *operands);
/* command-unit.c: the starter of units; pullet-unit@.service is its only caller. */
int command_run_unit(const struct command_options *o, const char *const *operands);
/* command-rollout.c: these work without pulletd, too. */
int command_rollout(const struct command_options *o, const char *const *operands);
/* command-login.c: these work without pulletd, too. */
int command_login(const struct command_options *o, const char *const *operands);
int command_logout(const struct command_options *o, const char *const *operands);
/* command-delta.c: the package pullet-publish has the program. */
int command_delta(const struct command_options *o, const char *const *operands);
