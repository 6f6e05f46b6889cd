/* SPDX-License-Identifier: MIT */
/* pullet: the command people type. Arguments, and off to the command. */
#include <locale.h>
#include <stdio.h>

#include "command.h"
#include "config.h"
#include "log.h"

int main(int argc, char **argv)
{
	struct command_options o = {.config = CONFIG_PATH_DEFAULT,
				    .state_dir = CONFIG_STATE_DIR_DEFAULT};
	const struct option_row rows[] = {
		{"config", &o.config, NULL},
		{"state-dir", &o.state_dir, NULL},
		{"engine", &o.engine, NULL},
		{"platform", &o.platform, NULL},
		{"json", NULL, &o.json},
		{"watch", NULL, &o.watch},
		{"percent", &o.percent, NULL},
		{"ramp", &o.ramp, NULL},
		{"ring", &o.ring, NULL},
		{"not-before", &o.not_before, NULL},
		{"minimum-version", &o.minimum_version, NULL},
		{"target", &o.target, NULL},
		{"sequence", &o.sequence, NULL},
		{"help", NULL, &o.help},
		{0},
	};
	_cleanup_free_ char *usage = command_usage();
	const struct command *command;
	const char *const *words;
	int first, n = 0, status;

	/* Texts are UTF-8, whatever the user's language. */
	(void)setlocale(LC_CTYPE, "C.UTF-8");
	first = options_parse(argc, argv, rows, usage);
	if (first < 0)
		return -1 - first;
	words = (const char *const *)(argv + first);
	command = command_find(words, &n);
	if (!command) {
		fputs(usage, o.help ? stdout : stderr);
		if (words[0] && !o.help)
			log_error("there is no command '%s'", words[0]);
		return o.help && !words[0] ? 0 : 2;
	}
	if (o.help) {
		_cleanup_free_ char *help = command_help(command);

		fputs(help, stdout);
		return 0;
	}
	status = command_check(command, &o, words + n);
	return status ? status : command->run(&o, words + n);
}
