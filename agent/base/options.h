/* SPDX-License-Identifier: MIT */
/* options: the command line of all programs, as a table of long options. */
#pragma once

#include "util.h"

struct option_row {
	const char *name;   /* without the dashes; NULL ends the table */
	const char **value; /* gets the argument, or */
	bool *flag;	    /* is set */
};

/* Reads argv by the table, to which it adds --help and --version, and -n for an option "lines". Returns the index of the first operand, or
 * -1 - STATUS when the program must exit with STATUS: 0 after help or version, 2 after an error message. */
int options_parse(int argc, char **argv, const struct option_row *rows,
		  const char *usage) warn_unused;
