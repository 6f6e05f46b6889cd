/* SPDX-License-Identifier: MIT */
#include "command.h"

#include "config.h"
#include "log.h"

#define NAME_COLUMNS 20

static const struct command commands[] = {
	{"status", "[NAME]", "show state, waiting updates and rejected digests",
	 "Shows all containers as a table, or NAME in detail. While pulletd is stopped, it\n"
	 "shows the records in the state directory.\n",
	 0, 1, COMMAND_OPTION_WATCH, command_status},
	{"check", "[NAME]...", "look for a new image without taking it",
	 "Asks the registry now, for each NAME or for all containers.\n", 0, -1, 0,
	 command_operation},
	{"update", "[NAME]...", "look for a new image and take it",
	 "Asks the registry now, for each NAME or for all containers, and waits for the\n"
	 "result. Windows and holds stay in force. The update runs in pulletd: Ctrl-C\n"
	 "ends the waiting, not the update.\n",
	 0, -1, 0, command_operation},
	{"rollback", "NAME", "go back to the previous image",
	 "The image that runs now is rejected: it is not taken again until\n"
	 "'pullet retry NAME'.\n",
	 1, 1, 0, command_operation},
	{"hold", "NAME", "take no updates until released",
	 "A hold survives restarts. An update that is under way is completed.\n", 1, 1, 0,
	 command_operation},
	{"release", "NAME", "let a held container be updated again",
	 "A 'hold = yes' in the configuration stays in force.\n", 1, 1, 0, command_operation},
	{"retry", "NAME", "forget the rejected digests",
	 "The next check may take them again; 'pullet update NAME' checks now.\n", 1, 1, 0,
	 command_operation},
	{"config check", "", "read the configuration and report all errors",
	 "Reads it as pulletd does at start and on reload. Works without pulletd.\n", 0, 0, 0,
	 command_config_check},
	{"verify", "IMAGE", "show where a reference points and if it may run here",
	 "Asks the registry for digest, platform and size, and checks whether the keys of\n"
	 "the containers that follow this image allow it. Takes nothing, and works\n"
	 "without pulletd.\n",
	 1, 1, COMMAND_OPTION_PLATFORM, command_verify},
	{"rollout show", "IMAGE", "show the rollout policy of an image",
	 "Reads the policy IMAGE.rollout from the registry; see pullet-rollout(5).\n", 1, 1, 0,
	 command_rollout_show},
	{"rollout set", "IMAGE", "write a rollout policy: which devices, and when",
	 "Replaces the policy IMAGE.rollout by one for the image that the tag points to\n"
	 "now, with the next sequence number. It holds what the options say, no more.\n",
	 1, 1, COMMAND_OPTION_ROLLOUT, command_rollout_set},
	{"rollout halt", "IMAGE", "let no further device take the image",
	 "Each device sees it at its next poll; trials that have begun are completed. The\n"
	 "rest of the policy stays as it is, for 'pullet rollout resume IMAGE'.\n",
	 1, 1, 0, command_rollout_halt},
	{"rollout resume", "IMAGE", "continue a halted rollout",
	 "The policy is in force again as it was before 'pullet rollout halt'.\n", 1, 1, 0,
	 command_rollout_halt},
};

#define AT(field) offsetof(struct command_options, field)

static const struct {
	const char *name, *value, *help;
	size_t offset;	     /* of its text, or without a value of its flag */
	unsigned int option; /* 0: every command has it */
} options[] = {
	{"watch", "", "show each change, until Ctrl-C", AT(watch), COMMAND_OPTION_WATCH},
	{"platform", "OS/ARCH[/VARIANT]", "for another machine than this one", AT(platform),
	 COMMAND_OPTION_PLATFORM},
	{"percent", "NUMBER", "percentage of the devices, from now on", AT(percent),
	 COMMAND_OPTION_ROLLOUT},
	{"ramp", "TIME=NUMBER,...", "percentages at times, growing in between", AT(ramp),
	 COMMAND_OPTION_ROLLOUT},
	{"ring", "NAME=NUMBER,...", "other percentages for these rings", AT(ring),
	 COMMAND_OPTION_ROLLOUT},
	{"not-before", "TIME", "no device takes it before; 2026-12-01T08:00:00Z", AT(not_before),
	 COMMAND_OPTION_ROLLOUT},
	{"minimum-version", "N.N.N", "only devices with this pullet or newer", AT(minimum_version),
	 COMMAND_OPTION_ROLLOUT},
	{"target", "DIGEST", "image to roll out, instead of the tag's", AT(target),
	 COMMAND_OPTION_ROLLOUT},
	{"sequence", "N", "sequence number, instead of the next", AT(sequence),
	 COMMAND_OPTION_ROLLOUT},
	{"config", "FILE", "configuration (" CONFIG_PATH_DEFAULT ")", AT(config), 0},
	{"state-dir", "DIR", "records (" CONFIG_STATE_DIR_DEFAULT ")", AT(state_dir), 0},
	{"engine", "URL", "engine socket, unix:///PATH; only pulletd uses it", AT(engine), 0},
	{"json", "", "print JSON, for scripts", AT(json), 0},
	{"help", "", "show this help; after a command, help for it", AT(help), 0},
	{"version", "", "show the version", 0, 0}, /* options_parse() has it */
};

static const char status_help[] =
	"Exit status: 0 success; 1 something failed, was refused or rolled back;\n"
	"2 wrong usage or configuration.\n";

void command_option_rows(struct command_options *o, struct option_row ret[COMMAND_OPTIONS_MAX])
{
	for (size_t i = 0; i + 1 < ARRAY_SIZE(options); i++) {
		void *field = (char *)o + options[i].offset;

		ret[i] = (struct option_row){.name = options[i].name};
		if (*options[i].value)
			ret[i].value = field;
		else
			ret[i].flag = field;
	}
	ret[ARRAY_SIZE(options) - 1] = (struct option_row){0};
}

/* How many words the command's name has, if words begin with it; else 0. */
static int match(const char *name, const char *const *words)
{
	const char *space = strchr(name, ' ');
	size_t first = space ? (size_t)(space - name) : strlen(name);

	if (!words[0] || strlen(words[0]) != first || strncmp(words[0], name, first) != 0)
		return 0;
	if (!space)
		return 1;
	return words[1] && streq(words[1], space + 1) ? 2 : 0;
}

const struct command *command_find(const char *const *words, int *ret_words)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		*ret_words = match(commands[i].name, words);
		if (*ret_words)
			return &commands[i];
	}
	return NULL;
}

static void print_options(FILE *f, unsigned int own)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		_cleanup_free_ char *left = NULL;

		if (options[i].option && !(own & options[i].option))
			continue;
		left = xasprintf("--%s%s%s", options[i].name, *options[i].value ? " " : "",
				 options[i].value);
		fprintf(f, "  %-*s%s%s\n", *options[i].help ? NAME_COLUMNS : 0, left,
			*options[i].help ? "  " : "", options[i].help);
	}
}

void command_print_usage(FILE *f)
{
	fputs("Usage: pullet [OPTION]... COMMAND [OPERAND]...\n\n"
	      "Shows and controls what pulletd does for the containers of this machine.\n\n",
	      f);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		_cleanup_free_ char *left =
			xasprintf("%s %s", commands[i].name, commands[i].operands);

		fprintf(f, "  %-*s  %s\n", NAME_COLUMNS, left, commands[i].summary);
	}
	fputs("\n'pullet COMMAND --help' describes a command. Options of all commands:\n\n", f);
	print_options(f, 0);
	fprintf(f, "\n%s", status_help);
}

void command_print_help(FILE *f, const struct command *c)
{
	fprintf(f, "Usage: pullet %s [OPTION]...%s%s\n\n%s\n", c->name, *c->operands ? " " : "",
		c->operands, c->help);
	print_options(f, c->options);
	fprintf(f, "\n%s", status_help);
}

#define SEE_HELP "; see: pullet %s --help"

int command_check(const struct command *c, const struct command_options *o,
		  const char *const *operands)
{
	int n = 0;

	while (operands[n])
		n++;
	if (n < c->least) {
		log_error("missing operand %s" SEE_HELP, c->operands, c->name);
		return 2;
	}
	if (c->most >= 0 && n > c->most) {
		log_error("extra operand '%s'" SEE_HELP, operands[c->most], c->name);
		return 2;
	}
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		const void *field = (const char *)o + options[i].offset;

		if (!options[i].option || (c->options & options[i].option))
			continue;
		if (*options[i].value ? *(const char *const *)field != NULL
				      : *(const bool *)field) {
			log_error("option '--%s' is not valid for pullet %s" SEE_HELP,
				  options[i].name, c->name, c->name);
			return 2;
		}
	}
	if (o->engine && !config_engine_path(o->engine)) {
		log_error("--engine: '%s' is not of the form unix:///PATH", o->engine);
		return 2;
	}
	return 0;
}
