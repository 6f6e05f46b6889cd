/* SPDX-License-Identifier: MIT */
/* command: the commands and options of pullet as two tables. --help, the check of the arguments, and the tests
 * of the manual and of the completions use them. A new command is a row and a function in command-NOUN.c. */
#pragma once

#include <stdio.h>

#include "options.h"

#define COMMAND_OPTIONS_MAX 16

struct command_options {
	const char *command; /* its name in the table */
	const char *config, *state_dir, *engine, *platform;
	const char *percent, *ramp, *ring, *not_before, *minimum_version, *target, *sequence;
	bool json, watch, help;
};

enum command_option {
	COMMAND_OPTION_WATCH = 1 << 0,
	COMMAND_OPTION_PLATFORM = 1 << 1,
	COMMAND_OPTION_ROLLOUT = 1 << 2,
};

struct command {
	const char *name;     /* one word, or two: "config check" */
	const char *operands; /* as in the usage; "" for none */
	const char *summary;  /* in the list of all commands */
	const char *help;     /* whole lines of 80 columns at most */
	int least, most;      /* number of operands; most < 0: any */
	unsigned int options; /* enum command_option: those that not every command has */
	/* operands ends with NULL. Returns the exit status. */
	int (*run)(const struct command_options *o, const char *const *operands);
};

/* The command that the first words name, and the number of these words; NULL: none. */
const struct command *command_find(const char *const *words, int *ret_words);

void command_print_usage(FILE *f);
void command_print_help(FILE *f, const struct command *c);

/* The table of options for options_parse(), which writes to o. */
void command_option_rows(struct command_options *o, struct option_row ret[COMMAND_OPTIONS_MAX]);

/* Checks operands and options. 0, or 2 after an error message. */
int command_check(const struct command *c, const struct command_options *o,
		  const char *const *operands) warn_unused;

/* command-status.c */
int command_status(const struct command_options *o, const char *const *operands);
/* command-operation.c: the command's name is that of its operation. */
int command_operation(const struct command_options *o, const char *const *operands);
/* command-local.c: these work without pulletd. */
int command_config_check(const struct command_options *o, const char *const *operands);
int command_verify(const struct command_options *o, const char *const *operands);
/* command-rollout.c: these work without pulletd, too. */
int command_rollout_show(const struct command_options *o, const char *const *operands);
int command_rollout_set(const struct command_options *o, const char *const *operands);
/* rollout halt and rollout resume */
int command_rollout_halt(const struct command_options *o, const char *const *operands);
