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
/* What happens together is told together, and not while containers are swapped. */
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
	struct agent *agent;
	sd_event *event;
	sd_event_source *soon, *heartbeat;
	struct report_event events[EVENTS_MAX]; /* oldest first */
	size_t n_events;
	bool again;  /* there was news while one was on its way */
	size_t next; /* which container the next post begins with: one line does not hold all */
	struct post post;
	char *trouble, *file_trouble; /* that was told; NULL: all is well */
};

/* A lasting trouble is told once. */
static void tell_trouble(char **told, const char *text)
{
	if (text && !streq_null(text, *told))
		log_warning("report: %s", text);
	if (!text && *told)
		log_info("report: it goes out again");
	replace_string(told, text);
}

static bool is_wanted(const struct reporter *r)
{
	const struct report_config *c = &agent_config(r->agent)->report;

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

static void rest(struct reporter *r)
{
	if (is_busy(r))
		return;
	r->post.limit = sd_event_source_unref(r->post.limit);
	if (r->again || r->next > 0)
		report_soon(r);
	r->again = false;
}

static void hang_up(struct reporter *r, const char *trouble)
{
	tell_trouble(&r->trouble, trouble);
	if (trouble)
		r->next = 0;
	r->post.io = sd_event_source_unref(r->post.io);
	close(r->post.fd);
	r->post.fd = -1;
	free(r->post.line);
	r->post.line = NULL;
	rest(r);
}

static int on_end(sd_event_source *s, const siginfo_t *si, void *userdata)
{
	struct reporter *r = userdata;

	(void)s, (void)si;
	r->post.pid = 0;
	r->post.child = sd_event_source_unref(r->post.child);
	rest(r);
	return 0;
}

static int on_limit(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct reporter *r = userdata;

	(void)s, (void)usec;
	if (r->post.pid > 0)
		(void)kill(r->post.pid, SIGKILL);
	if (r->post.fd >= 0)
		hang_up(r, "the collector takes too long");
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
		 protocol_check_error(answer, &e) < 0)
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
	const struct helper_options *o = agent_helper_options(r->agent);
	struct fetch_options fetch = {.socket = o->fetch_socket, .config = o->config_path};
	struct post *p = &r->post;
	struct error e;
	int q;

	p->fd = fetch_connect(&fetch, &p->pid, &e);
	if (p->fd < 0) {
		p->fd = -1;
		p->pid = 0;
		free(line);
		tell_trouble(&r->trouble, e.text);
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

/* --- what is told --- */

static void find_device(const struct config *c, char id[DEVICE_ID_SIZE], struct report_device *ret)
{
	struct timespec wall;

	device_id(c->device_id, id);
	*ret = (struct report_device){.id = id, .ring = c->ring, .now_ms = now_ms()};
	if (clock_now() > 0 && clock_gettime(CLOCK_REALTIME, &wall) == 0)
		ret->wall_ms = (uint64_t)wall.tv_sec * 1000 + (uint64_t)wall.tv_nsec / 1000000;
}

/* Fills n containers; digests[i] is what containers[i] borrows. */
static void look(const struct reporter *r, const struct unit *units, size_t n,
		 struct report_container *containers, struct digest *digests)
{
	_cleanup_close_ int dir =
		open(agent_state_dir(r->agent), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ struct record *record = xmalloc(sizeof(*record));
	struct error e;

	for (size_t i = 0; i < n; i++) {
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

/* For scrapers, who are somebody else: readable, and whole at any moment. Not synced: it is of this boot. */
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

static void tell_file(struct reporter *r, const struct report_device *d,
		      const struct report_container *containers, size_t n)
{
	const char *path = agent_config(r->agent)->report.textfile;
	_cleanup_free_ char *text = report_text(d, containers, n), *trouble = NULL;
	int q = write_text(path, text);

	if (q < 0)
		trouble = xasprintf("%s: %s", path, strerror(-q));
	tell_trouble(&r->file_trouble, trouble);
}

/* The bodies go as text: what is not looked into need not be parsed on the way. Takes both over. */
static json_t *make_question(json_t *metrics, json_t *logs)
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

/* Of as many of the n containers, halved until they fit, and as many of the newest events; sets *n.
 * Caller frees; NULL: not even one fits. */
static char *make_line(struct reporter *r, const struct report_device *d,
		       const struct report_container *containers, size_t *n)
{
	for (;;) {
		_cleanup_json_ json_t *question = make_question(
			report_metrics(d, containers, *n),
			r->n_events > 0 ? report_logs(d, r->events, r->n_events) : NULL);
		char *line = protocol_line(question);

		if (line || (*n <= 1 && r->n_events == 0))
			return line;
		if (*n > 1)
			*n = (*n + 1) / 2;
		else
			drop_events(r, 1);
	}
}

static void tell_collector(struct reporter *r, const struct report_device *d,
			   const struct report_container *containers, size_t n)
{
	size_t from = r->next < n ? r->next : 0, taken = n - from;
	char *line;

	if (is_busy(r)) {
		r->again = true;
		return;
	}
	/* Events wait for a clock; of metrics there will be newer ones. */
	if (d->wall_ms == 0)
		return;
	line = make_line(r, d, containers + from, &taken);
	drop_events(r, r->n_events);
	r->next = from + taken < n ? from + taken : 0;
	if (line)
		start_post(r, line);
	else
		tell_trouble(&r->trouble, "what one container has to say is too large");
}

static void tell(struct reporter *r)
{
	const struct config *c = agent_config(r->agent);
	char id[DEVICE_ID_SIZE];
	struct report_device device;
	struct unit *units;
	size_t n = agent_units(r->agent, &units);
	_cleanup_free_ struct report_container *containers = xcalloc(n, sizeof(*containers));
	_cleanup_free_ struct digest *digests = xcalloc(n, sizeof(*digests));

	find_device(c, id, &device);
	look(r, units, n, containers, digests);
	if (c->report.textfile)
		tell_file(r, &device, containers, n);
	if (c->report.url)
		tell_collector(r, &device, containers, n);
}

static int on_soon(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct reporter *r = userdata;

	(void)s, (void)usec;
	r->soon = sd_event_source_unref(r->soon);
	tell(r);
	return 0;
}

static int on_heartbeat(sd_event_source *s, uint64_t usec, void *userdata);

/* Each device at a time of its own, as polls are. */
static void arm_heartbeat(struct reporter *r)
{
	const struct config *c = agent_config(r->agent);
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
	tell(r);
	arm_heartbeat(r);
	return 0;
}

void reporter_phase(struct reporter *r, const struct unit *s, const char *phase, const char *digest)
{
	if (r && agent_config(r->agent)->report.url)
		add_event(r, report_phase(s->config->name, phase, digest));
}

void reporter_result(struct reporter *r, const json_t *result)
{
	if (r && agent_config(r->agent)->report.url)
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

struct reporter *reporter_open(struct agent *agent, sd_event *event)
{
	struct reporter *r = xcalloc(1, sizeof(*r));

	r->agent = agent;
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
		hang_up(r, r->trouble);
	if (r->post.pid > 0)
		(void)waitpid(r->post.pid, NULL, 0);
	(void)sd_event_source_unref(r->post.child);
	(void)sd_event_source_unref(r->post.limit);
	(void)sd_event_source_unref(r->soon);
	(void)sd_event_source_unref(r->heartbeat);
	drop_events(r, r->n_events);
	free(r->trouble);
	free(r->file_trouble);
	free(r);
}
