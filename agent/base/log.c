/* SPDX-License-Identifier: MIT */
#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

static enum log_level max_level = LOG_LEVEL_INFO;

void log_set_level(enum log_level level)
{
	max_level = level;
}

bool log_to_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	uintmax_t device, inode;
	struct stat st;

	return stream && sscanf(stream, "%ju:%ju", &device, &inode) == 2 &&
	       fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

void log_write(enum log_level level, const char *fmt, ...)
{
	char text[1020];
	_cleanup_free_ char *line = NULL;
	va_list ap;

	if (level > max_level)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* sd-daemon(3): the journal reads the level from the line itself. */
	line = log_to_journal() ? xasprintf("<%d>%s\n", level, text)
				: xasprintf("%s: %s\n", program_invocation_short_name, text);
	/* One write a line: the three programs share standard error. */
	(void)!write(STDERR_FILENO, line, strlen(line));
}
