/* SPDX-License-Identifier: MIT */
#include "show.h"

#include <inttypes.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "journal.h"

static void clear_progress(struct show *s)
{
	if (s->progress_shown)
		fputs("\r\033[K", stderr);
	s->progress_shown = false;
}

void show_progress(struct show *s, struct unit *u, const json_t *event)
{
	uint64_t current = (uint64_t)json_integer_value(json_object_get(event, "current"));

	tally_bytes(&u->tally, u->current, current);
	u->current = current;
	u->total = (uint64_t)json_integer_value(json_object_get(event, "total"));
	bus_changed(s->bus, u, "Progress");
	if (!s->once || s->json || !isatty(STDERR_FILENO))
		return;
	fprintf(stderr, "\r\033[K%s: %" PRIu64 " of %" PRIu64 " bytes", u->config->name, u->current,
		u->total);
	s->progress_shown = true;
}

void show_phase(struct show *s, struct unit *u, const json_t *event)
{
	const char *phase = json_get_string(event, "phase");
	const char *digest = json_get_string(event, "digest");

	if (!phase || !digest)
		return;
	u->under_way = !streq(phase, "idle");
	bus_changed(s->bus, u, "Phase", "Target");
	reporter_phase(s->reporter, u, phase, digest);
	if (s->json)
		return;
	clear_progress(s);
	(void)sd_notifyf(0, "STATUS=%s: %s", u->config->name, phase);
	journal_phase(u->config->name, phase, digest);
}

void show_result(struct show *s, const json_t *result)
{
	_cleanup_free_ char *text = NULL;

	clear_progress(s);
	if (!s->once)
		return;
	text = s->json ? json_text(result, JSON_COMPACT) : result_text(result);
	puts(text);
	fflush(stdout);
}

void show_new_result(struct show *s, const json_t *result)
{
	journal_result(result);
	reporter_result(s->reporter, result);
}

void show_job(const struct job *job)
{
	const char *word = operation_name(job->operation);

	if (job->n == 1)
		(void)sd_notifyf(0, "STATUS=%s: %s", job->members[0].name, word);
	else
		(void)sd_notifyf(0, "STATUS=%s of %zu containers", word, job->n);
}

/* A point in time, not a span: it stands there until the next round. */
void show_rest(const struct unit_table *t, const char *fault, uint64_t due_ms)
{
	uint64_t now = now_ms();
	time_t due = time(NULL) + (time_t)(due_ms > now ? (due_ms - now) / 1000 : 0);
	_cleanup_free_ char *failing = NULL;
	struct tm local;
	char at[16];

	for (size_t i = 0; i < t->n && !failing; i++) {
		if (t->units[i].failing)
			failing = xasprintf(", %s is failing", t->units[i].config->name);
	}
	(void)strftime(at, sizeof(at), "%H:%M:%S", localtime_r(&due, &local));
	(void)sd_notifyf(0, "STATUS=%s%s%zu container%s%s, next check at %s", fault ? fault : "",
			 fault ? "; updates are suspended; " : "", t->n, t->n == 1 ? "" : "s",
			 failing ? failing : "", at);
}
