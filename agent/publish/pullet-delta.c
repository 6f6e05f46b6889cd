/* SPDX-License-Identifier: MIT */
/* pullet-delta: makes and shows deltas, for publishers. It has no network: a child pullet-fetch --publish brings layers
 * and pushes patches. */
#include <locale.h>
#include <signal.h>
#include <stdio.h>

#include "config.h"
#include "delta.h"
#include "log.h"
#include "options.h"

static const char usage[] =
	"Usage: pullet delta make [OPTION]... OLD NEW\n"
	"       pullet delta make --from N [OPTION]... FILE NEW\n"
	"       pullet delta show [OPTION]... IMAGE\n"
	"Makes deltas from the image OLD, or from the last N images of a file, to the image NEW,\n"
	"and pushes them beside NEW; shows those that lead to IMAGE. See pullet-delta(1).\n"
	"  --platform P   of this platform only, like arm64 or arm/v7\n"
	"  --from N       OLD is a file of references or digests, the newest last; - is stdin\n"
	"  --dry-run      make and test them, push nothing\n"
	"  --config FILE  configuration (" CONFIG_PATH_DEFAULT ")\n"
	"  --json         print JSON, for scripts\n"
	"  --help, --version\n";

/* All files are without a name, and pullet-fetch ends with its parent. */
static void on_signal(int number)
{
	static const char text[] =
		"\npullet delta: interrupted; what was pushed is complete, nothing else is left\n";

	(void)!write(STDERR_FILENO, text, sizeof(text) - 1);
	_exit(128 + number);
}

static void catch_signals(void)
{
	const struct sigaction end = {.sa_handler = on_signal};

	(void)sigaction(SIGINT, &end, NULL);
	(void)sigaction(SIGTERM, &end, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
}

static int complain(const char *text)
{
	log_error("%s; see: pullet delta --help", text);
	return 2;
}

int main(int argc, char **argv)
{
	struct delta_options o = {.config = CONFIG_PATH_DEFAULT};
	const struct option_row rows[] = {
		{"config", &o.config, NULL},   {"platform", &o.platform, NULL},
		{"from", &o.from, NULL},       {"json", NULL, &o.json},
		{"dry-run", NULL, &o.dry_run}, {0}};
	int first;

	(void)setlocale(LC_CTYPE, "C.UTF-8");
	first = options_parse(argc, argv, rows, usage);
	if (first < 0)
		return -1 - first;
	catch_signals();
	argv += first;
	argc -= first;
	if (argc == 3 && streq(argv[0], "make"))
		return delta_make(&o, argv[1], argv[2]);
	if (argc == 2 && streq(argv[0], "show"))
		return delta_show(&o, argv[1]);
	if (argc == 0)
		return complain("missing operand make or show");
	if (!streq(argv[0], "make") && !streq(argv[0], "show"))
		return complain("neither make nor show");
	return complain(streq(argv[0], "make") ? "make takes OLD and NEW" : "show takes IMAGE");
}
