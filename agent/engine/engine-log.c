/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>

#include "calendar.h"
#include "engine-internal.h"

#define LOG_LINES      50
#define LOG_LINE_MAX   500 /* bytes; all lines fit into an event of pullet-update */
#define NEARLY_SAME_NS ((int64_t)250 * 1000 * 1000)

struct log_line {
	int64_t ns; /* when it was written; 0: unknown, or there is no line */
	bool is_stderr;
	const char *text;
	size_t n;
};

/* The newest lines, by time. */
struct log_tail {
	struct log_line lines[LOG_LINES];
	size_t n;
	struct log_line last;
};

/* Whether a says more about the end than b. */
static bool is_later(const struct log_line *a, const struct log_line *b)
{
	int64_t lead = b->is_stderr == a->is_stderr ? 0
		       : a->is_stderr		    ? NEARLY_SAME_NS
						    : -NEARLY_SAME_NS;

	return !b->text || a->ns + lead >= b->ns;
}

/* The engine copies each stream by itself, so lines of one may come behind later ones of the other. */
static void add_line(struct log_tail *t, const struct log_line *line)
{
	size_t at = t->n;

	if (is_later(line, &t->last))
		t->last = *line;
	while (at > 0 && t->lines[at - 1].ns > line->ns)
		at--;
	if (t->n == LOG_LINES) {
		if (at == 0)
			return;
		at--;
		memmove(t->lines, t->lines + 1, at * sizeof(*line));
	} else {
		memmove(t->lines + at + 1, t->lines + at, (t->n++ - at) * sizeof(*line));
	}
	t->lines[at] = *line;
}

/* Takes each line of text, "TIME LINE", that is not blank. */
static void take_lines(const char *text, size_t size, bool is_stderr, struct log_tail *tail)
{
	for (const char *end = text + size, *next; text < end; text = next) {
		const char *line_end = memchr(text, '\n', (size_t)(end - text)), *space;
		struct log_line line = {.is_stderr = is_stderr};
		char time[40];

		line_end = line_end ? line_end : end;
		next = line_end + (line_end < end);
		space = memchr(text, ' ', (size_t)(line_end - text));
		if (!space)
			continue;
		(void)snprintf(time, sizeof(time), "%.*s", (int)(space - text), text);
		line.ns = calendar_parse_time(time);
		line.text = line.ns ? space + 1 : text;
		while (line_end > line.text && strchr(" \t\r", line_end[-1]))
			line_end--;
		line.n = (size_t)(line_end - line.text);
		if (line.n > 0)
			add_line(tail, &line);
	}
}

/* Engine API, "attach": without a TTY each chunk has a header of 8 bytes, {stream, 0, 0, 0, size}. */
static size_t chunk_size(const char *p, size_t n)
{
	const unsigned char *h = (const unsigned char *)p;

	if (n <= 8 || (h[0] != 1 && h[0] != 2) || h[1] || h[2] || h[3])
		return 0;
	return (size_t)h[4] << 24 | (size_t)h[5] << 16 | (size_t)h[6] << 8 | h[7];
}

static void read_tail(const char *body, size_t size, struct log_tail *tail)
{
	for (size_t at = 0, n; at < size; at += 8 + n) {
		const char *chunk = body + at;
		size_t left = size - at;

		n = chunk_size(chunk, left);
		if (n == 0) {
			take_lines(chunk, left, false, tail);
			break;
		}
		n = n < left - 8 ? n : left - 8;
		take_lines(chunk + 8, n, chunk[0] == 2, tail);
	}
}

/* Cut and printable; a tab is harmless as a space. Caller frees. */
static char *copy_line(const struct log_line *line, size_t max)
{
	char *s = xstrndup(line->n ? line->text : "", line->n);

	for (char *tab = s; (tab = strchr(tab, '\t'));)
		*tab = ' ';
	s[text_cut(s, strlen(s) < max ? strlen(s) : max)] = '\0';
	return text_printable(s);
}

int engine_log(struct engine *e, const char *id, json_t **ret, char *last, size_t size)
{
	/* Fewer lines of a program that writes very long ones. */
	static const char tails[][3] = {"50", "5"};
	_cleanup_http_response_ struct http_response answer = {0};
	_cleanup_free_ struct log_tail *tail = xcalloc(1, sizeof(*tail));
	_cleanup_free_ char *text = NULL;
	struct error ignored;
	int r = -EFBIG;

	for (size_t i = 0; r == -EFBIG && i < ARRAY_SIZE(tails); i++) {
		_cleanup_free_ char *path = xasprintf(
			"/containers/%s/logs?stdout=1&stderr=1&timestamps=1&tail=%s", id, tails[i]);

		http_response_free(&answer);
		r = engine_perform(e, e->http, (struct call){"GET", path, .what = "log"}, &answer,
				   &ignored);
	}
	if (r < 0)
		return r;
	read_tail(answer.body, answer.body_len, tail);
	*ret = json_need(json_array());
	for (size_t i = 0; i < tail->n; i++) {
		_cleanup_free_ char *line = copy_line(&tail->lines[i], LOG_LINE_MAX);

		json_append(*ret, json_string_lossy(line));
	}
	text = copy_line(&tail->last, LOG_LINE_MAX);
	copy_text(last, size, text + strspn(text, " "));
	return 0;
}
