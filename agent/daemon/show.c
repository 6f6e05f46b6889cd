/* SPDX-License-Identifier: MIT */
#include "show.h"

#include <inttypes.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-journal.h>
#include <time.h>

#include "log.h"

/* Phases and results. Each id has its text in systemd/pullet.catalog; a test compares. */
static const struct {
	const char *what, *id;
} messages[] = {
	{"prepare", "f3c95789ace14954ac5d6baed2eac902"},
	{"trial", "cbf27734ac1045258b66402800e03d2c"},
	{"commit", "e0a3a91f23464c13bc27ed12b10877a9"},
	{"revert", "f1260ebc7d564b56b714dc919b27dbdf"},
	{"idle", "6caf76a5703548ae8280ad3729a6f2e7"},
	{"log", "3bdb86002611494b8b767637a6cbd8fb"},
	{"updated", "3f0c9931918c40bf9670c342c6cce996"},
	{"rolled-back", "004498f4b98747c18c9c26a813678d7a"},
	{"deferred", "0ecaf828e2f745538fcc69d79561a0d1"},
	{"refused", "73f80e52a36948b5a4414c46f147ecf9"},
	{"failed", "c1af446506f142fca1010f154a9f2968"},
	/* It has an id of its own, because its text names another remedy. */
	{RESULT_STORE_DAMAGED, "78b74617e40149b08826eb08334f3778"},
};

/* An entry with fields; a plain line on standard error if no journal reads it. */
static void write_entry(enum log_level level, const char *what, const char *container,
			const char *phase, const char *digest, const char *text)
{
	const char *id = NULL;

	for (size_t i = 0; what && i < ARRAY_SIZE(messages); i++) {
		if (streq(messages[i].what, what))
			id = messages[i].id;
	}
	if (!id || !log_to_journal()) {
		log_write(level, "%s", text);
		return;
	}
	(void)sd_journal_send("MESSAGE=%s", text, "PRIORITY=%d", (int)level, "MESSAGE_ID=%s", id,
			      "PULLET_CONTAINER=%s", container, "PULLET_DIGEST=%s", digest,
			      phase ? "PULLET_PHASE=%s" : NULL, phase, NULL);
}

void show_new_result(struct show *s, enum operation operation, const json_t *result)
{
	_cleanup_free_ char *text = result_sentence(result, operation);
	const char *what = json_get_string(result, "result"), *to = json_get_string(result, "to");
	const char *container = json_get_string(result, "container");
	const char *reason = json_get_string(result, "reason");
	enum outcome outcome = result_outcome(result);
	enum log_level level = LOG_LEVEL_INFO;

	if (outcome == OUTCOME_UP_TO_DATE)
		level = LOG_LEVEL_DEBUG;
	else if (result_is_bad(result))
		level = LOG_LEVEL_ERROR;
	if (outcome == OUTCOME_FAILED && reason && after_prefix(reason, RESULT_STORE_DAMAGED))
		what = RESULT_STORE_DAMAGED;
	/* No phase: an interrupted pass leaves the update in any of them. */
	write_entry(level, what, container ? container : "", NULL, to ? to : "", text);
	reporter_event(s->reporter, report_result(result));
}

static void clear_progress(struct show *s)
{
	if (s->progress_shown)
		fputs("\r\033[K", stderr);
	s->progress_shown = false;
}

void show_progress(struct show *s, struct unit *u, const json_t *event)
{
	uint64_t now = now_ms(), before = u->current;
	struct download_state d;

	u->plain = (uint64_t)json_integer_value(json_object_get(event, "plain"));
	unit_set_progress(u, (uint64_t)json_integer_value(json_object_get(event, "current")),
			  (uint64_t)json_integer_value(json_object_get(event, "total")), now);
	d = unit_download(u, now);
	bus_changed(s->bus, u, "Progress", "Download", "DownloadPlain");
	/* Not each time: systemd would wake up for hours. */
	if (d.of && !s->once && d.bytes * 100 / d.of != before * 100 / d.of) {
		_cleanup_free_ char *text = download_text(&d, NULL);

		(void)sd_notifyf(0, "STATUS=%s: %s", u->config->name, text);
	}
	if (!s->once || s->json || !isatty(STDERR_FILENO))
		return;
	fprintf(stderr, "\r\033[K%s: %" PRIu64 " of %" PRIu64 " bytes", u->config->name, u->current,
		u->total);
	s->progress_shown = true;
}

void show_step(struct show *s, struct unit *u, const json_t *event)
{
	unit_set_step(u, json_get_string(event, "step"),
		      (uint64_t)json_integer_value(json_object_get(event, "began_ms")),
		      (uint64_t)json_integer_value(json_object_get(event, "ms")));
	bus_changed(s->bus, u, "Step", "Progress", "Download", "DownloadPlain");
}

void show_phase(struct show *s, struct unit *u, const json_t *event)
{
	const char *phase = json_get_string(event, "phase");
	const char *digest = json_get_string(event, "digest");
	const char *version = json_get_string(event, "version");
	_cleanup_free_ char *text = NULL;

	if (!phase || !digest)
		return;
	u->under_way = !streq(phase, "idle");
	u->current = u->total = 0;
	if (!streq(phase, "prepare"))
		u->download = (struct download_state){0};
	unit_set_step(u, NULL, 0, 0);
	bus_changed(s->bus, u, "Phase", "Target", "TargetVersion", "Progress", "Step");
	reporter_event(s->reporter, report_phase(u->config->name, phase, digest));
	if (s->json)
		return;
	clear_progress(s);
	(void)sd_notifyf(0, "STATUS=%s: %s", u->config->name, phase);
	text = xasprintf("%s: %s %s%s%.19s", u->config->name, phase, version ? version : "",
			 version && version[0] ? " " : "", digest);
	write_entry(LOG_LEVEL_INFO, phase, u->config->name, phase, digest, text);
}

/* One entry: its explanation in the catalog is shown once. */
void show_log(struct show *s, struct unit *u, const json_t *event)
{
	const char *digest = json_get_string(event, "digest");
	const json_t *lines = json_object_get(event, "lines"), *line;
	_cleanup_free_ char *text = NULL;
	size_t len, i;
	FILE *f;

	if (s->once || !digest || json_array_size(lines) == 0)
		return;
	f = open_memstream(&text, &len);
	if (!f)
		abort();
	(void)fprintf(f, "%s: last %zu log lines of %.19s", u->config->name, json_array_size(lines),
		      digest);
	json_array_foreach (lines, i, line)
		(void)fprintf(f, "\n%s", json_is_string(line) ? json_string_value(line) : "");
	if (fclose(f) < 0)
		abort();
	write_entry(LOG_LEVEL_WARNING, "log", u->config->name, NULL, digest, text);
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

void show_job(const struct job *job)
{
	const char *word = operations[job->operation].name;

	if (job->n == 1)
		(void)sd_notifyf(0, "STATUS=%s: %s", job->members[0].name, word);
	else
		(void)sd_notifyf(0, "STATUS=%s of %zu containers", word, job->n);
}

/* Caller frees. */
static char *download_status(const struct unit *u)
{
	_cleanup_free_ char *text = download_text(&u->download, NULL);

	return xasprintf(", %s is %s", u->config->name, text);
}

/* The text stays until the next round, so it has a point in time, not a span. */
void show_idle(const struct unit_table *t, uint64_t due_ms)
{
	uint64_t now = now_ms();
	time_t due = time(NULL) + (time_t)(due_ms > now ? (due_ms - now) / 1000 : 0);
	_cleanup_free_ char *failing = NULL;
	struct tm local;
	char at[16];

	for (size_t i = 0; i < t->n && !failing; i++) {
		if (t->units[i].error && t->units[i].error[0])
			failing = xasprintf(", %s is failing", t->units[i].config->name);
		else if (t->units[i].download.of)
			failing = download_status(&t->units[i]);
	}
	(void)strftime(at, sizeof(at), "%H:%M:%S", localtime_r(&due, &local));
	(void)sd_notifyf(0, "STATUS=%s%s%zu container%s%s, next check at %s",
			 t->fault ? t->fault : "", t->fault ? "; updates are suspended; " : "",
			 t->n, t->n == 1 ? "" : "s", failing ? failing : "", at);
}

/* sd_notify(3): RELOADING=1 goes with a time of CLOCK_MONOTONIC, by which systemd tells this reload from the
 * one before. */
void show_reloading(void)
{
	struct timespec t = {0};

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	(void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
			 (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000);
}
