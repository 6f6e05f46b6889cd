/* SPDX-License-Identifier: MIT */
#include "terminal.h"

#include <stdio.h>
#include <sys/ioctl.h>

#define WIDTH_DEFAULT 80
#define WIDTH_MIN     40

struct terminal terminal_of(int fd)
{
	const char *term = getenv("TERM"), *no_colour = getenv("NO_COLOR");
	struct terminal t = {.width = WIDTH_DEFAULT};
	struct winsize size;

	t.live = isatty(fd) && term && !streq(term, "dumb");
	/* https://no-color.org: set and not empty. */
	t.colours = t.live && !(no_colour && *no_colour);
	if (isatty(fd) && ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col >= WIDTH_MIN)
		t.width = size.ws_col;
	return t;
}

const char *terminal_tint(bool colours, enum tint tint)
{
	static const char *const codes[] = {
		[TINT_NONE] = "",
		[TINT_BAD] = "\033[31m",
		[TINT_WAIT] = "\033[33m",
	};

	return colours ? codes[tint] : "";
}

const char *terminal_plain(bool colours, enum tint tint)
{
	return colours && tint != TINT_NONE ? "\033[0m" : "";
}
