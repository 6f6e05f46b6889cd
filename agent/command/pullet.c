/* SPDX-License-Identifier: MIT */
/* pullet: the command that people type. Reads the arguments and runs the command. */
#include <locale.h>
#include <stdio.h>

#include "command.h"
#include "config.h"
#include "log.h"

int main(int argc, char **argv)
{
	struct command_options o = {.config = CONFIG_PATH_DEFAULT,
				    .state_dir = CONFIG_STATE_DIR_DEFAULT};
	struct option_row rows[COMMAND_OPTIONS_MAX];
	const struct command *command;
	const char *const *words;
	int first, n = 0, status;

	/* Texts are UTF-8 in every locale. */
	(void)setlocale(LC_CTYPE, "C.UTF-8");
	command_option_rows(&o, rows);
	first = options_parse(argc, argv, rows, "");
	if (first < 0)
		return -1 - first;
	words = (const char *const *)(argv + first);
	command = command_find(words, &n);
	if (!command && words[0]) {
		log_error("unknown command '%s'; see: pullet --help", words[0]);
		return 2;
	}
	if (!command) {
		command_print_usage(o.help ? stdout : stderr);
		return o.help ? 0 : 2;
	}
	if (o.help) {
		command_print_help(stdout, command);
		return 0;
	}
	o.command = command->name;
	status = command_check(command, &o, words + n);
	return status ? status : command->run(&o, words + n);
}
