/* SPDX-License-Identifier: MIT */
#include "bar.h"

#include <stdio.h>

#define DRAW_EACH_MS 100

void bar_init(struct bar *b, bool quiet)
{
	*b = (struct bar){.terminal = terminal_of(STDERR_FILENO)};
	b->terminal.live &= !quiet;
}

void bar_clear(struct bar *b)
{
	if (b->terminal.live && b->drawn_ms > 0)
		fputs("\r\033[K", stderr);
	b->drawn_ms = 0;
}

static bool is_due(struct bar *b)
{
	uint64_t now = now_ms();

	if (!b->terminal.live || !b->what || now - b->drawn_ms < DRAW_EACH_MS)
		return false;
	b->drawn_ms = now;
	return true;
}

static void draw(const char *line)
{
	fprintf(stderr, "\r%s\033[K", line);
	(void)fflush(stderr);
}

void bar_begin(struct bar *b, const char *what)
{
	bar_clear(b);
	b->what = what;
	b->progress = (struct progress){0};
	if (is_due(b))
		draw(what);
}

void bar_bytes(void *userdata, uint64_t bytes, uint64_t whole)
{
	struct bar *b = userdata;
	_cleanup_free_ char *line = NULL;

	progress_note(&b->progress, bytes, whole, now_ms());
	if (!is_due(b))
		return;
	line = progress_bar(&b->progress, b->what, b->terminal.width - 1);
	draw(line);
}

void bar_part(void *userdata, uint64_t part, uint64_t whole)
{
	struct bar *b = userdata;
	_cleanup_free_ char *line = NULL, *percent = NULL;

	if (!is_due(b))
		return;
	percent = xasprintf("%3u%%", whole ? (unsigned int)(part * 100 / whole) : 0);
	line = progress_draw(b->what, percent, part, whole, b->terminal.width - 1);
	draw(line);
}
