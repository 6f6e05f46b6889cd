/* SPDX-License-Identifier: MIT */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>
#include <systemd/sd-id128.h>
#include <systemd/sd-journal.h>

#include "log.h"
#include "memory.h"
#include "program.h"
#include "result.h"
#include "schedule.h"

#define PASS_LIMIT_US ((uint64_t)24 * 3600 * 1000000) /* a stuck pass; a slow link may take hours */
#define APP_ID	      SD_ID128_MAKE(5d, 0a, 1c, 8e, 42, 7b, 4f, 0e, 9d, 36, b1, 2f, 70, c4, 58, a9)

/* One container's turn: queued, running, done. */
struct turn {
	char *name;
	bool finish_only;
	struct turn *next;
};

struct agent {
	const struct agent_options *o;
	struct config *config;
	sd_event *event;
	sd_event_source *timer; /* the next round */
	struct turn *queue;	/* the first one is running when child > 0 */
	int status;		/* exit status so far, of --once */
	bool stopping;
	uint64_t device;
	unsigned int failures; /* rounds in a row */
	bool round_failed, under_way;

	pid_t child;
	int pipe;
	sd_event_source *child_source, *pipe_source, *limit_source;
	struct json_stream stream;
	bool has_result, progress_shown;
	char *last_text; /* the last result that was logged, so that the same is not told again */
};

static void start_next(struct agent *a);

static void queue_turn(struct agent *a, const char *name, bool finish_only)
{
	struct turn **last = &a->queue, *turn = xcalloc(1, sizeof(*turn));

	turn->name = xstrdup(name);
	turn->finish_only = finish_only;
	while (*last)
		last = &(*last)->next;
	*last = turn;
}

static void queue_all(struct agent *a, bool finish_only)
{
	for (size_t i = 0; i < a->config->n_containers; i++)
		queue_turn(a, a->config->containers[i].name, finish_only);
}

static void drop_first_turn(struct agent *a)
{
	struct turn *turn = a->queue;

	a->queue = turn->next;
	free(turn->name);
	free(turn);
}

static void clear_progress(struct agent *a)
{
	if (a->progress_shown)
		fputs("\r\033[K", stderr);
	a->progress_shown = false;
}

static void show_progress(struct agent *a, const json_t *event)
{
	if (!a->o->once || a->o->json || !isatty(STDERR_FILENO))
		return;
	fprintf(stderr, "\r\033[K%s: %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT " bytes",
		json_get_string(event, "container"),
		json_integer_value(json_object_get(event, "current")),
		json_integer_value(json_object_get(event, "total")));
	a->progress_shown = true;
}

static void show_phase(struct agent *a, const json_t *event)
{
	const char *name = json_get_string(event, "container");
	const char *phase = json_get_string(event, "phase");
	const char *digest = json_get_string(event, "digest");

	if (!name || !phase || !digest)
		return;
	a->under_way = !streq(phase, "idle");
	if (a->o->json)
		return;
	clear_progress(a);
	(void)sd_notifyf(0, "STATUS=%s: %s", name, phase);
	if (getenv("JOURNAL_STREAM"))
		(void)sd_journal_send("MESSAGE=%s: %s %.19s", name, phase, digest, "PRIORITY=6",
				      "PULLET_CONTAINER=%s", name, "PULLET_PHASE=%s", phase,
				      "PULLET_DIGEST=%s", digest, NULL);
	else
		log_info("%s: %s %.19s", name, phase, digest);
}

/* A healthy day is silent, and a lasting trouble is told once. */
static void log_result(struct agent *a, const json_t *result)
{
	_cleanup_free_ char *text = result_text(result);
	const char *what = json_get_string(result, "result");

	if (streq_null(text, a->last_text))
		return;
	replace_string(&a->last_text, text);
	if (what && streq(what, "up-to-date"))
		log_debug("%s", text);
	else if (result_is_bad(result))
		log_error("%s", text);
	else
		log_info("%s", text);
}

static void print_result(const struct agent *a, const json_t *result)
{
	_cleanup_free_ char *text =
		a->o->json ? json_dumps(result, JSON_COMPACT) : result_text(result);

	puts(text);
	fflush(stdout);
}

static void take_result(struct agent *a, json_t *result)
{
	const char *what = json_get_string(result, "result");

	a->has_result = true;
	(void)json_object_del(result, "event");
	clear_progress(a);
	if (a->o->once)
		print_result(a, result);
	else
		log_result(a, result);
	if (result_is_bad(result) && a->status == 0)
		a->status = 1;
	if (what && streq(what, "failed"))
		a->round_failed = true;
}

/* The contract promises a line a container, also for one whose pass died. */
static void take_missing_result(struct agent *a, const char *name, const siginfo_t *si)
{
	const struct container_config *c = config_container(a->config, name);
	struct result r = {
		.container = name,
		.image = c ? c->image : "",
		.outcome = OUTCOME_FAILED,
		.downtime_ms = -1,
	};
	json_t *j;

	(void)snprintf(r.reason, sizeof(r.reason), "pullet-update %s %d",
		       si->si_code == CLD_EXITED ? "exited with status" : "was ended by signal",
		       si->si_status);
	j = result_to_json(&r);
	take_result(a, j);
	json_decref(j);
}

static int on_object(void *userdata, json_t *object)
{
	struct agent *a = userdata;
	const char *event = json_get_string(object, "event");

	if (event && streq(event, "result"))
		take_result(a, object);
	else if (event && streq(event, "phase"))
		show_phase(a, object);
	else if (event && streq(event, "progress"))
		show_progress(a, object);
	return 0;
}

/* False at the end of the stream. */
static bool read_pipe(struct agent *a)
{
	struct error e;
	char buf[4096];
	ssize_t n = read(a->pipe, buf, sizeof(buf));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	if (n <= 0)
		return false;
	if (json_stream_push(&a->stream, buf, (size_t)n, on_object, a, &e) < 0)
		log_warning("pullet-update said what cannot be understood: %s", e.text);
	return true;
}

static int on_pipe(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
	struct agent *a = userdata;

	(void)fd, (void)revents;
	if (!read_pipe(a))
		(void)sd_event_source_set_enabled(s, SD_EVENT_OFF);
	return 0;
}

static int on_limit(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct agent *a = userdata;

	(void)s, (void)usec;
	log_error("%s: the pass takes more than a day, ending it", a->queue->name);
	(void)kill(a->child, SIGKILL);
	return 0;
}

static int on_child(sd_event_source *s, const siginfo_t *si, void *userdata)
{
	struct agent *a = userdata;
	bool clean = si->si_code == CLD_EXITED && si->si_status == 0;
	struct error e;

	(void)s;
	/* All it wrote is in the pipe by now. */
	(void)fcntl(a->pipe, F_SETFL, O_NONBLOCK);
	while (errno = 0, read_pipe(a) && errno != EAGAIN)
		;
	(void)!json_stream_end(&a->stream, on_object, a, &e);
	if (si->si_code == CLD_EXITED && si->si_status == 2)
		a->status = 2;
	if (!a->has_result && !(clean && a->queue->finish_only))
		take_missing_result(a, a->queue->name, si);
	json_stream_free(&a->stream);
	a->child_source = sd_event_source_unref(a->child_source);
	a->pipe_source = sd_event_source_unref(a->pipe_source);
	a->limit_source = sd_event_source_unref(a->limit_source);
	close(a->pipe);
	a->child = 0;
	drop_first_turn(a);
	start_next(a);
	return 0;
}

static int spawn(struct agent *a, const struct turn *turn, struct error *ret_error)
{
	const char *argv[16] = {"pullet-update"};
	size_t n = 1;
	int fds[2], r;

	argv[n++] = "--config";
	argv[n++] = a->o->config_path;
	argv[n++] = "--state-dir";
	argv[n++] = a->o->state_dir;
	if (a->o->engine) {
		argv[n++] = "--engine";
		argv[n++] = a->o->engine;
	}
	if (a->o->fetch_socket) {
		argv[n++] = "--fetch-socket";
		argv[n++] = a->o->fetch_socket;
	}
	if (turn->finish_only)
		argv[n++] = "--finish";
	if (a->o->debug)
		argv[n++] = "--debug";
	argv[n++] = turn->name;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return error_set(ret_error, -errno, "pipe: %s", strerror(errno));
	r = program_spawn("pullet-update", argv, fds[1], STDOUT_FILENO, &a->child, ret_error);
	close(fds[1]);
	if (r < 0) {
		close(fds[0]);
		a->child = 0;
		return r;
	}
	a->pipe = fds[0];
	return 0;
}

static int watch_child(struct agent *a)
{
	int r = sd_event_add_child(a->event, &a->child_source, a->child, WEXITED, on_child, a);

	if (r >= 0)
		r = sd_event_add_io(a->event, &a->pipe_source, a->pipe, EPOLLIN, on_pipe, a);
	if (r >= 0)
		r = sd_event_add_time_relative(a->event, &a->limit_source, CLOCK_BOOTTIME,
					       PASS_LIMIT_US, 0, on_limit, a);
	return r;
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct agent *a = userdata;

	(void)s, (void)usec;
	if (!a->queue) {
		queue_all(a, false);
		start_next(a);
	}
	return 0;
}

static void arm_timer(struct agent *a)
{
	const struct config *c = a->config;
	uint64_t now = now_ms(), due;
	int r;

	a->failures = a->round_failed ? a->failures + 1 : 0;
	if (a->failures)
		due = now + schedule_backoff(a->failures, a->under_way, c->interval_ms);
	else
		due = schedule_next_poll(now, c->interval_ms, c->jitter_percent, a->device);
	a->round_failed = a->under_way = false;
	a->timer = sd_event_source_unref(a->timer);
	r = sd_event_add_time(a->event, &a->timer, CLOCK_BOOTTIME, due * 1000, 0, on_timer, a);
	if (r < 0)
		log_error("cannot arm the timer: %s", strerror(-r));
	(void)sd_notifyf(0, "STATUS=%zu containers, next look in %" PRIu64 " s", c->n_containers,
			 (due - now) / 1000);
}

/* The queue is the only state: what stands first is running, or starts now. */
static void start_next(struct agent *a)
{
	struct error e;
	int r;

	while (a->queue && !a->stopping) {
		a->has_result = false;
		r = spawn(a, a->queue, &e);
		if (r == 0 && watch_child(a) >= 0)
			return;
		log_error("%s: %s", a->queue->name, r < 0 ? e.text : "cannot watch the child");
		if (r == 0)
			(void)kill(a->child, SIGKILL);
		a->status = 1;
		a->round_failed = true;
		drop_first_turn(a);
	}
	if (a->stopping || a->o->once)
		(void)sd_event_exit(a->event, a->stopping && !a->o->once ? 0 : a->status);
	else
		arm_timer(a);
}

static int on_stop(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata)
{
	struct agent *a = userdata;

	(void)s, (void)si;
	(void)sd_notify(0, "STOPPING=1");
	a->stopping = true;
	if (a->child > 0)
		(void)kill(a->child, SIGTERM);
	else
		(void)sd_event_exit(a->event, a->o->once ? 1 : 0);
	return 0;
}

static int on_reload(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata)
{
	struct agent *a = userdata;
	struct config *fresh;
	struct error e;

	(void)s, (void)si;
	(void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, now_ms() * 1000);
	if (config_load(a->o->config_path, &fresh, &e) < 0) {
		log_error("%s; no update is made until that is mended", e.text);
	} else {
		config_free(a->config);
		a->config = fresh;
		log_info("configuration read again: %zu containers", fresh->n_containers);
		if (!a->queue)
			arm_timer(a);
	}
	(void)sd_notify(0, "READY=1");
	return 0;
}

static uint64_t device_number(void)
{
	sd_id128_t id;
	uint64_t n = 0;

	if (sd_id128_get_machine_app_specific(APP_ID, &id) >= 0)
		return id.qwords[0];
	/* No machine id: any place in the interval is as good. */
	if (getrandom(&n, sizeof(n), 0) < 0)
		n = (uint64_t)getpid();
	return n;
}

static int set_up(struct agent *a)
{
	sigset_t set;
	int r;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	r = sd_event_new(&a->event);
	if (r >= 0)
		r = sd_event_add_signal(a->event, NULL, SIGTERM, on_stop, a);
	if (r >= 0)
		r = sd_event_add_signal(a->event, NULL, SIGINT, on_stop, a);
	if (r >= 0)
		r = sd_event_add_signal(a->event, NULL, SIGHUP, on_reload, a);
	if (r >= 0)
		r = sd_event_set_watchdog(a->event, true);
	return r;
}

/* sd_event_loop(), and a rest before each sleep with nothing under way. */
static int loop(struct agent *a)
{
	int r, code;

	while (sd_event_get_state(a->event) != SD_EVENT_FINISHED) {
		r = sd_event_prepare(a->event);
		if (r == 0) {
			if (!a->queue)
				memory_rest();
			r = sd_event_wait(a->event, UINT64_MAX);
		}
		if (r > 0)
			r = sd_event_dispatch(a->event);
		if (r < 0)
			return r;
	}
	r = sd_event_get_exit_code(a->event, &code);
	return r < 0 ? r : code;
}

int agent_run(const struct agent_options *o, struct config *config)
{
	struct agent a = {.o = o, .config = config, .device = device_number()};
	int r = set_up(&a);

	if (r < 0) {
		log_error("cannot set up the event loop: %s", strerror(-r));
		a.status = 1;
	} else {
		for (const char *const *name = o->names; *name; name++)
			queue_turn(&a, *name, !o->once);
		/* First of all, what an interrupted update left. */
		if (!o->names[0])
			queue_all(&a, !o->once);
		(void)sd_notify(0, "READY=1");
		start_next(&a);
		r = loop(&a);
		a.status = r < 0 ? 1 : r;
	}
	while (a.queue)
		drop_first_turn(&a);
	(void)sd_event_source_unref(a.timer);
	(void)sd_event_unref(a.event);
	free(a.last_text);
	config_free(a.config);
	return a.status;
}
