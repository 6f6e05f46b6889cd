/* SPDX-License-Identifier: MIT */
#include "reporter.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "clock.h"
#include "fetch.h"
#include "log.h"
#include "schedule.h"

#define REPORT_LINE_MAX ((size_t)96 * 1024) /* a socket takes it whole (net.core.wmem_default) */
#define EVENTS_MAX	32
/* Events that come together make one report, and none is sent while containers are swapped. */
#define DELAY_US ((uint64_t)2 * 1000000)
#define LIMIT_US ((uint64_t)30 * 1000000)

struct reporter {
	const struct unit_table *table;
	const struct helper_options *options;
	sd_event *event;
	sd_event_source *soon, *heartbeat;
	struct report_event events[EVENTS_MAX]; /* oldest first */
	size_t n_events;
	bool again;  /* a report became due while one was on its way */
	size_t next; /* container that the next report begins with: one line may not hold all */
	struct helper fetch; /* that sends a report */
	bool answered;
	char *failure, *file_failure; /* that was logged; NULL: none */
	char *file;		      /* that was written; NULL: none */
};

/* Logs a lasting failure once; NULL: there is none. */
static void log_failure(char **logged, const char *text)
{
	if (text && !streq_null(text, *logged))
		log_warning("report: %s", text);
	if (!text && *logged)
		log_info("report: reporting resumed");
	replace_string(logged, text);
}

static bool is_wanted(const struct reporter *r)
{
	const struct report_config *c = &r->table->config->report;

	return c->url || c->textfile;
}

static void drop_events(struct reporter *r, size_t n)
{
	for (size_t i = 0; i < n; i++)
		json_decref(r->events[i].record);
	r->n_events -= n;
	memmove(r->events, r->events + n, r->n_events * sizeof(*r->events));
}

void reporter_event(struct reporter *r, json_t *record)
{
	if (!r || !r->table->config->report.url) {
		json_decref(record);
		return;
	}
	if (r->n_events == EVENTS_MAX)
		drop_events(r, 1);
	r->events[r->n_events++] = (struct report_event){now_ms(), record};
	reporter_flush(r);
}

/* --- the report on its way --- */

static void fail(struct reporter *r, const char *failure)
{
	log_failure(&r->failure, failure);
	if (failure)
		r->next = 0;
}

static int on_answer(void *userdata, json_t *answer)
{
	struct reporter *r = userdata;
	struct error e;

	r->answered = true;
	fail(r, protocol_get_error(answer, NULL, &e) < 0 ? e.text : NULL);
	helper_stop(&r->fetch);
	return 0;
}

static void on_end(void *userdata, int exit_status, const char *how)
{
	struct reporter *r = userdata;

	if (!r->answered)
		fail(r, r->fetch.late ? "the collector does not answer in time"
				      : "pullet-fetch ended without an answer");
	if (r->again || r->next > 0)
		reporter_flush(r);
	r->again = false;
}

static void send_report(struct reporter *r, const char *line)
{
	const struct helper_options *o = r->options;
	struct fetch_options fetch = {.socket = o->fetch_socket, .config = o->config_path};
	struct error e;

	r->answered = false;
	r->fetch.fd = fetch_connect(&fetch, &r->fetch.pid, &e);
	if (r->fetch.fd < 0 || helper_follow(&r->fetch, r->event, line, LIMIT_US, &e) < 0)
		fail(r, e.text);
}

/* --- the content of a report --- */

static struct report_device make_device(const struct unit_table *t)
{
	const struct config *c = t->config;
	struct report_device d = {.ring = c->ring,
				  .now_ms = now_ms(),
				  .traffic_known = t->traffic_known,
				  .traffic = {t->traffic_day, t->traffic_month}};
	struct timespec wall;

	device_id(c->device_id, d.id);
	if (clock_now() > 0 && clock_gettime(CLOCK_REALTIME, &wall) == 0)
		d.wall_ms = (uint64_t)wall.tv_sec * 1000 + (uint64_t)wall.tv_nsec / 1000000;
	return d;
}

/* Several keys may have signed, each with a number of its own. */
static uint64_t highest_seq(const struct signature *s)
{
	uint64_t seq = 0;

	for (size_t i = 0; i < s->n_keys; i++)
		seq = s->keys[i].seq > seq ? s->keys[i].seq : seq;
	return seq;
}

/* One container a unit. Caller frees. */
static struct report_container *read_containers(const struct reporter *r)
{
	struct report_container *containers = xcalloc(r->table->n, sizeof(*containers));
	_cleanup_free_ struct record *record = xmalloc(sizeof(*record));

	for (size_t i = 0; i < r->table->n; i++) {
		const struct unit *u = &r->table->units[i];

		(void)unit_read_record(u, r->options->state_dir, record);
		containers[i] = (struct report_container){
			.name = u->config->name,
			.image = u->config->image,
			.digest = record->current.digest,
			.phase = phase_names[record->phase],
			.n_rejected = record->n_rejected + record->n_rejected_before,
			.held = u->config->hold || record_is_held(record, clock_now()),
			.tally = &u->tally,
			.download = unit_download(u, now_ms()),
			.signature_seq = highest_seq(&record->current.signature),
			.signature_expires_s = record->current.signature.expires_s,
			.statement_s = record->statement_s,
		};
		copy_text(containers[i].version, sizeof(containers[i].version),
			  record->current.version);
	}
	return containers;
}

/* World-readable, for a scraper of another user, and whole at any moment. Not synced: it is of this boot. */
static int write_text(const char *path, const char *text)
{
	_cleanup_free_ char *new = xasprintf("%s.new", path);
	_cleanup_close_ int fd =
		open(new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	int r;

	if (fd < 0)
		return -errno;
	r = fchmod(fd, 0644) < 0 ? -errno : write_all(fd, text, strlen(text));
	if (r == 0 && rename(new, path) < 0)
		r = -errno;
	if (r < 0)
		(void)unlink(new);
	return r;
}

static void report_to_file(struct reporter *r, const struct report_device *d,
			   const struct report_container *containers, size_t n)
{
	const char *path = r->table->config->report.textfile;
	_cleanup_free_ char *text = report_text(d, containers, n), *failure = NULL;
	int q = write_text(path, text);

	replace_string(&r->file, path);
	if (q < 0)
		failure = xasprintf("%s: %s", path, strerror(-q));
	log_failure(&r->file_failure, failure);
}

/* The bodies go as text: pullet-fetch need not parse them. Takes both over. */
static json_t *make_request(json_t *metrics, json_t *logs)
{
	_cleanup_free_ char *text = json_text(metrics, JSON_COMPACT);
	_cleanup_free_ char *more = json_text(logs, JSON_COMPACT);

	json_decref(metrics);
	json_decref(logs);
	return json_need(
		json_pack("{s:s, s:s, s:s*}", "op", "report", "metrics", text, "logs", more));
}

/* A line with as many of the n containers as fit, by halves, and as many of the newest events; sets *n. Caller
 * frees; NULL: not even one fits. */
static char *make_line(struct reporter *r, const struct report_device *d,
		       const struct report_container *containers, size_t *n)
{
	for (;;) {
		_cleanup_json_ json_t *request = make_request(
			report_metrics(d, containers, *n),
			r->n_events > 0 ? report_logs(d, r->events, r->n_events) : NULL);
		char *line = protocol_line(request);

		if ((line && strlen(line) <= REPORT_LINE_MAX) || (*n <= 1 && r->n_events == 0))
			return line;
		free(line);
		if (*n > 1)
			*n = (*n + 1) / 2;
		else
			drop_events(r, 1);
	}
}

static void report_to_collector(struct reporter *r, const struct report_device *d,
				const struct report_container *containers, size_t n)
{
	size_t from = r->next < n ? r->next : 0, taken = n - from;
	_cleanup_free_ char *line = NULL;

	if (r->fetch.running) {
		r->again = true;
		return;
	}
	/* Events wait until the clock is set; metrics are superseded anyway. */
	if (d->wall_ms == 0)
		return;
	line = make_line(r, d, containers + from, &taken);
	drop_events(r, r->n_events);
	r->next = from + taken < n ? from + taken : 0;
	if (line)
		send_report(r, line);
	else
		log_failure(&r->failure, "the report of one container is too large");
}

static void report(struct reporter *r)
{
	const struct config *c = r->table->config;
	struct report_device device = make_device(r->table);
	_cleanup_free_ struct report_container *containers = read_containers(r);

	if (c->report.textfile)
		report_to_file(r, &device, containers, r->table->n);
	if (c->report.url)
		report_to_collector(r, &device, containers, r->table->n);
}

static int on_soon(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct reporter *r = userdata;

	r->soon = sd_event_source_unref(r->soon);
	report(r);
	return 0;
}

void reporter_flush(struct reporter *r)
{
	if (r && !r->soon && is_wanted(r))
		(void)sd_event_add_time_relative(r->event, &r->soon, CLOCK_BOOTTIME, DELAY_US, 0,
						 on_soon, r);
}

static int on_heartbeat(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct reporter *r = userdata;

	report(r);
	reporter_reload(r);
	return 0;
}

/* Each device has its own place in the interval, as for polls. */
void reporter_reload(struct reporter *r)
{
	const struct report_config *c;
	uint64_t due_ms;

	if (!r)
		return;
	c = &r->table->config->report;
	/* A scraper would take it for the present for ever. */
	if (r->file && !streq_null(r->file, c->textfile)) {
		(void)unlink(r->file);
		replace_string(&r->file, NULL);
	}
	r->heartbeat = sd_event_source_unref(r->heartbeat);
	if (c->interval_ms == 0 || !is_wanted(r))
		return;
	due_ms = schedule_next_poll(now_ms(), c->interval_ms, 0, r->table->device);
	(void)sd_event_add_time(r->event, &r->heartbeat, CLOCK_BOOTTIME, due_ms * 1000, 0,
				on_heartbeat, r);
}

struct reporter *reporter_open(sd_event *event, const struct unit_table *table,
			       const struct helper_options *options)
{
	struct reporter *r = xmalloc(sizeof(*r));

	*r = (struct reporter){.table = table,
			       .options = options,
			       .event = event,
			       .fetch = {.program = "pullet-fetch",
					 .on_object = on_answer,
					 .on_end = on_end,
					 .userdata = r,
					 .fd = -1}};
	reporter_reload(r);
	return r;
}

void reporter_close(struct reporter *r)
{
	if (!r)
		return;
	helper_close(&r->fetch);
	(void)sd_event_source_unref(r->soon);
	(void)sd_event_source_unref(r->heartbeat);
	drop_events(r, r->n_events);
	free(r->failure);
	free(r->file);
	free(r->file_failure);
	free(r);
}
