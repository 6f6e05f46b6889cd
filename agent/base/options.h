/* SPDX-License-Identifier: MIT */
/* options: the command line of all programs, as a table of long options. */
#pragma once

#include "util.h"

struct option_row {
	const char *name;   /* without the dashes; NULL ends the table */
	const char **value; /* gets the argument, or */
	bool *flag;	    /* is set */
};

/* Reads argv by the table; --help and --version are always there. Returns the index of the first
 * operand; or a negative number -1 - STATUS when the program shall end with STATUS: help and version
 * were printed (0), or the usage was wrong and has been told (2). */
int options_parse(int argc, char **argv, const struct option_row *rows,
		  const char *usage) warn_unused;
