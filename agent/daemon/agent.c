/* SPDX-License-Identifier: MIT */
#include "agent.h"

#include <errno.h>
#include <systemd/sd-daemon.h>

#include "log.h"
#include "memory.h"
#include "notifier.h"
#include "schedule.h"
#include "show.h"
#include "survey.h"
#include "unit.h"

/* Requests of which each comes within this time after the one before (pullet check of many containers) make one job, in
 * which the order of its members counts. On a busy machine they come slowly; no flood of them delays it for longer. */
#define REQUEST_DELAY_US ((uint64_t)30 * 1000)
#define REQUESTS_MAX_MS	 1000

struct agent {
	const struct agent_options *o;
	struct unit_table table;
	struct show show;
	struct notifier *notifier; /* NULL: none */
	sd_event *event;
	sd_event_source *timer;	  /* the next round */
	sd_event_source *request; /* starts the requests of REQUEST_DELAY_US */
	uint64_t requested_ms;	  /* the first of them */
	uint64_t due_ms;	  /* of the timer; 0: a round is under way */
	bool rearm;		  /* an update failed half way: the timer is set again */
	bool early;		  /* the timer is for those updates, not a round */
	unsigned int failures;	  /* times in a row that an update failed half way */
	int status;		  /* exit status so far, of --once */
	bool stopping;
	struct job_queue queue;
	struct helper helper;
	struct survey survey;
	uint64_t started_ms; /* of the job that runs */
	char *order_fault;   /* of labels, as it was logged last; NULL: none was */
};

static void start_next(struct agent *a);

/* --- the configuration --- */

static void set_fault(struct agent *a, const char *fault)
{
	if (streq_null(fault, a->table.fault) || (!fault && !a->table.fault))
		return;
	if (fault)
		log_error("%s; updates are suspended until the configuration is fixed", fault);
	replace_string(&a->table.fault, fault);
	bus_fault_changed(a->show.bus);
}

static void take_config(struct agent *a, struct config *fresh)
{
	bus_emit_objects(a->show.bus, false);
	unit_table_load(&a->table, fresh);
	bus_emit_objects(a->show.bus, true);
	reporter_reload(a->show.reporter);
	reporter_flush(a->show.reporter);
	a->rearm = true;
	log_info("configuration reloaded; containers: %zu", fresh->n_containers);
}

/* pullet-update reads the files for each job: what is shown is what it follows. True: they have changed. */
static bool check_config(struct agent *a)
{
	_cleanup_config_ struct config *fresh = NULL;
	bool broken = a->table.fault;
	struct error e;
	int r = config_load(a->o->helper.config_path, &fresh, &e);

	if (a->o->once)
		return false;
	set_fault(a, r < 0 ? e.text : NULL);
	if (r < 0 || (!broken && fresh->fingerprint == a->table.config->fingerprint))
		return false;
	take_config(a, steal(fresh));
	return true;
}

/* --- the timer --- */

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct agent *a = userdata;

	a->due_ms = 0;
	(void)check_config(a);
	if (a->table.fault)
		log_debug("no round: %s", a->table.fault);
	else if (a->early)
		round_queue_half_way(&a->table, now_ms(), &a->queue);
	else
		round_queue_poll(&a->table, now_ms(), &a->queue);
	start_next(a);
	return 0;
}

static void arm_timer(struct agent *a)
{
	uint64_t now = now_ms(), half_way_ms;
	bool half_way = false;
	int r;

	for (size_t i = 0; i < a->table.n; i++)
		half_way |= a->table.units[i].half_way;
	a->failures = half_way ? a->failures + 1 : 0;
	a->due_ms = round_next(&a->table, now);
	half_way_ms =
		now + schedule_backoff(a->failures, a->table.config->interval_ms, a->table.device);
	a->early = half_way && half_way_ms < a->due_ms;
	a->due_ms = a->early ? half_way_ms : a->due_ms;
	a->rearm = false;
	a->timer = sd_event_source_unref(a->timer);
	r = sd_event_add_time(a->event, &a->timer, CLOCK_BOOTTIME, a->due_ms * 1000, 0, on_timer,
			      a);
	if (r < 0)
		log_error("cannot arm the timer: %s", strerror(-r));
	for (size_t i = 0; i < a->table.n; i++) {
		struct unit *u = &a->table.units[i];
		uint64_t held = registry_held_until(u->registry);

		u->next_check_ms = held > a->due_ms ? held : a->due_ms;
		bus_changed(a->show.bus, u, "NextCheck");
	}
}

/* --- the job that runs --- */

/* result: the contract's object as text; NULL: there is none. */
static void end_member(struct agent *a, struct job_member *m, struct unit *u, const char *result)
{
	m->done = true;
	if (!u)
		return;
	u->operation = "";
	u->current = u->total = 0;
	unit_set_step(u, NULL, 0, 0);
	if (result)
		bus_job_ended(a->show.bus, u, a->queue.first->operation, result);
	else
		bus_changed(a->show.bus, u, "Operation", "Phase", "Step");
}

/* A fault of the configuration is shown as long as there is one, and says nothing of the container. */
static bool is_fault(const struct agent *a, const char *reason)
{
	return a->table.fault && streq_null(reason, a->table.fault);
}

/* A download that was stopped goes on behind the others, and a client waits on. False: it does not go on here. */
static bool continue_download(struct agent *a, struct job_member *m, struct unit *u, json_t *result)
{
	enum operation operation = a->queue.first->operation;

	if (!u || !unit_goes_on(u, result, now_ms() - a->started_ms))
		return false;
	/* The next pulletd goes on, and the client waits for that one. */
	if (a->stopping) {
		json_put(result, "reason", json_string(RESULT_STOPPED));
		(void)json_object_del(result, "download");
		return false;
	}
	if (unit_take_slice(u, result, now_ms()) && !a->o->once)
		show_new_result(&a->show, operation, result);
	notifier_result(a->notifier, m->name, operation, false, result);
	job_continue(&a->queue, m->name);
	job_block_continued(&a->queue);
	end_member(a, m, u, NULL);
	bus_changed(a->show.bus, u, "Download", "DownloadPlain", "Progress", "Target",
		    "TargetVersion", "LastError");
	return true;
}

static void take_result(struct agent *a, struct job_member *m, struct unit *u, json_t *result)
{
	const struct job *job = a->queue.first;
	bool failed = result_outcome(result) == OUTCOME_FAILED;
	_cleanup_free_ char *text = NULL;

	(void)json_object_del(result, "event");
	if (continue_download(a, m, u, result))
		return;
	text = json_text(result, JSON_COMPACT);
	show_result(&a->show, result);
	if (result_is_bad(result) && a->status == 0)
		a->status = 1;
	if (result_is_bad(result) && job->candidate)
		job_block_after(&a->queue, m->name,
				failed					    ? "failed"
				: result_outcome(result) == OUTCOME_REFUSED ? "was refused"
									    : "was rolled back");
	if (!a->o->once && u && !is_fault(a, json_get_string(result, "reason"))) {
		bool again = u->tally.last == OUTCOME_FAILED;

		unit_note_half_way(u, result);
		u->urgent = u->half_way && (u->urgent || job->operation == OPERATION_UPDATE_NOW);
		a->rearm |= u->half_way;
		u->registry->failed |= failed && !job->requested;
		if (unit_take_result(u, result, job->operation, now_ms(), now_ms() - a->started_ms))
			show_new_result(&a->show, job->operation, result);
		notifier_result(a->notifier, m->name, job->operation, again, result);
	}
	end_member(a, m, u, text);
}

/* Ends the first job. The contract promises a result for each container, even when pullet-update died. to: NULL if it is
 * not known. */
static void end_rest(struct agent *a, enum outcome outcome, const char *to, const char *reason)
{
	struct job *job = a->queue.first;

	for (struct job_member *m = job->members; m < job->members + job->n; m++) {
		struct unit *u = unit_find(&a->table, m->name);
		_cleanup_json_ json_t *result = NULL;

		if (m->done)
			continue;
		result = result_make(m->name, u ? u->config->image : "", outcome, to, reason);
		take_result(a, m, u, result);
	}
	job_drop_first(&a->queue);
}

/* A candidate gets a pass of its own. */
static void queue_candidate(struct agent *a, const char *name, json_t *event)
{
	const struct job *job = a->queue.first;
	enum operation operation = job->operation;

	if (operation == OPERATION_POLL &&
	    operation_from_name(json_get_string(event, "operation"), &operation) < 0)
		operation = OPERATION_UPDATE;
	/* The pass that goes on with its download asks the registry, too. */
	if (job_is_continued(&a->queue, name))
		return;
	job_append_candidate(&a->queue, operation, job->requested, name, event);
	job_block_continued(&a->queue);
}

/* The same labels are told once. */
static void note_order_fault(struct agent *a, const char *fault)
{
	if (!fault || streq_null(fault, a->order_fault))
		return;
	log_warning("compose's depends_on is ignored for the order of updates: %s", fault);
	replace_string(&a->order_fault, fault);
}

/* A line of pullet-update is bounded, and so are the names. */
static void take_unfollowed(void *userdata, json_t *names)
{
	struct agent *a = userdata;

	if (a->o->once || !json_is_array(names) || json_equal(names, a->table.unfollowed))
		return;
	json_decref(a->table.unfollowed);
	a->table.unfollowed = json_incref(names);
	bus_unfollowed_changed(a->show.bus);
}

static int on_object(void *userdata, json_t *object)
{
	struct agent *a = userdata;
	const char *event = json_get_string(object, "event");
	const char *name = json_get_string(object, "container");
	/* A reload may have removed the container. */
	struct unit *u = unit_find(&a->table, name);
	struct job_member *m = name ? job_find(a->queue.first, name) : NULL;

	if (!event)
		return 0;
	if (streq(event, "order")) {
		note_order_fault(a, json_get_string(object, "fault"));
	} else if (streq(event, "retry-after")) {
		registry_hold(&a->table, u, object, now_ms());
	} else if (streq(event, "unfollowed")) {
		take_unfollowed(a, json_object_get(object, "names"));
	} else if (streq(event, "traffic")) {
		unit_table_take_traffic(&a->table, object);
		bus_traffic_changed(a->show.bus);
	} else if (!m || m->done) {
		log_debug("pullet-update: event %s of no container of the job", event);
	} else if (streq(event, "result")) {
		if (u)
			unit_note_refusal(u, object, now_ms());
		take_result(a, m, u, object);
	} else if (streq(event, "candidate")) {
		queue_candidate(a, name, object);
		end_member(a, m, u, NULL);
	} else if (streq(event, "nothing")) {
		end_member(a, m, u, NULL);
	} else if (u && streq(event, "phase")) {
		show_phase(&a->show, u, object);
	} else if (u && streq(event, "progress")) {
		show_progress(&a->show, u, object);
	} else if (u && streq(event, "step")) {
		show_step(&a->show, u, object);
	} else if (u && streq(event, "log")) {
		show_log(&a->show, u, object);
		notifier_log(a->notifier, name, json_object_get(object, "lines"));
	}
	return 0;
}

static void on_helper_end(void *userdata, int exit_status, const char *how)
{
	struct agent *a = userdata;
	/* A unit may not have started for a credential that systemd cannot load. */
	_cleanup_free_ char *reason = xasprintf(
		"pullet-update ended without a result%s%s%s", how[0] ? " (" : "", how,
		how[0] ? ")" : "; see: pullet config check, and journalctl -u 'pullet-update@*'");

	if (exit_status == 2)
		a->status = 2;
	end_rest(a, a->stopping ? OUTCOME_DEFERRED : OUTCOME_FAILED, NULL,
		 a->stopping ? RESULT_STOPPED : reason);
	if (a->queue.first && check_config(a))
		round_queue_new(&a->table, &a->queue);
	start_next(a);
}

/* Ends the first job if it is a download for which no client waits, of a container that is held or gone. */
static bool end_download(struct agent *a)
{
	const struct job *job = a->queue.first;
	const struct unit *u = unit_find(&a->table, job->members[0].name);
	_cleanup_free_ char *held = u ? unit_held(u, a->o->helper.state_dir) : NULL;

	if (!job->continued || job->requested || (u && !held))
		return false;
	end_rest(a, OUTCOME_DEFERRED, NULL, held);
	return true;
}

/* Ends the first job if it is of a candidate that was refused for its signature a short while ago. */
static bool repeat_refusal(struct agent *a)
{
	struct job *job = a->queue.first;
	struct unit *u = unit_find(&a->table, job->members[0].name);
	_cleanup_json_ json_t *result = unit_repeat_refusal(u, job, now_ms());

	if (!result)
		return false;
	take_result(a, job->members, u, result);
	job_drop_first(&a->queue);
	return true;
}

static bool start_job(struct agent *a)
{
	const struct job *job = a->queue.first;
	const char *word = operations[job->operation].name;
	struct error e;

	if (end_download(a))
		return false;
	a->started_ms = now_ms();
	job_start(&a->queue);
	if (job->blocked) {
		_cleanup_json_ json_t *candidate = json_incref(job->candidate);
		_cleanup_free_ char *reason = xstrdup(job->blocked);

		end_rest(a, OUTCOME_DEFERRED, json_get_string(candidate, "to"), reason);
		return false;
	}
	if (repeat_refusal(a))
		return false;
	if (helper_start(&a->helper, a->event, &a->o->helper, job, &e) < 0) {
		log_error("%s: %s", word, e.text);
		end_rest(a, OUTCOME_FAILED, NULL, e.text);
		return false;
	}
	show_job(job);
	for (size_t i = 0; i < job->n; i++) {
		struct unit *u = unit_find(&a->table, job->members[i].name);

		if (!u)
			continue;
		u->operation = word;
		u->under_way = false;
		bus_changed(a->show.bus, u, "Operation");
	}
	return true;
}

/* The round ends with its last job, whatever clients requested meanwhile: endless requests do not delay the next
 * round. Between two rounds the timer is set again only if an update failed half way. */
static void end_round(struct agent *a)
{
	if (job_is_scheduled(&a->queue) || (a->due_ms && !a->rearm))
		return;
	if (a->due_ms == 0)
		round_end(&a->table, now_ms());
	arm_timer(a);
}

/* The first job of the queue runs, or starts now. */
static void start_next(struct agent *a)
{
	if (a->helper.running)
		return;
	do {
		if (a->stopping || (a->o->once && !a->queue.first)) {
			(void)sd_event_exit(a->event, a->stopping && !a->o->once ? 0 : a->status);
			return;
		}
		if (!a->o->once)
			end_round(a);
	} while (a->queue.first && !start_job(a));
	if (a->queue.first)
		return;
	reporter_flush(a->show.reporter);
	show_idle(&a->table, a->due_ms);
}

/* --- requests --- */

static int on_request_time(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct agent *a = userdata;

	a->request = sd_event_source_unref(a->request);
	if (check_config(a))
		round_queue_new(&a->table, &a->queue);
	start_next(a);
	return 0;
}

/* Whoever changed the configuration looks next at what is followed now. */
static int on_survey(void *userdata, sd_bus_message *call, sd_bus_error *error)
{
	struct agent *a = userdata;

	if (check_config(a)) {
		round_queue_new(&a->table, &a->queue);
		start_next(a);
	}
	return survey_ask(&a->survey, a->event, &a->o->helper, a->table.fault, call, error);
}

static int on_request(void *userdata, const struct unit *u, enum operation operation,
		      bool privileged, json_t *hold, char **ret_answer, struct error *ret_error)
{
	_cleanup_json_ json_t *given = hold;
	struct agent *a = userdata;

	if (a->stopping)
		return error_set(ret_error, -ESHUTDOWN, "pulletd is stopping");
	/* The previous image is not known while an update is under way. */
	if (operation == OPERATION_ROLLBACK && u->operation[0] &&
	    !streq(u->operation, operations[operation].name))
		return error_set(ret_error, -EBUSY,
				 "another operation (%s) is under way; wait for its end",
				 u->operation);
	*ret_answer = unit_answer(u, operation, privileged, now_ms());
	if (*ret_answer)
		return 0;
	job_request(&a->queue, operation, u->config->name, steal(given));
	if (!a->request) {
		a->requested_ms = now_ms();
		(void)sd_event_add_time_relative(a->event, &a->request, CLOCK_MONOTONIC,
						 REQUEST_DELAY_US, 0, on_request_time, a);
	} else if (now_ms() - a->requested_ms < REQUESTS_MAX_MS) {
		(void)sd_event_source_set_time_relative(a->request, REQUEST_DELAY_US);
	}
	return 0;
}

/* --- the process --- */

static int on_stop(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata)
{
	struct agent *a = userdata;

	(void)sd_notify(0, "STOPPING=1");
	a->stopping = true;
	helper_stop(&a->helper);
	start_next(a);
	return 0;
}

static int on_reload(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata)
{
	struct agent *a = userdata;
	bool broken = a->table.fault;
	struct config *fresh;
	struct error e;

	show_reloading();
	if (config_load(a->o->helper.config_path, &fresh, &e) < 0) {
		set_fault(a, e.text);
	} else {
		set_fault(a, NULL);
		take_config(a, fresh);
		/* What a power cut left half done had to wait for it. */
		if (broken)
			round_queue_unfinished(&a->table, a->o->helper.state_dir, &a->queue);
		round_queue_new(&a->table, &a->queue);
		if (!a->helper.running)
			arm_timer(a);
		start_next(a);
	}
	if (!a->queue.first)
		show_idle(&a->table, a->due_ms);
	(void)sd_notify(0, "READY=1");
	return 0;
}

/* Before the process sleeps with an empty queue. */
static int on_idle(sd_event_source *s, void *userdata)
{
	struct agent *a = userdata;

	bus_drop_cache(a->show.bus);
	if (!a->queue.first)
		memory_give_back();
	return 0;
}

static int set_up(struct agent *a)
{
	static const struct {
		int number;
		sd_event_signal_handler_t handler;
	} signals[] = {{SIGTERM, on_stop}, {SIGINT, on_stop}, {SIGHUP, on_reload}};
	sigset_t set;
	int r;

	/* sd-event needs it blocked to watch children. */
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	r = sd_event_new(&a->event);
	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(signals); i++)
		r = sd_event_add_signal(a->event, NULL,
					signals[i].number | SD_EVENT_SIGNAL_PROCMASK,
					signals[i].handler, a);
	if (r >= 0)
		r = sd_event_add_post(a->event, NULL, on_idle, a);
	if (r >= 0)
		r = sd_event_set_watchdog(a->event, true);
	return r;
}

static void begin(struct agent *a)
{
	if (a->o->once) {
		round_queue_once(&a->table, a->o->names, a->o->now, &a->queue);
	} else {
		round_queue_unfinished(&a->table, a->o->helper.state_dir, &a->queue);
		a->show.bus = bus_open(a->event, &a->table, a->o->helper.state_dir, on_request,
				       on_survey, a);
		a->show.reporter = reporter_open(a->event, &a->table, &a->o->helper);
		a->notifier = notifier_open(a->event, &a->table, &a->o->helper);
	}
	(void)sd_notify(0, "READY=1");
	start_next(a);
}

int agent_run(const struct agent_options *o, struct config *config, const char *fault)
{
	struct agent a = {.o = o, .show = {.once = o->once, .json = o->json}};
	int r = set_up(&a);

	a.helper = (struct helper){.program = "pullet-update",
				   .on_object = on_object,
				   .on_end = on_helper_end,
				   .userdata = &a,
				   .fd = -1};
	a.survey = (struct survey){.on_unfollowed = take_unfollowed, .userdata = &a};
	survey_init(&a.survey);
	unit_table_load(&a.table, config);
	set_fault(&a, fault);
	if (r >= 0) {
		begin(&a);
		/* Nothing was dispatched before the first sleep. */
		(void)on_idle(NULL, &a);
		r = sd_event_loop(a.event);
	}
	if (r < 0)
		log_error("the event loop failed: %s", strerror(-r));
	survey_close(&a.survey);
	bus_close(a.show.bus);
	reporter_close(a.show.reporter);
	notifier_close(a.notifier);
	while (a.queue.first)
		job_drop_first(&a.queue);
	(void)sd_event_source_unref(a.timer);
	(void)sd_event_source_unref(a.request);
	(void)sd_event_unref(a.event);
	unit_table_clear(&a.table);
	free(a.order_fault);
	return r < 0 ? 1 : r;
}
