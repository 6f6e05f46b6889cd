/* SPDX-License-Identifier: MIT */
#include "command.h"

#include <stdio.h>

#include "config.h"
#include "log.h"

#define NAME_COLUMNS 20

static const struct command commands[] = {
	{.name = "status",
	 .operands = "[NAME]",
	 .summary = "what runs, what waits, what was rejected",
	 .help = "Shows all containers as a table, or NAME in full. While pulletd does not run,\n"
		 "what the records in the state directory say.\n",
	 .most = 1,
	 .options = COMMAND_OPTION_WATCH,
	 .run = command_status},
	{.name = "check",
	 .operands = "[NAME]...",
	 .summary = "look for a new image, and take nothing",
	 .help = "Asks the registry now, for each NAME or for all.\n",
	 .most = -1,
	 .run = command_order_check},
	{.name = "update",
	 .operands = "[NAME]...",
	 .summary = "look for a new image, and take it",
	 .help = "Asks the registry now, for each NAME or for all, and waits for the end.\n"
		 "Window and hold stay in force. The update runs in pulletd: Ctrl-C ends the\n"
		 "waiting, not the update.\n",
	 .most = -1,
	 .run = command_order_update},
	{.name = "rollback",
	 .operands = "NAME",
	 .summary = "go back to the version before",
	 .help = "What runs now is rejected: it is not taken again until 'pullet retry NAME'.\n",
	 .least = 1,
	 .most = 1,
	 .run = command_order_rollback},
	{.name = "hold",
	 .operands = "NAME",
	 .summary = "take no update until released",
	 .help = "Lasts over restarts. An update under way is brought to its end.\n",
	 .least = 1,
	 .most = 1,
	 .run = command_order_hold},
	{.name = "release",
	 .operands = "NAME",
	 .summary = "let a held container be updated again",
	 .help = "A 'hold = yes' in the configuration stays in force.\n",
	 .least = 1,
	 .most = 1,
	 .run = command_order_release},
	{.name = "retry",
	 .operands = "NAME",
	 .summary = "forget the digests that were rejected",
	 .help = "The next look may take them again: 'pullet update NAME' looks now.\n",
	 .least = 1,
	 .most = 1,
	 .run = command_order_retry},
	{.name = "config check",
	 .operands = "",
	 .summary = "read the configuration and tell all faults in it",
	 .help = "Reads it as pulletd does at its start and on reload. Needs no pulletd.\n",
	 .run = command_config_check},
	{.name = "verify",
	 .operands = "IMAGE",
	 .summary = "where a reference points, and whether it may run here",
	 .help = "Asks the registry through pullet-fetch: digest, platform, size, and whether\n"
		 "the keys of the containers that follow this image let it run. Takes nothing,\n"
		 "and needs no pulletd.\n",
	 .least = 1,
	 .most = 1,
	 .options = COMMAND_OPTION_PLATFORM,
	 .run = command_verify},
	{.name = "rollout show",
	 .operands = "IMAGE",
	 .summary = "who takes the image, by the policy beside it",
	 .help = "Reads the policy IMAGE.rollout from the registry; see pullet-rollout(5).\n",
	 .least = 1,
	 .most = 1,
	 .run = command_rollout_show},
	{.name = "rollout set",
	 .operands = "IMAGE",
	 .summary = "write a policy: who takes it, and when",
	 .help = "Writes IMAGE.rollout anew, with the next sequence number, for what the tag\n"
		 "points to now. What an option does not say is not in it.\n",
	 .least = 1,
	 .most = 1,
	 .options = COMMAND_OPTION_ROLLOUT,
	 .run = command_rollout_set},
	{.name = "rollout halt",
	 .operands = "IMAGE",
	 .summary = "nobody takes it any more",
	 .help = "Seen by each device at its next poll. What is on trial already ends as it\n"
		 "would have. The rest of the policy stays: 'pullet rollout resume IMAGE'.\n",
	 .least = 1,
	 .most = 1,
	 .run = command_rollout_halt},
	{.name = "rollout resume",
	 .operands = "IMAGE",
	 .summary = "go on where it was halted",
	 .help = "The policy is in force again as it was before 'pullet rollout halt'.\n",
	 .least = 1,
	 .most = 1,
	 .run = command_rollout_resume},
};

static const struct {
	unsigned int option; /* 0: every command has it */
	const char *name, *value, *help;
} options[] = {
	{COMMAND_OPTION_WATCH, "watch", "", "show each change, until Ctrl-C"},
	{COMMAND_OPTION_PLATFORM, "platform", "OS/ARCH[/VARIANT]", "for another machine than this"},
	{COMMAND_OPTION_ROLLOUT, "percent", "NUMBER", "share of the devices, from now on"},
	{COMMAND_OPTION_ROLLOUT, "ramp", "TIME=NUMBER,...", "shares at times, growing between"},
	{COMMAND_OPTION_ROLLOUT, "ring", "NAME=NUMBER,...", "another share for these rings"},
	{COMMAND_OPTION_ROLLOUT, "not-before", "TIME", "nobody before; 2026-12-01T08:00:00Z"},
	{COMMAND_OPTION_ROLLOUT, "minimum-version", "N.N.N", "only by this pullet or newer"},
	{COMMAND_OPTION_ROLLOUT, "target", "DIGEST", "for another image than the tag's"},
	{COMMAND_OPTION_ROLLOUT, "sequence", "N", "instead of the next number"},
	{0, "config", "FILE", "configuration (" CONFIG_PATH_DEFAULT ")"},
	{0, "state-dir", "DIR", "records (" CONFIG_STATE_DIR_DEFAULT ")"},
	{0, "engine", "URL", "Docker socket, unix:///PATH; only pulletd speaks to it"},
	{0, "json", "", "for scripts: JSON on standard output"},
	{0, "help", "", "what you read; of a command behind its name"},
	{0, "version", "", "of pullet"},
};

static const char status_help[] =
	"Exit status: 0 all well; 1 something failed, was refused or rolled back;\n"
	"2 usage or configuration.\n";

/* Whether words begin with those of name; how many these are. */
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

static void print_options(FILE *f, unsigned int own, bool common)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		_cleanup_free_ char *left = NULL;

		if (options[i].option ? !(own & options[i].option) : !common)
			continue;
		left = xasprintf("--%s%s%s", options[i].name, *options[i].value ? " " : "",
				 options[i].value);
		fprintf(f, "  %-*s%s%s\n", *options[i].help ? NAME_COLUMNS : 0, left,
			*options[i].help ? "  " : "", options[i].help);
	}
}

static char *finish(FILE *f, char **text)
{
	if (fclose(f) != 0)
		abort();
	return *text;
}

static FILE *start(char **text, size_t *len)
{
	FILE *f = open_memstream(text, len);

	if (!f)
		abort();
	return f;
}

char *command_usage(void)
{
	char *text;
	size_t len;
	FILE *f = start(&text, &len);

	fputs("Usage: pullet [OPTION]... COMMAND [OPERAND]...\n\n"
	      "Shows and steers what pulletd does for the containers of this machine.\n\n",
	      f);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		_cleanup_free_ char *left =
			xasprintf("%s %s", commands[i].name, commands[i].operands);

		fprintf(f, "  %-*s  %s\n", NAME_COLUMNS, left, commands[i].summary);
	}
	fputs("\npullet COMMAND --help tells more of each. Options of all:\n\n", f);
	print_options(f, 0, true);
	fprintf(f, "\n%s", status_help);
	return finish(f, &text);
}

char *command_help(const struct command *c)
{
	char *text;
	size_t len;
	FILE *f = start(&text, &len);

	fprintf(f, "Usage: pullet %s [OPTION]...%s%s\n\n%s\n", c->name, *c->operands ? " " : "",
		c->operands, c->help);
	print_options(f, c->options, true);
	fprintf(f, "\n%s", status_help);
	return finish(f, &text);
}

static int complain(const struct command *c, const char *what)
{
	log_error("%s; see: pullet %s --help", what, c->name);
	return 2;
}

int command_check(const struct command *c, const struct command_options *o,
		  const char *const *operands)
{
	int n = 0;

	while (operands[n])
		n++;
	if (n < c->least)
		return complain(c,
				streq(c->operands, "NAME") ? "which container?" : "which image?");
	if (c->most >= 0 && n > c->most) {
		_cleanup_free_ char *what = xasprintf("one thing too many: %s", operands[c->most]);

		return complain(c, what);
	}
	if (o->watch && !(c->options & COMMAND_OPTION_WATCH))
		return complain(c, "--watch is for pullet status");
	if ((o->percent || o->ramp || o->ring || o->not_before || o->minimum_version || o->target ||
	     o->sequence) &&
	    !(c->options & COMMAND_OPTION_ROLLOUT))
		return complain(c, "--percent and its kin are for pullet rollout set");
	if (o->platform && !(c->options & COMMAND_OPTION_PLATFORM))
		return complain(c, "--platform is for pullet verify");
	if (o->engine && !config_engine_path(o->engine)) {
		log_error("--engine: '%s' is not of the form unix:///PATH", o->engine);
		return 2;
	}
	return 0;
}
