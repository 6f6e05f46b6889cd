/* SPDX-License-Identifier: MIT */
/* command: what pullet can be told, as one table. --help, the arguments' check, and the tests of the manual
 * and of the completions all go by it. A new one is a row here and a function in command-NOUN.c. */
#pragma once

#include "options.h"

struct command_options {
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
	const char *summary;  /* for the list of all */
	const char *help;     /* what more there is to know */
	int least, most;      /* operands; most < 0: any number */
	unsigned int options; /* of its own, beside the common ones */
	/* operands: NULL-terminated. Returns the exit status. */
	int (*run)(const struct command_options *o, const char *const *operands);
};

/* The command that the first words name, and how many words that were; NULL: none. */
const struct command *command_find(const char *const *words, int *ret_words);

/* Caller frees. */
char *command_usage(void);
char *command_help(const struct command *c);

/* 0, or 2 after having told what is wrong. */
int command_check(const struct command *c, const struct command_options *o,
		  const char *const *operands) warn_unused;

/* command-status.c */
int command_status(const struct command_options *o, const char *const *operands);
/* command-order.c: the command's name is its operation. */
int command_order_check(const struct command_options *o, const char *const *operands);
int command_order_update(const struct command_options *o, const char *const *operands);
int command_order_rollback(const struct command_options *o, const char *const *operands);
int command_order_hold(const struct command_options *o, const char *const *operands);
int command_order_release(const struct command_options *o, const char *const *operands);
int command_order_retry(const struct command_options *o, const char *const *operands);
/* command-local.c: no daemon needed. */
int command_config_check(const struct command_options *o, const char *const *operands);
int command_verify(const struct command_options *o, const char *const *operands);
/* command-rollout.c: neither. */
int command_rollout_show(const struct command_options *o, const char *const *operands);
int command_rollout_set(const struct command_options *o, const char *const *operands);
int command_rollout_halt(const struct command_options *o, const char *const *operands);
int command_rollout_resume(const struct command_options *o, const char *const *operands);
