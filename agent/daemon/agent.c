/* SPDX-License-Identifier: MIT */
#include "agent.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/random.h>
#include <time.h>
#include <systemd/sd-daemon.h>

#include "bus.h"
#include "device.h"
#include "journal.h"
#include "log.h"
#include "memory.h"
#include "reporter.h"
#include "result.h"
#include "schedule.h"

/* One container's turn: queued, running, done. */
struct job {
	char *name;
	enum operation operation;
	bool ordered; /* by an operator; else the round's */
	struct job *next;
};

struct agent {
	const struct agent_options *o;
	struct config *config;
	struct unit *units;	   /* as config->containers */
	char *config_fault;	   /* of the last reload; NULL: it was well */
	struct bus *bus;	   /* NULL with --once */
	struct reporter *reporter; /* the same */
	sd_event *event;
	sd_event_source *timer; /* the next round */
	uint64_t due_ms;	/* of the timer; 0: a round is under way */
	struct job *queue;	/* the first one is running when there is a helper */
	int status;		/* exit status so far, of --once */
	bool stopping;
	uint64_t device;
	unsigned int failures;		  /* rounds in a row */
	bool round_failed, left_half_way; /* since the timer was armed */

	struct helper helper;
	/* Of the turn that runs. */
	bool has_result, under_way;
	uint64_t started_ms;
	bool progress_shown;
};

static void start_next(struct agent *a);

static struct unit *find_unit(const struct agent *a, const char *name)
{
	for (size_t i = 0; name && i < a->config->n_containers; i++) {
		if (streq(a->config->containers[i].name, name))
			return &a->units[i];
	}
	return NULL;
}

static void append_job(struct agent *a, const char *name, enum operation operation)
{
	struct job **last = &a->queue, *turn = xcalloc(1, sizeof(*turn));

	*turn = (struct job){.name = xstrdup(name), .operation = operation};
	while (*last)
		last = &(*last)->next;
	*last = turn;
}

static void queue_round(struct agent *a, enum operation operation)
{
	for (size_t i = 0; i < a->config->n_containers; i++) {
		if (operation == OPERATION_FINISH || now_ms() >= a->units[i].not_before_ms)
			append_job(a, a->config->containers[i].name, operation);
	}
}

static void free_units(struct agent *a)
{
	for (size_t i = 0; a->config && i < a->config->n_containers; i++) {
		free(a->units[i].last_result);
		free(a->units[i].available);
	}
	free(a->units);
	config_free(a->config);
}

static uint64_t find_device(const struct config *config)
{
	char id[DEVICE_ID_SIZE];
	uint64_t n = 0;

	device_id(config->device_id, id);
	if (id[0])
		return device_number(id);
	/* No machine id: any place in the interval is as good. */
	if (getrandom(&n, sizeof(n), 0) < 0)
		n = (uint64_t)getpid();
	return n;
}

/* Takes config over. Who reads it again wants to be asked again: all memory starts anew. */
static void take_config(struct agent *a, struct config *config)
{
	free_units(a);
	a->config = config;
	a->device = find_device(config);
	a->units = xcalloc(config->n_containers, sizeof(*a->units));
	for (size_t i = 0; i < config->n_containers; i++) {
		a->units[i] = (struct unit){.agent = a, .config = &config->containers[i]};
		tally_init(&a->units[i].tally, now_ms());
	}
}

static void drop_first_job(struct agent *a)
{
	struct job *turn = a->queue;

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

static void show_progress(struct agent *a, struct unit *s, const json_t *event)
{
	uint64_t current = (uint64_t)json_integer_value(json_object_get(event, "current"));

	tally_bytes(&s->tally, s->current, current);
	s->current = current;
	s->total = (uint64_t)json_integer_value(json_object_get(event, "total"));
	bus_changed(a->bus, s, "Progress", NULL);
	if (!a->o->once || a->o->json || !isatty(STDERR_FILENO))
		return;
	fprintf(stderr, "\r\033[K%s: %" PRIu64 " of %" PRIu64 " bytes", s->config->name, s->current,
		s->total);
	a->progress_shown = true;
}

static void show_phase(struct agent *a, struct unit *s, const json_t *event)
{
	const char *phase = json_get_string(event, "phase");
	const char *digest = json_get_string(event, "digest");

	if (!phase || !digest)
		return;
	a->under_way = !streq(phase, "idle");
	bus_changed(a->bus, s, "Phase", "Target", NULL);
	reporter_phase(a->reporter, s, phase, digest);
	if (a->o->json)
		return;
	clear_progress(a);
	(void)sd_notifyf(0, "STATUS=%s: %s", s->config->name, phase);
	journal_phase(s->config->name, phase, digest);
}

static void print_result(const struct agent *a, const json_t *result)
{
	_cleanup_free_ char *text =
		a->o->json ? json_text(result, JSON_COMPACT) : result_text(result);

	puts(text);
	fflush(stdout);
}

/* What was seen and not taken is worth to be shown until something else is known. */
static void note_available(struct unit *s, const json_t *result)
{
	const char *what = json_get_string(result, "result");
	const char *from = json_get_string(result, "from"), *to = json_get_string(result, "to");
	bool waits = what && to && streq(what, "deferred") && !streq_null(from, to);

	if (waits || !what || !streq(what, "failed"))
		replace_string(&s->available, waits ? to : NULL);
}

static void take_result(struct agent *a, struct unit *s, json_t *result)
{
	_cleanup_free_ char *text = NULL;
	const char *what = json_get_string(result, "result");

	a->has_result = true;
	if (s)
		s->in_trouble = result_is_bad(result);
	(void)json_object_del(result, "event");
	clear_progress(a);
	if (a->o->once)
		print_result(a, result);
	if (result_is_bad(result) && a->status == 0)
		a->status = 1;
	if (what && streq(what, "failed")) {
		a->left_half_way |= a->under_way;
		a->round_failed |= a->under_way || !a->queue->ordered;
	}
	if (a->o->once || !s)
		return;
	tally_result(&s->tally, result, now_ms(), now_ms() - a->started_ms);
	text = json_text(result, JSON_COMPACT);
	/* A healthy day is silent, and a lasting trouble is told once. */
	if (!streq_null(text, s->last_result)) {
		journal_result(result);
		reporter_result(a->reporter, result);
	}
	replace_string(&s->last_result, text);
	note_available(s, result);
}

/* The contract promises a line a container, also for one whose pass died. */
static void take_failure(struct agent *a, const char *reason)
{
	struct unit *s = find_unit(a, a->queue->name);
	struct result r = {
		.container = a->queue->name,
		.image = s ? s->config->image : "",
		.outcome = OUTCOME_FAILED,
		.downtime_ms = -1,
	};
	json_t *j;

	copy_text(r.reason, sizeof(r.reason), reason);
	j = result_to_json(&r);
	take_result(a, s, j);
	json_decref(j);
}

static int on_object(void *userdata, json_t *object)
{
	struct agent *a = userdata;
	const char *event = json_get_string(object, "event");
	/* After a reload there may be no such container any more. */
	struct unit *s = find_unit(a, a->queue->name);

	if (event && streq(event, "result"))
		take_result(a, s, object);
	else if (event && s && streq(event, "phase"))
		show_phase(a, s, object);
	else if (event && s && streq(event, "progress"))
		show_progress(a, s, object);
	else if (event && s && streq(event, "retry-after")) /* pullet-update has bounded it */
		s->not_before_ms =
			now_ms() +
			(uint64_t)json_integer_value(json_object_get(object, "seconds")) * 1000;
	return 0;
}

static void end_job(struct agent *a)
{
	struct unit *s = find_unit(a, a->queue->name);
	enum operation operation = a->queue->operation;

	drop_first_job(a);
	if (!s)
		return;
	s->current = s->total = 0;
	bus_job_ended(a->bus, s, operation, a->has_result ? s->last_result : NULL);
}

static void on_helper_end(void *userdata, const siginfo_t *si)
{
	struct agent *a = userdata;
	bool clean = si->si_code == CLD_EXITED && si->si_status == 0;

	if (si->si_code == CLD_EXITED && si->si_status == 2)
		a->status = 2;
	if (!a->has_result && !(clean && a->queue->operation == OPERATION_FINISH)) {
		_cleanup_free_ char *reason = xasprintf(
			"pullet-update %s %d",
			si->si_code == CLD_EXITED ? "exited with status" : "was ended by signal",
			si->si_status);

		take_failure(a, reason);
	}
	end_job(a);
	start_next(a);
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct agent *a = userdata;

	(void)s, (void)usec;
	a->due_ms = 0;
	queue_round(a, OPERATION_UPDATE);
	if (a->helper.pid == 0)
		start_next(a);
	return 0;
}

static void arm_timer(struct agent *a)
{
	const struct config *c = a->config;
	uint64_t now = now_ms();
	int r;

	a->failures = a->round_failed ? a->failures + 1 : 0;
	if (a->failures && a->left_half_way)
		a->due_ms = now + schedule_backoff(a->failures, c->interval_ms, a->device);
	else
		a->due_ms = schedule_retry_poll(now, a->failures, c->interval_ms, c->jitter_percent,
						a->device);
	a->round_failed = a->left_half_way = false;
	a->timer = sd_event_source_unref(a->timer);
	r = sd_event_add_time(a->event, &a->timer, CLOCK_BOOTTIME, a->due_ms * 1000, 0, on_timer,
			      a);
	if (r < 0)
		log_error("cannot arm the timer: %s", strerror(-r));
	for (size_t i = 0; i < c->n_containers; i++)
		bus_changed(a->bus, &a->units[i], "NextCheck", NULL);
}

/* For systemctl status. A point in time, not a span: it stands there until the next look. */
static void show_rest(struct agent *a)
{
	time_t due = time(NULL) + (time_t)((a->due_ms - now_ms()) / 1000);
	_cleanup_free_ char *trouble = NULL;
	struct tm local;
	char at[16];

	for (size_t i = 0; i < a->config->n_containers && !trouble; i++) {
		if (a->units[i].in_trouble)
			trouble = xasprintf(", trouble with %s", a->units[i].config->name);
	}
	(void)strftime(at, sizeof(at), "%H:%M:%S", localtime_r(&due, &local));
	(void)sd_notifyf(0, "STATUS=%s%s%zu container%s%s, next look at %s",
			 a->config_fault ? a->config_fault : "",
			 a->config_fault ? "; no update is made; " : "", a->config->n_containers,
			 a->config->n_containers == 1 ? "" : "s", trouble ? trouble : "", at);
}

static bool start_job(struct agent *a)
{
	struct unit *s = find_unit(a, a->queue->name);
	struct error e;

	a->has_result = a->under_way = false;
	a->started_ms = now_ms();
	if (helper_start(&a->helper, a->event, &a->o->helper, a->queue->name, a->queue->operation,
			 &e) < 0) {
		log_error("%s: %s", a->queue->name, e.text);
		take_failure(a, e.text);
		end_job(a);
		return false;
	}
	(void)sd_notifyf(0, "STATUS=%s: %s", a->queue->name, operation_name(a->queue->operation));
	if (s)
		bus_changed(a->bus, s, "Operation", NULL);
	return true;
}

/* The queue is the only state: what stands first is running, or starts now. */
static void start_next(struct agent *a)
{
	while (a->queue && !a->stopping) {
		if (start_job(a))
			return;
	}
	if (a->stopping || a->o->once) {
		(void)sd_event_exit(a->event, a->stopping && !a->o->once ? 0 : a->status);
		return;
	}
	/* An order between two rounds moves the next one only when it left something half way. */
	if (a->due_ms == 0 || a->left_half_way)
		arm_timer(a);
	reporter_flush(a->reporter);
	show_rest(a);
}

size_t agent_units(struct agent *a, struct unit **ret)
{
	*ret = a->units;
	return a->config->n_containers;
}

struct bus *agent_bus(const struct agent *a)
{
	return a->bus;
}

const struct config *agent_config(const struct agent *a)
{
	return a->config;
}

const struct helper_options *agent_helper_options(const struct agent *a)
{
	return &a->o->helper;
}

const char *agent_state_dir(const struct agent *a)
{
	return a->o->helper.state_dir;
}

static bool is_running(const struct unit *s)
{
	const struct agent *a = s->agent;

	return a->helper.pid > 0 && a->queue && streq(a->queue->name, s->config->name);
}

const char *agent_operation(const struct unit *s)
{
	return is_running(s) ? operation_name(s->agent->queue->operation) : "";
}

uint64_t agent_next_check(const struct unit *s)
{
	uint64_t due = s->agent->due_ms;

	return due && s->not_before_ms > due ? s->not_before_ms : due;
}

int agent_request(struct unit *s, enum operation operation, struct error *ret_error)
{
	struct agent *a = s->agent;
	struct job **place = &a->queue, *turn;

	if (a->stopping)
		return error_set(ret_error, -ESHUTDOWN, "pulletd is stopping");
	/* What is before the version that comes now nobody can have meant. */
	if (operation == OPERATION_ROLLBACK && is_running(s) &&
	    a->queue->operation != OPERATION_ROLLBACK)
		return error_set(ret_error, -EBUSY,
				 "%s: another pass (%s) is under way; wait for its end",
				 s->config->name, agent_operation(s));
	for (turn = a->queue; turn; turn = turn->next) {
		if (turn->operation == operation && streq(turn->name, s->config->name))
			return 0;
	}
	turn = xcalloc(1, sizeof(*turn));
	*turn = (struct job){
		.name = xstrdup(s->config->name), .operation = operation, .ordered = true};
	/* Behind what runs and what was ordered before, in front of the round's. */
	while (*place && ((*place)->ordered || (place == &a->queue && a->helper.pid > 0)))
		place = &(*place)->next;
	turn->next = *place;
	*place = turn;
	if (a->helper.pid == 0)
		start_next(a);
	return 0;
}

static int on_stop(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata)
{
	struct agent *a = userdata;

	(void)s, (void)si;
	(void)sd_notify(0, "STOPPING=1");
	a->stopping = true;
	if (a->helper.pid > 0)
		helper_stop(&a->helper);
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
	if (config_load(a->o->helper.config_path, &fresh, &e) < 0) {
		log_error("%s; no update is made until that is mended", e.text);
		replace_string(&a->config_fault, e.text);
	} else {
		replace_string(&a->config_fault, NULL);
		bus_forget_objects(a->bus);
		take_config(a, fresh);
		bus_announce_objects(a->bus);
		reporter_reload(a->reporter);
		log_info("configuration read again: %zu containers", fresh->n_containers);
		if (!a->queue)
			arm_timer(a);
	}
	if (!a->queue)
		show_rest(a);
	(void)sd_notify(0, "READY=1");
	return 0;
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
			bus_drop_cache(a->bus);
			if (!a->queue)
				memory_trim();
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
	struct agent a = {.o = o};
	int r = set_up(&a);

	a.helper = (struct helper){.on_object = on_object, .on_end = on_helper_end, .userdata = &a};
	take_config(&a, config);
	if (r < 0) {
		log_error("cannot set up the event loop: %s", strerror(-r));
		a.status = 1;
	} else {
		for (const char *const *name = o->names; *name; name++)
			append_job(&a, *name, OPERATION_UPDATE);
		/* First of all, what an interrupted update left. */
		if (!o->names[0])
			queue_round(&a, o->once ? OPERATION_UPDATE : OPERATION_FINISH);
		if (!o->once) {
			a.bus = bus_open(&a, a.event);
			a.reporter = reporter_open(&a, a.event);
		}
		(void)sd_notify(0, "READY=1");
		start_next(&a);
		r = loop(&a);
		a.status = r < 0 ? 1 : r;
	}
	bus_close(a.bus);
	reporter_close(a.reporter);
	while (a.queue)
		drop_first_job(&a);
	(void)sd_event_source_unref(a.timer);
	(void)sd_event_unref(a.event);
	free(a.config_fault);
	free_units(&a);
	return a.status;
}
