/* SPDX-License-Identifier: MIT */
/* Spans and windows of the configuration, times of the engine and of policies. */
#include "calendar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define SPAN_MAX_MS ((uint64_t)11 * 366 * 24 * 3600 * 1000)

static void read_window(const char *s)
{
	struct tm tm = {.tm_wday = 3, .tm_hour = 5};
	struct window w;

	if (calendar_parse_window(s, &w) < 0)
		return;
	(void)calendar_in_window(&w, &tm);
	if (w.start > 24 * 60 || w.end > 24 * 60)
		abort();
}

/* What was read and is written down again is the same time. */
static void read_time(const char *s)
{
	struct timespec t, again;
	char text[64];

	(void)calendar_parse_time(s);
	if (calendar_parse_rfc3339(s, &t) < 0)
		return;
	(void)calendar_rfc3339(t.tv_sec, text, sizeof(text));
	if (calendar_parse_rfc3339(text, &again) < 0 || again.tv_sec != t.tv_sec)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_free_ char *s = xstrndup((const char *)data, n);
	uint64_t ms;

	if (calendar_parse_span(s, &ms) == 0 && ms > SPAN_MAX_MS)
		abort();
	read_window(s);
	read_time(s);
	return 0;
}
