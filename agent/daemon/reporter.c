/* SPDX-License-Identifier: MIT */
#include "reporter.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "clock.h"
#include "device.h"
#include "fetch.h"
#include "log.h"
#include "record.h"
#include "schedule.h"

#define EVENTS_MAX 32
/* Events that come together make one report, and none is sent while containers are swapped. */
#define DELAY_US ((uint64_t)2 * 1000000)
#define LIMIT_US ((uint64_t)30 * 1000000)

/* The report that is on its way. */
struct post {
	int fd;	   /* -1: none */
	pid_t pid; /* of the network half, or 0 */
	char *line;
	size_t len, written;
	sd_event_source *io, *child, *limit;
};

struct reporter {
	const struct unit_table *table;
	const struct helper_options *options;
	sd_event *event;
	sd_event_source *soon, *heartbeat;
	struct report_event events[EVENTS_MAX]; /* oldest first */
	size_t n_events;
	bool again;  /* a report became due while one was on its way */
	size_t next; /* container that the next post begins with: one line may not hold all */
	struct post post;
	char *failure, *file_failure; /* that was logged; NULL: none */
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

static bool is_busy(const struct reporter *r)
{
	return r->post.fd >= 0 || r->post.pid > 0;
}

static void drop_events(struct reporter *r, size_t n)
{
	for (size_t i = 0; i < n; i++)
		json_decref(r->events[i].record);
	r->n_events -= n;
	memmove(r->events, r->events + n, r->n_events * sizeof(*r->events));
}

static int on_soon(sd_event_source *s, uint64_t usec, void *userdata);

static void report_soon(struct reporter *r)
{
	if (!r->soon && is_wanted(r))
		(void)sd_event_add_time_relative(r->event, &r->soon, CLOCK_BOOTTIME, DELAY_US, 0,
						 on_soon, r);
}

/* Takes record over. */
static void add_event(struct reporter *r, json_t *record)
{
	if (r->n_events == EVENTS_MAX)
		drop_events(r, 1);
	r->events[r->n_events++] = (struct report_event){now_ms(), record};
	report_soon(r);
}

/* --- the report on its way --- */

static void end_post(struct reporter *r)
{
	if (is_busy(r))
		return;
	r->post.limit = sd_event_source_unref(r->post.limit);
	if (r->again || r->next > 0)
		report_soon(r);
	r->again = false;
}

static void hang_up(struct reporter *r, const char *failure)
{
	log_failure(&r->failure, failure);
	if (failure)
		r->next = 0;
	r->post.io = sd_event_source_unref(r->post.io);
	close(r->post.fd);
	r->post.fd = -1;
	free(r->post.line);
	r->post.line = NULL;
	end_post(r);
}

static int on_end(sd_event_source *s, const siginfo_t *si, void *userdata)
{
	struct reporter *r = userdata;

	(void)s, (void)si;
	r->post.pid = 0;
	r->post.child = sd_event_source_unref(r->post.child);
	end_post(r);
	return 0;
}

static int on_limit(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct reporter *r = userdata;

	(void)s, (void)usec;
	if (r->post.pid > 0)
		(void)kill(r->post.pid, SIGKILL);
	if (r->post.fd >= 0)
		hang_up(r, "the collector does not answer in time");
	return 0;
}

static void take_answer(struct reporter *r)
{
	_cleanup_json_ json_t *answer = NULL;
	struct error e;
	char buf[4096];
	ssize_t n = read(r->post.fd, buf, sizeof(buf));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0)
		hang_up(r, "pullet-fetch ended without an answer");
	else if (json_parse(buf, (size_t)n, "pullet-fetch's answer", &answer, &e) < 0 ||
		 protocol_get_error(answer, NULL, &e) < 0)
		hang_up(r, e.text);
	else
		hang_up(r, NULL);
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
	struct reporter *r = userdata;
	struct post *p = &r->post;
	ssize_t n;

	(void)revents;
	if (p->written == p->len) {
		take_answer(r);
		return 0;
	}
	n = send(fd, p->line + p->written, p->len - p->written, MSG_NOSIGNAL);
	if (n < 0 && errno != EINTR && errno != EAGAIN)
		hang_up(r, "pullet-fetch ended without an answer");
	else if (n > 0 && (p->written += (size_t)n) == p->len)
		(void)sd_event_source_set_io_events(s, EPOLLIN);
	return 0;
}

/* Takes line over. */
static void start_post(struct reporter *r, char *line)
{
	const struct helper_options *o = r->options;
	struct fetch_options fetch = {.socket = o->fetch_socket, .config = o->config_path};
	struct post *p = &r->post;
	struct error e;
	int q;

	p->fd = fetch_connect(&fetch, &p->pid, &e);
	if (p->fd < 0) {
		p->fd = -1;
		p->pid = 0;
		free(line);
		log_failure(&r->failure, e.text);
		return;
	}
	p->line = line;
	p->len = strlen(line);
	p->written = 0;
	q = sd_event_add_io(r->event, &p->io, p->fd, EPOLLOUT, on_io, r);
	if (q >= 0)
		q = sd_event_add_time_relative(r->event, &p->limit, CLOCK_BOOTTIME, LIMIT_US, 0,
					       on_limit, r);
	if (q >= 0 && p->pid > 0)
		q = sd_event_add_child(r->event, &p->child, p->pid, WEXITED, on_end, r);
	if (q >= 0)
		return;
	if (p->pid > 0) {
		(void)kill(p->pid, SIGKILL);
		(void)waitpid(p->pid, NULL, 0);
		p->pid = 0;
	}
	hang_up(r, strerror(-q));
}

/* --- what is reported --- */

static void find_device(const struct config *c, char id[DEVICE_ID_SIZE], struct report_device *ret)
{
	struct timespec wall;

	device_id(c->device_id, id);
	*ret = (struct report_device){.id = id, .ring = c->ring, .now_ms = now_ms()};
	if (clock_now() > 0 && clock_gettime(CLOCK_REALTIME, &wall) == 0)
		ret->wall_ms = (uint64_t)wall.tv_sec * 1000 + (uint64_t)wall.tv_nsec / 1000000;
}

/* Fills containers, one a unit; digests[i] is what containers[i] borrows. */
static void read_containers(const struct reporter *r, struct report_container *containers,
			    struct digest *digests)
{
	const struct unit *units = r->table->units;
	_cleanup_close_ int dir = open(r->options->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ struct record *record = xmalloc(sizeof(*record));
	struct error e;

	for (size_t i = 0; i < r->table->n; i++) {
		const struct container_config *c = units[i].config;

		record_init(record);
		if (dir >= 0 && record_read(dir, c->name, record, &e) < 0)
			log_debug("%s: %s", c->name, e.text);
		digests[i] = record->current.digest;
		containers[i] = (struct report_container){
			.name = c->name,
			.image = c->image,
			.digest = digests[i].text,
			.phase = phase_name(record->phase),
			.n_rejected = record->n_rejected,
			.held = c->hold || record->held,
			.tally = &units[i].tally,
		};
	}
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

	if (q < 0)
		failure = xasprintf("%s: %s", path, strerror(-q));
	log_failure(&r->file_failure, failure);
}

/* The bodies go as text: pullet-fetch need not parse them. Takes both over. */
static json_t *make_request(json_t *metrics, json_t *logs)
{
	_cleanup_free_ char *text = json_text(metrics, JSON_COMPACT);
	_cleanup_free_ char *more = logs ? json_text(logs, JSON_COMPACT) : NULL;
	json_t *j = json_pack("{s:s, s:s, s:s*}", "op", "report", "metrics", text, "logs", more);

	json_decref(metrics);
	json_decref(logs);
	if (!j)
		abort();
	return j;
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

		if (line || (*n <= 1 && r->n_events == 0))
			return line;
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
	char *line;

	if (is_busy(r)) {
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
		start_post(r, line);
	else
		log_failure(&r->failure, "the report of one container is too large");
}

static void report(struct reporter *r)
{
	const struct config *c = r->table->config;
	char id[DEVICE_ID_SIZE];
	struct report_device device;
	size_t n = r->table->n;
	_cleanup_free_ struct report_container *containers = xcalloc(n, sizeof(*containers));
	_cleanup_free_ struct digest *digests = xcalloc(n, sizeof(*digests));

	find_device(c, id, &device);
	read_containers(r, containers, digests);
	if (c->report.textfile)
		report_to_file(r, &device, containers, n);
	if (c->report.url)
		report_to_collector(r, &device, containers, n);
}

static int on_soon(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct reporter *r = userdata;

	(void)s, (void)usec;
	r->soon = sd_event_source_unref(r->soon);
	report(r);
	return 0;
}

static int on_heartbeat(sd_event_source *s, uint64_t usec, void *userdata);

/* Each device has its own place in the interval, as for polls. */
static void arm_heartbeat(struct reporter *r)
{
	const struct config *c = r->table->config;
	char id[DEVICE_ID_SIZE];
	uint64_t due_ms;

	r->heartbeat = sd_event_source_unref(r->heartbeat);
	if (c->report.interval_ms == 0 || !is_wanted(r))
		return;
	device_id(c->device_id, id);
	due_ms = schedule_next_poll(now_ms(), c->report.interval_ms, 0, device_number(id));
	(void)sd_event_add_time(r->event, &r->heartbeat, CLOCK_BOOTTIME, due_ms * 1000, 0,
				on_heartbeat, r);
}

static int on_heartbeat(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct reporter *r = userdata;

	(void)s, (void)usec;
	report(r);
	arm_heartbeat(r);
	return 0;
}

void reporter_phase(struct reporter *r, const struct unit *u, const char *phase, const char *digest)
{
	if (r && r->table->config->report.url)
		add_event(r, report_phase(u->config->name, phase, digest));
}

void reporter_result(struct reporter *r, const json_t *result)
{
	if (r && r->table->config->report.url)
		add_event(r, report_result(result));
}

void reporter_flush(struct reporter *r)
{
	if (r)
		report_soon(r);
}

void reporter_reload(struct reporter *r)
{
	if (r)
		arm_heartbeat(r);
}

struct reporter *reporter_open(sd_event *event, const struct unit_table *table,
			       const struct helper_options *options)
{
	struct reporter *r = xcalloc(1, sizeof(*r));

	r->table = table;
	r->options = options;
	r->event = event;
	r->post.fd = -1;
	arm_heartbeat(r);
	return r;
}

void reporter_close(struct reporter *r)
{
	if (!r)
		return;
	r->again = false;
	if (r->post.pid > 0)
		(void)kill(r->post.pid, SIGKILL);
	if (r->post.fd >= 0)
		hang_up(r, r->failure);
	if (r->post.pid > 0)
		(void)waitpid(r->post.pid, NULL, 0);
	(void)sd_event_source_unref(r->post.child);
	(void)sd_event_source_unref(r->post.limit);
	(void)sd_event_source_unref(r->soon);
	(void)sd_event_source_unref(r->heartbeat);
	drop_events(r, r->n_events);
	free(r->failure);
	free(r->file_failure);
	free(r);
}
