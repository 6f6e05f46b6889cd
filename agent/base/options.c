/* SPDX-License-Identifier: MIT */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>

#define OPTIONS_MAX 48
#define END(status) (-1 - (status))

int options_parse(int argc, char **argv, const struct option_row *rows, const char *usage)
{
	struct option longs[OPTIONS_MAX + 3] = {0};
	const char *shorts = "";
	size_t n = 0, lines = 0;
	int c;

	for (; rows[n].name && n < OPTIONS_MAX; n++) {
		longs[n].name = rows[n].name;
		longs[n].has_arg = rows[n].value ? required_argument : no_argument;
		longs[n].val = (int)n;
		if (streq(rows[n].name, "lines")) {
			lines = n;
			shorts = "n:";
		}
	}
	longs[n] = (struct option){.name = "help", .val = 'h'};
	longs[n + 1] = (struct option){.name = "version", .val = 'v'};
	while ((c = getopt_long(argc, argv, shorts, longs, NULL)) >= 0) {
		if (c == 'n')
			c = (int)lines;
		if (c == 'h') {
			fputs(usage, stdout);
			return END(0);
		}
		if (c == 'v') {
			printf("%s " PULLET_VERSION "\n", program_invocation_short_name);
			return END(0);
		}
		if (c == '?') { /* getopt_long() has told why */
			fprintf(stderr, "Try '%s --help' for more information.\n",
				program_invocation_short_name);
			return END(2);
		}
		if (rows[c].value)
			*rows[c].value = optarg;
		else
			*rows[c].flag = true;
	}
	return optind;
}
