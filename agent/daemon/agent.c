/* SPDX-License-Identifier: MIT */
#include "agent.h"

#include <errno.h>
#include <inttypes.h>
#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <time.h>
#include <systemd/sd-daemon.h>

#include "log.h"
#include "schedule.h"
#include "show.h"
#include "unit.h"

/* Requests within this time (pullet check of many containers) make one job. */
#define REQUEST_DELAY_US ((uint64_t)30 * 1000)
/* The shortest time between checks of one container by a client that is not root. */
#define CHECK_EACH_MS 30000

struct agent {
	const struct agent_options *o;
	struct unit_table table;
	struct show show;
	sd_event *event;
	sd_event_source *timer;	  /* the next round */
	sd_event_source *request; /* starts the requests of REQUEST_DELAY_US */
	uint64_t due_ms;	  /* of the timer; 0: a round is under way */
	bool rearm;		  /* an update failed half way: the timer is set again */
	bool early;		  /* the timer is for those updates, not a round */
	unsigned int failures;	  /* times in a row that an update failed half way */
	int status;		  /* exit status so far, of --once */
	bool stopping;
	struct job_queue queue;
	struct helper helper;
	uint64_t started_ms; /* of the job that runs */
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
	log_info("configuration reloaded: %zu containers", fresh->n_containers);
}

/* The files may have changed without a reload, and pullet-update reads them for each job: what is shown is what it
 * follows. */
static void check_config(struct agent *a)
{
	_cleanup_config_ struct config *fresh = NULL;
	bool broken = a->table.fault;
	struct error e;
	int r = config_load(a->o->helper.config_path, &fresh, &e);

	if (a->o->once)
		return;
	set_fault(a, r < 0 ? e.text : NULL);
	if (r == 0 && (broken || fresh->fingerprint != a->table.config->fingerprint))
		take_config(a, steal(fresh));
}

/* --- the timer --- */

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct agent *a = userdata;

	a->due_ms = 0;
	check_config(a);
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
	if (result)
		bus_job_ended(a->show.bus, u, a->queue.first->operation, result);
	else
		bus_changed(a->show.bus, u, "Operation", "Phase");
}

/* A fault of the configuration is shown as long as there is one, and says nothing of the container. */
static bool is_fault(const struct agent *a, const char *reason)
{
	return a->table.fault && streq_null(reason, a->table.fault);
}

static void take_result(struct agent *a, struct job_member *m, struct unit *u, json_t *result)
{
	const struct job *job = a->queue.first;
	bool failed = result_outcome(result) == OUTCOME_FAILED;
	_cleanup_free_ char *text = NULL;

	(void)json_object_del(result, "event");
	text = json_text(result, JSON_COMPACT);
	show_result(&a->show, result);
	if (result_is_bad(result) && a->status == 0)
		a->status = 1;
	if (!a->o->once && u && !is_fault(a, json_get_string(result, "reason"))) {
		u->half_way = failed && (u->under_way || u->half_way);
		a->rearm |= u->half_way;
		u->registry->failed |= failed && !job->requested;
		if (unit_take_result(u, result, job->operation, now_ms(), now_ms() - a->started_ms))
			show_new_result(&a->show, result);
	}
	end_member(a, m, u, text);
}

/* Ends the first job. The contract promises a result for each container, even when pullet-update died. */
static void fail_rest(struct agent *a, const char *reason)
{
	struct job *job = a->queue.first;

	for (struct job_member *m = job->members; m < job->members + job->n; m++) {
		struct unit *u = unit_find(&a->table, m->name);
		_cleanup_json_ json_t *result = NULL;

		if (m->done)
			continue;
		result = result_make(m->name, u ? u->config->image : "", OUTCOME_FAILED, NULL,
				     reason);
		take_result(a, m, u, result);
	}
	job_drop_first(&a->queue);
}

/* A candidate gets a pass of its own. */
static void queue_candidate(struct agent *a, const char *name)
{
	const struct job *job = a->queue.first;
	enum operation operation =
		job->operation == OPERATION_CHECK ? OPERATION_CHECK : OPERATION_UPDATE;

	job_append(&a->queue, operation, job->requested, name)->alone = true;
}

static void hold_registry(struct agent *a, const struct unit *u, const json_t *event)
{
	struct registry_state *r =
		u ? u->registry : unit_find_registry(&a->table, json_get_string(event, "registry"));
	json_int_t seconds = json_integer_value(json_object_get(event, "seconds"));

	if (r && seconds > 0)
		r->retry_after_ms = now_ms() + (uint64_t)seconds * 1000;
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
	if (streq(event, "retry-after")) {
		hold_registry(a, u, object);
	} else if (!m || m->done) {
		log_debug("pullet-update: event %s of no container of the job", event);
	} else if (streq(event, "result")) {
		take_result(a, m, u, object);
	} else if (streq(event, "candidate")) {
		queue_candidate(a, name);
		end_member(a, m, u, NULL);
	} else if (streq(event, "nothing")) {
		end_member(a, m, u, NULL);
	} else if (u && streq(event, "phase")) {
		show_phase(&a->show, u, object);
	} else if (u && streq(event, "progress")) {
		show_progress(&a->show, u, object);
	}
	return 0;
}

static void on_helper_end(void *userdata, int exit_status, const char *how)
{
	struct agent *a = userdata;
	_cleanup_free_ char *reason = xasprintf("pullet-update ended without a result%s%s%s",
						how[0] ? " (" : "", how, how[0] ? ")" : "");

	if (exit_status == 2)
		a->status = 2;
	fail_rest(a, reason);
	start_next(a);
}

static bool start_job(struct agent *a)
{
	const struct job *job = a->queue.first;
	const char *word = operations[job->operation].name;
	struct error e;

	a->started_ms = now_ms();
	job_start(&a->queue);
	if (helper_start(&a->helper, a->event, &a->o->helper, job, &e) < 0) {
		log_error("%s: %s", word, e.text);
		fail_rest(a, e.text);
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
	check_config(a);
	start_next(a);
	return 0;
}

/* The result of a check or update that needs no registry: the registry sent Retry-After, or it was checked just now and
 * the client is not root. Only an update by root asks nevertheless. NULL: the registry must be asked. Caller frees. */
static char *answer_at_once(const struct unit *u, enum operation operation, bool privileged)
{
	uint64_t now = now_ms(), until = u->registry->retry_after_ms;
	bool check = operation == OPERATION_CHECK;

	if (!check && (operation != OPERATION_UPDATE || privileged))
		return NULL;
	if (now < until) {
		_cleanup_free_ char *reason = xasprintf(RESULT_RETRY_AFTER, u->registry->host,
							(until - now + 999) / 1000);
		_cleanup_json_ json_t *j = result_make(u->config->name, u->config->image,
						       OUTCOME_DEFERRED, NULL, reason);

		return json_text(j, JSON_COMPACT);
	}
	if (check && !privileged && u->last_result && u->checked_ms &&
	    now < u->checked_ms + CHECK_EACH_MS)
		return xstrdup(u->last_result);
	return NULL;
}

static int on_request(void *userdata, const struct unit *u, enum operation operation,
		      bool privileged, char **ret_answer, struct error *ret_error)
{
	struct agent *a = userdata;

	if (a->stopping)
		return error_set(ret_error, -ESHUTDOWN, "pulletd is stopping");
	/* The previous image is not known while an update is under way. */
	if (operation == OPERATION_ROLLBACK && u->operation[0] &&
	    !streq(u->operation, operations[operation].name))
		return error_set(ret_error, -EBUSY,
				 "another operation (%s) is under way; wait for its end",
				 u->operation);
	*ret_answer = answer_at_once(u, operation, privileged);
	if (*ret_answer)
		return 0;
	job_request(&a->queue, operation, u->config->name);
	if (!a->request)
		(void)sd_event_add_time_relative(a->event, &a->request, CLOCK_MONOTONIC,
						 REQUEST_DELAY_US, 0, on_request_time, a);
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

/* sd_notify(3): RELOADING=1 goes with a time of CLOCK_MONOTONIC, by which systemd tells this reload from the
 * one before. */
static void notify_reloading(void)
{
	struct timespec t = {0};

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	(void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
			 (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000);
}

static int on_reload(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata)
{
	struct agent *a = userdata;
	bool broken = a->table.fault;
	struct config *fresh;
	struct error e;

	notify_reloading();
	if (config_load(a->o->helper.config_path, &fresh, &e) < 0) {
		set_fault(a, e.text);
	} else {
		set_fault(a, NULL);
		take_config(a, fresh);
		/* What a power cut left half done had to wait for it. */
		if (broken)
			round_queue_unfinished(&a->table, a->o->helper.state_dir, &a->queue);
		if (!a->helper.running)
			arm_timer(a);
		if (broken)
			start_next(a);
	}
	if (!a->queue.first)
		show_idle(&a->table, a->due_ms);
	(void)sd_notify(0, "READY=1");
	return 0;
}

/* Only read-only segments: the others hold relocations, which the file lacks. */
static int drop_text(struct dl_phdr_info *info, size_t size, void *userdata)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		size_t start = (info->dlpi_addr + p->p_vaddr) & ~(page - 1);
		size_t end = (info->dlpi_addr + p->p_vaddr + p->p_memsz + page - 1) & ~(page - 1);

		if (p->p_type == PT_LOAD && !(p->p_flags & PF_W))
			(void)madvise((void *)start, end - start, MADV_DONTNEED);
	}
	return 0;
}

/* Before the process sleeps with an empty queue, it gives the free heap and the pages of program text and constants
 * back to the kernel, which reads them from the file again: a few page faults a poll for more than half of the
 * memory. */
static int on_idle(sd_event_source *s, void *userdata)
{
	struct agent *a = userdata;

	bus_drop_cache(a->show.bus);
	if (!a->queue.first) {
		(void)malloc_trim(0);
		(void)dl_iterate_phdr(drop_text, NULL);
	}
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
	if (a->o->names[0]) {
		struct job *job = job_append(&a->queue, OPERATION_POLL, false, a->o->names[0]);

		for (const char *const *name = a->o->names + 1; *name; name++)
			job_add(job, *name);
	} else if (a->o->once) {
		round_queue_poll(&a->table, now_ms(), &a->queue);
	} else {
		round_queue_unfinished(&a->table, a->o->helper.state_dir, &a->queue);
		a->show.bus = bus_open(a->event, &a->table, a->o->helper.state_dir, on_request, a);
		a->show.reporter = reporter_open(a->event, &a->table, &a->o->helper);
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
	bus_close(a.show.bus);
	reporter_close(a.show.reporter);
	while (a.queue.first)
		job_drop_first(&a.queue);
	(void)sd_event_source_unref(a.timer);
	(void)sd_event_source_unref(a.request);
	(void)sd_event_unref(a.event);
	unit_table_clear(&a.table);
	return r < 0 ? 1 : r;
}
