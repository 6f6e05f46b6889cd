/* SPDX-License-Identifier: MIT */
/* pullet: the command that people type. Its commands and options are two tables: --help, the check of the arguments,
 * and the tests of the manual and of the completions use them. A new command is a row and a function in
 * command-NOUN.c. */
#include <locale.h>
#include <stdio.h>

#include "command.h"
#include "config.h"
#include "log.h"
#include "options.h"
#include "similar.h"

#define NAME_COLUMNS 20
#define SEE_HELP     "; see: pullet %s --help"

struct command {
	const char *name;     /* one word, or two: "config check" */
	const char *operands; /* as in the usage: "" for none, [NAME] if it may be left out */
	const char
		*summary; /* in the list of all commands; NULL: it is for units, not for people */
	const char *help; /* whole lines of 80 columns at most */
	int least, most;  /* number of operands; most < 0: any */
	/* operands ends with NULL. Returns the exit status. */
	int (*run)(const struct command_options *o, const char *const *operands);
};

static const struct command commands[] = {
	{"status", "[NAME]", "show state, waiting updates and rejected digests",
	 "Shows all containers as a table, or NAME in detail. While pulletd is stopped, it\n"
	 "shows the records in the state directory.\n",
	 0, 1, command_status},
	{"log", "[NAME]...", "show the history of updates",
	 "Shows what was updated, rolled back, refused, held and released, newest last:\n"
	 "the last 20 results of each NAME or of all containers.\n",
	 0, -1, command_log},
	{"check", "[NAME]...", "look for a new image without taking it",
	 "Asks the registry now, for each NAME or for all containers.\n", 0, -1, command_operation},
	{"update", "[NAME]...", "look for a new image and take it",
	 "Asks the registry now, for each NAME or for all containers, and waits for the\n"
	 "result. Windows stay in force without --now, and holds always. The update runs\n"
	 "in pulletd: Ctrl-C ends the waiting, not the update.\n",
	 0, -1, command_operation},
	{"rollback", "NAME", "go back to the previous image",
	 "The image that runs now is rejected: it is not taken again until\n"
	 "'pullet retry NAME'.\n",
	 1, 1, command_operation},
	{"hold", "NAME...", "take no updates until released",
	 "A hold survives restarts. An update that is under way is completed, and status\n"
	 "goes on showing what waits.\n",
	 1, -1, command_operation},
	{"release", "NAME...", "let a held container be updated again",
	 "A 'hold = yes' in the configuration stays in force.\n", 1, -1, command_operation},
	{"retry", "NAME", "forget the rejected digests",
	 "The next check may take them again; 'pullet update NAME' checks now. What was\n"
	 "seen of a rollout policy is forgotten, too.\n",
	 1, 1, command_operation},
	{"adopt", "[NAME]...", "print sections for containers that are not followed",
	 "Prints the configuration that follows each container of the engine, or each\n"
	 "NAME, and as a comment what cannot be followed, with the reason. --write adds\n"
	 "it to conf.d/adopted.conf beside the configuration, and pulletd follows it.\n",
	 0, -1, command_adopt},
	{"doctor", "", "show what is wrong here, and the command that mends it",
	 "Asks the services for what an update needs: units, files, engine, registries,\n"
	 "certificates, records, clock and disk space. Changes nothing; root only.\n",
	 0, 0, command_doctor},
	{"forget", "[NAME]...", "remove what is kept of a section that is gone",
	 "Removes the record of each NAME, which the configuration no longer has, and the\n"
	 "image that was kept for a rollback. No container is touched.\n",
	 0, -1, command_forget},
	{"config check", "", "read the configuration and report all errors",
	 "Reads it as pulletd does at start and on reload. Works without pulletd.\n", 0, 0,
	 command_config_check},
	{"config show", "[NAME]", "show each setting in force and where it comes from",
	 "Shows all settings, or those of [container NAME], each with file and line, or\n"
	 "'default'. The output is a valid configuration. Works without pulletd.\n",
	 0, 1, command_config_show},
	{"verify", "IMAGE", "show where a reference points and if it may run here",
	 "Asks the registry for digest, platform and size, and shows each signature, and\n"
	 "whether the keys of the containers that follow this image allow it to run.\n"
	 "Takes nothing, and works without pulletd.\n",
	 1, 1, command_verify},
	{"login", "HOST[:PORT]", "keep user name and password of a registry",
	 "Asks for user name and password, or reads the password from a pipe, tries them\n"
	 "at the registry and writes them to /etc/pullet/auth.d. They count at once:\n"
	 "nothing is restarted.\n",
	 1, 1, command_login},
	{"logout", "HOST[:PORT]", "remove what 'pullet login' wrote",
	 "The containers go on; their images are asked for without a login.\n", 1, 1,
	 command_logout},
	{"rollout show", "IMAGE", "show the rollout policy of an image",
	 "Reads the policy IMAGE.rollout from the registry; see pullet-rollout(5).\n", 1, 1,
	 command_rollout},
	{"rollout set", "IMAGE", "write a rollout policy: which devices, and when",
	 "Replaces the policy IMAGE.rollout by one for the image that the tag points to\n"
	 "now, with the next sequence number. It holds what the options say, no more.\n",
	 1, 1, command_rollout},
	{"rollout halt", "IMAGE", "let no further device take the image",
	 "Each device sees it at its next poll; trials that have begun are completed. The\n"
	 "rest of the policy stays as it is, for 'pullet rollout resume IMAGE'.\n",
	 1, 1, command_rollout},
	{"rollout resume", "IMAGE", "continue a halted rollout",
	 "The policy is in force again as it was before 'pullet rollout halt'.\n", 1, 1,
	 command_rollout},
	{"rollout clear", "IMAGE", "end all rollouts: every device updates at once",
	 "Replaces the policy IMAGE.rollout by one that frees each device, until the next\n"
	 "'pullet rollout set'. A policy that is only deleted holds the devices.\n",
	 1, 1, command_rollout},
	{"delta make", "OLD NEW", "make a small download from one image to the next",
	 "Compares the layers of two images of one repository, and pushes what a device\n"
	 "that runs OLD needs to have NEW, if that pays. With --from, OLD is a file of\n"
	 "references or digests, the newest last. Needs the package pullet-publish.\n",
	 2, 2, command_delta},
	{"delta show", "IMAGE", "show the deltas that lead to an image",
	 "Asks the registry for the deltas to IMAGE, with their sizes, for each platform.\n"
	 "Needs the package pullet-publish.\n",
	 1, 1, command_delta},
	{"run-unit", "", NULL, "Starts the units of hooks; see pullet.conf(5).\n", 0, 0,
	 command_run_unit},
};

static struct command_options given = {.config = CONFIG_PATH_DEFAULT,
				       .state_dir = CONFIG_STATE_DIR_DEFAULT};

static const struct {
	const char *name, *value, *help;
	const char *command; /* that has it, or the first word of those that do; NULL: every one */
	const char **text;   /* gets the value, or */
	bool *flag;	     /* is set */
} options[] = {
	{"all", "", "also what is left out on a doubt", "adopt", .flag = &given.all},
	{"write", "", "add them to the configuration", "adopt", .flag = &given.write},
	{"watch", "", "show each change, until Ctrl-C", "status", .flag = &given.watch},
	{"lines", "NUMBER", "the newest ones only; -n is short for it", "log",
	 .text = &given.lines},
	{"gone", "", "all records without a section", "forget", .flag = &given.gone},
	{"now", "", "past windows, min-age, speed and budget", "update", .flag = &given.now},
	{"until", "TIME", "release by itself: 2026-12-24, 'tomorrow 18:00', 3d", "hold",
	 .text = &given.until},
	{"reason", "TEXT", "why, for status and the journal", "hold", .text = &given.reason},
	{"platform", "OS/ARCH[/VARIANT]", "for another machine than this one", "verify",
	 .text = &given.platform},
	{"platform", "PLATFORM", "of this platform only: arm64, arm/v7", "delta",
	 .text = &given.platform},
	{"from", "N", "from the last N images of a file; - is stdin", "delta make",
	 .text = &given.from},
	{"dry-run", "", "make and test them, push nothing", "delta make", .flag = &given.dry_run},
	{"user", "NAME", "user name, instead of asking", "login", .text = &given.user},
	{"from", "FILE", "docker's config.json to take it from; - is stdin", "login",
	 .text = &given.from},
	{"password-stdin", "", "read the password from standard input", "login",
	 .flag = &given.password_stdin},
	{"percent", "NUMBER", "percentage of the devices, from now on", "rollout set",
	 .text = &given.percent},
	{"ramp", "TIME=NUMBER,...", "percentages at times, growing in between", "rollout set",
	 .text = &given.ramp},
	{"ring", "NAME=NUMBER,...", "other percentages for these rings", "rollout set",
	 .text = &given.ring},
	{"not-before", "TIME", "no device takes it before; 2026-12-01T08:00:00Z", "rollout set",
	 .text = &given.not_before},
	{"minimum-version", "N.N.N", "only devices with this pullet or newer", "rollout set",
	 .text = &given.minimum_version},
	{"target", "DIGEST", "image to roll out, instead of the tag's", "rollout set",
	 .text = &given.target},
	{"sequence", "N", "sequence number, instead of the next", "rollout set",
	 .text = &given.sequence},
	{"config", "FILE", "configuration (" CONFIG_PATH_DEFAULT ")", .text = &given.config},
	{"state-dir", "DIR", "records (" CONFIG_STATE_DIR_DEFAULT ")", .text = &given.state_dir},
	{"engine", "URL", "engine socket, unix:///PATH; of doctor and forget",
	 .text = &given.engine},
	{"json", "", "print JSON, for scripts", .flag = &given.json},
	{"help", "", "show this help; after a command, help for it", .flag = &given.help},
	{.name = "version", .value = "", .help = "show the version"}, /* options_parse() has it */
};

static const char status_help[] =
	"Exit status: 0 success; 1 something failed, was refused or rolled back;\n"
	"2 wrong usage or configuration.\n";

/* How many words the command's name has, if words begin with it; else 0. */
static int match(const char *name, const char *const *words)
{
	size_t first = strcspn(name, " ");

	if (!words[0] || strlen(words[0]) != first || strncmp(words[0], name, first) != 0)
		return 0;
	if (!name[first])
		return 1;
	return words[1] && streq(words[1], name + first + 1) ? 2 : 0;
}

static const struct command *find_command(const char *const *words, int *ret_words)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		*ret_words = match(commands[i].name, words);
		if (*ret_words)
			return &commands[i];
	}
	return NULL;
}

/* Whether the command's name has two words, of which the first is that one. */
static bool is_of_group(const char *command, const char *group)
{
	const char *rest = group ? after_prefix(command, group) : NULL;

	return rest && *rest == ' ';
}

/* Whether option i is one of the command; NULL: of all. */
static bool is_option_of(size_t i, const char *command)
{
	const char *of = options[i].command;

	return !of || (command && (streq(of, command) || is_of_group(command, of)));
}

/* Whether the command has an option of that name. Two commands may have different ones of one name. */
static bool takes_option(const char *command, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		if (streq(options[i].name, name) && is_option_of(i, command))
			return true;
	}
	return false;
}

/* "  NAME VALUE          help" */
static void print_row(FILE *f, const char *dashes, const char *name, const char *value,
		      const char *help)
{
	_cleanup_free_ char *left = xasprintf("%s%s%s%s", dashes, name, *value ? " " : "", value);

	fprintf(f, "  %-*s  %s\n", NAME_COLUMNS, left, help);
}

/* command: its name; NULL: the options of all commands. */
static void print_options(FILE *f, const char *command)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		if (is_option_of(i, command))
			print_row(f, "--", options[i].name, options[i].value, options[i].help);
	}
}

/* group: the first word of the commands that are meant; NULL: all. */
static void print_usage(FILE *f, const char *group)
{
	fprintf(f,
		"Usage: pullet [OPTION]... %s%sCOMMAND [OPERAND]...\n\n"
		"Shows and controls what pulletd does for the containers of this machine.\n\n",
		group ? group : "", group ? " " : "");
	for (const struct command *c = commands; c < commands + ARRAY_SIZE(commands); c++) {
		if (c->summary && (!group || is_of_group(c->name, group)))
			print_row(f, "", c->name, c->operands, c->summary);
	}
	fputs("\n'pullet COMMAND --help' describes a command. Options of all commands:\n\n", f);
	print_options(f, NULL);
	fprintf(f, "\n%s", status_help);
}

/* Complains about words that are no command. Exit status. */
static int complain(const char *const *words, bool is_group)
{
	_cleanup_free_ char *pair = words[1] ? xasprintf("%s %s", words[0], words[1]) : NULL;
	struct similar similar = {0};
	_cleanup_free_ char *hint = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		const char *name = commands[i].name;

		similar.given = words[0];
		similar_try(&similar, name, strcspn(name, " "));
		similar.given = pair ? pair : words[0];
		similar_try(&similar, name, strlen(name));
	}
	hint = similar_hint(&similar);
	log_error("unknown command '%s'%s; see: pullet %s%s--help", is_group ? pair : words[0],
		  hint, is_group ? words[0] : "", is_group ? " " : "");
	return 2;
}

static void print_help(const struct command *c)
{
	printf("Usage: pullet %s [OPTION]...%s%s\n\n%s\n", c->name, *c->operands ? " " : "",
	       c->operands, c->help);
	print_options(stdout, c->name);
	printf("\n%s", status_help);
}

/* Checks operands and options. False after an error message. */
static bool check(const struct command *c, const char *const *operands)
{
	int n = 0;

	while (operands[n])
		n++;
	if (n < c->least) {
		log_error("missing operand %.*s" SEE_HELP, (int)strcspn(c->operands, "."),
			  c->operands, c->name);
		return false;
	}
	if (c->most >= 0 && n > c->most) {
		log_error("extra operand '%s'" SEE_HELP, operands[c->most], c->name);
		return false;
	}
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		if (!options[i].text && !options[i].flag)
			continue;
		if (takes_option(c->name, options[i].name))
			continue;
		if (options[i].text ? *options[i].text != NULL : *options[i].flag) {
			log_error("option '--%s' is not valid for pullet %s" SEE_HELP,
				  options[i].name, c->name, c->name);
			return false;
		}
	}
	if (given.engine && !config_engine_path(given.engine)) {
		log_error("--engine: '%s' is not of the form unix:///PATH", given.engine);
		return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	struct option_row rows[ARRAY_SIZE(options)] = {0};
	const struct command *command;
	const char *const *words;
	bool is_group = false;
	int first, n = 0;

	/* Texts are UTF-8 in every locale. */
	(void)setlocale(LC_CTYPE, "C.UTF-8");
	/* The place of the last, --version, is the end of the table. */
	for (size_t i = 0; i + 1 < ARRAY_SIZE(options); i++)
		rows[i] = (struct option_row){options[i].name, options[i].text, options[i].flag};
	first = options_parse(argc, argv, rows, "");
	if (first < 0)
		return -1 - first;
	words = (const char *const *)(argv + first);
	command = find_command(words, &n);
	for (size_t i = 0; i < ARRAY_SIZE(commands) && !command; i++)
		is_group |= is_of_group(commands[i].name, words[0]);
	if (!command && words[0] && (!is_group || (words[1] && !given.help)))
		return complain(words, is_group);
	if (!command) {
		print_usage(given.help ? stdout : stderr, is_group ? words[0] : NULL);
		return given.help ? 0 : 2;
	}
	if (given.help) {
		print_help(command);
		return 0;
	}
	given.command = command->name;
	return check(command, words + n) ? command->run(&given, words + n) : 2;
}
