/* SPDX-License-Identifier: MIT */
/* log: lines on standard error. Under systemd they carry the journal's <level> prefix.
 * Log once, where you give up, with the fact and its consequence. Whoever returns an error does not log it;
 * the programs, the pass and its actions log what they go on from. */
#pragma once

#include "util.h"

enum log_level {
	LOG_LEVEL_ERROR = 3, /* numbers of syslog(3) */
	LOG_LEVEL_WARNING = 4,
	/* notice in syslog(3): systemd's own lines about each start and end are info, and units drop those. */
	LOG_LEVEL_INFO = 5,
	LOG_LEVEL_DEBUG = 7,
};

void log_set_level(enum log_level level);
/* Whether standard error is the journal's stream, and not what a shell or a program between put in its
 * place: $JOURNAL_STREAM names it by device and inode (sd-daemon(3)). */
bool log_to_journal(void);
void log_write(enum log_level level, const char *fmt, ...) format_printf(2, 3);

#define log_error(...)	 log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)	 log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)	 log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)
