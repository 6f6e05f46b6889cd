/* SPDX-License-Identifier: MIT */
#include "progress.h"

#include <stdio.h>

#include "terminal.h"

#define SMOOTHING_MS 5000.0 /* weight of the earlier rate */
#define MEASURE_MS   200    /* shorter spans measure scheduling, not the link */
#define LINE_EACH_MS 10000
#define BAR_MIN	     10
#define BAR_MAX	     40
#define LONG_S	     (100 * 3600)
#define RATE_MAX     1e18

void progress_note(struct progress *p, uint64_t bytes, uint64_t total, uint64_t now_ms)
{
	p->bytes = bytes;
	p->total = total > bytes ? total : bytes;
	if (!p->measuring || bytes < p->measured_bytes) {
		p->rate = 0;
	} else if (now_ms < p->measured_ms + MEASURE_MS) {
		return;
	} else {
		double span = (double)(now_ms - p->measured_ms);
		double rate = (double)(bytes - p->measured_bytes) * 1000 / span;

		if (p->rate > 0)
			rate = (p->rate * SMOOTHING_MS + rate * span) / (SMOOTHING_MS + span);
		p->rate = rate < RATE_MAX ? rate : RATE_MAX;
	}
	p->measuring = true;
	p->measured_ms = now_ms;
	p->measured_bytes = bytes;
}

/* "0:27", "1:02:03"; "-:--" when the rate is unknown. Caller frees. */
static char *time_left(const struct progress *p)
{
	double left = p->rate >= 1 ? (double)(p->total - p->bytes) / p->rate + 0.5 : -1;
	unsigned int s;

	if (left < 0 || left >= LONG_S)
		return xstrdup("-:--");
	s = (unsigned int)left;
	if (s >= 3600)
		return xasprintf("%u:%02u:%02u", s / 3600, s / 60 % 60, s % 60);
	return xasprintf("%u:%02u", s / 60, s % 60);
}

/* For a bar, or for a line of its own. Caller frees. */
static char *figures(const struct progress *p, bool bar)
{
	unsigned int percent =
		p->total ? (unsigned int)((double)p->bytes * 100 / (double)p->total) : 0;
	_cleanup_free_ char *bytes = text_bytes(p->bytes), *total = text_bytes(p->total);
	_cleanup_free_ char *rate = text_bytes((uint64_t)p->rate), *left = time_left(p);

	if (bar)
		return xasprintf("%3u%%  %s of %s  %s/s  %s", percent, bytes, total, rate, left);
	return xasprintf("%s of %s (%u%%), %s/s, %s to go", bytes, total, percent, rate, left);
}

char *progress_draw(const char *name, const char *text, uint64_t part, uint64_t whole, size_t width)
{
	size_t room, name_width, bar, full;
	char line[BAR_MAX + 1];

	/* The figures have priority, then the name, then the bar. */
	if (width < strlen(text) + 4)
		return xasprintf("%.*s", (int)width, text);
	room = width - strlen(text) - 2;
	name_width = strnlen(name, room);
	if (room < name_width + 4 + BAR_MIN)
		return xasprintf("%.*s  %s", (int)name_width, name, text);
	bar = room - name_width - 4;
	if (bar > BAR_MAX)
		bar = BAR_MAX;
	full = whole ? (size_t)((double)part * (double)bar / (double)whole) : 0;
	memset(line, '#', full);
	memset(line + full, '.', bar - full);
	line[bar] = '\0';
	return xasprintf("%s  [%s]  %s", name, line, text);
}

char *progress_bar(const struct progress *p, const char *name, size_t width)
{
	_cleanup_free_ char *numbers = figures(p, true);

	return progress_draw(name, numbers, p->bytes, p->total, width);
}

char *progress_line(struct progress *p, const char *name, uint64_t now_ms)
{
	_cleanup_free_ char *numbers = figures(p, false);

	/* The first line waits for a rate. */
	if (p->rate <= 0 || now_ms < p->next_line_ms)
		return NULL;
	p->next_line_ms = now_ms + LINE_EACH_MS;
	return xasprintf("%s: %s", name, numbers);
}
