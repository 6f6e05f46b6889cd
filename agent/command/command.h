/* SPDX-License-Identifier: MIT */
/* command: the functions of the commands of pullet, and the options that they take. */
#pragma once

#include <stdio.h>

#include "json.h"

struct command_options {
	const char *command; /* its name in the table */
	const char *config, *state_dir, *engine, *platform;
	const char *percent, *ramp, *ring, *not_before, *minimum_version, *target, *sequence;
	bool json, watch, help;
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
/* command-local.c: these work without pulletd. */
int command_config_check(const struct command_options *o, const char *const *operands);
int command_verify(const struct command_options *o, const char *const *operands);
/* command-rollout.c: these work without pulletd, too. */
int command_rollout(const struct command_options *o, const char *const *operands);
