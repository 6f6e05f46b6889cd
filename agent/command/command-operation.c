/* SPDX-License-Identifier: MIT */
/* Operations that pulletd carries out: requested, followed to their end, printed. */
#include <errno.h>
#include <stdio.h>

#include "calendar.h"
#include "client.h"
#include "clock.h"
#include "command.h"
#include "log.h"
#include "progress.h"
#include "result.h"
#include "terminal.h"

#define COME_BACK_MS ((uint64_t)3 * 60 * 1000) /* stopping pulletd may take two minutes */
#define GO_AWAY_MS   ((uint64_t)10 * 1000)     /* until a stopped pulletd is gone */
#define CLEAR_LINE   "\r\033[K"

enum job_state {
	JOB_SENT,
	JOB_ACCEPTED, /* the next Finished of the operation is this job's */
	JOB_STOPPED,  /* by a signal: pulletd may be about to restart */
	JOB_LOST,     /* pulletd stopped */
	JOB_DONE,
};

struct job {
	char *name;
	enum job_state state;
	char *previous; /* digest that a rollback leads to */
	bool follows; /* lost, but pulletd goes on with its download: that one's end is this job's */
	json_t *result;
};

struct followed {
	const struct command_options *o;
	struct client client;
	enum operation operation;
	struct hold hold; /* OPERATION_HOLD */
	struct job *jobs;
	size_t n_jobs, n_open;	  /* not done */
	struct terminal terminal; /* of standard error */
	struct progress progress;
	char *shown; /* container and phase that were printed last */
	char *step;  /* of that container, which was printed last without a terminal */
	uint64_t until_ms;
	bool bad;
};

static void clear_line(const struct followed *f)
{
	if (f->terminal.live)
		fputs(CLEAR_LINE, stderr);
}

static bool has_job(const struct followed *f, const char *name)
{
	for (size_t i = 0; i < f->n_jobs; i++) {
		if (streq(f->jobs[i].name, name))
			return true;
	}
	return false;
}

static void end_job(struct followed *f, struct job *job, bool bad)
{
	job->state = JOB_DONE;
	f->n_open--;
	f->bad |= bad;
}

static enum tint tint_of(const json_t *result)
{
	if (result_is_bad(result))
		return TINT_BAD;
	return result_outcome(result) == OUTCOME_DEFERRED ? TINT_WAIT : TINT_NONE;
}

static void print_text(const struct followed *f, const json_t *result)
{
	bool colours = terminal_of(STDOUT_FILENO).colours;
	enum tint tint = operations[f->operation].record_only ? TINT_NONE : tint_of(result);
	_cleanup_free_ char *text = result_sentence(result, f->operation);
	bool rejected =
		after_prefix(json_get_string(result, "reason") ?: "", RESULT_REJECTED_PREFIX);

	printf("%s%s%s%s%s\n", terminal_tint(colours, tint), text,
	       rejected ? "; to try it again: pullet retry " : "",
	       rejected ? json_get_string(result, "container") : "", terminal_plain(colours, tint));
}

static void take_result(struct followed *f, struct job *job, json_t *result)
{
	clear_line(f);
	if (f->o->json)
		command_print_json(json_incref(result));
	else
		print_text(f, result);
	(void)fflush(stdout);
	end_job(f, job, result_is_bad(result));
}

/* A result that pulletd did not send. */
static void take_own_result(struct followed *f, struct job *job, enum outcome outcome,
			    const char *to, const char *reason)
{
	const struct status *s = status_list_find(&f->client.list, job->name);
	_cleanup_json_ json_t *result =
		result_make(job->name, s ? s->image : "", outcome, to, reason);

	take_result(f, job, result);
}

/* Scripts get a line for each container, even if no operation was started. */
static void fail_job(struct followed *f, struct job *job, const char *why)
{
	if (f->o->json) {
		take_own_result(f, job, OUTCOME_FAILED, NULL, why);
		return;
	}
	clear_line(f);
	log_error("%s: %s", job->name, why);
	end_job(f, job, true);
}

/* Says which limits an urgent update passes, as far as they would stop it now. */
static void print_limits(const struct followed *f, const struct status *s)
{
	static const char *const periods[] = {"day", "month"};
	const struct download_state *d = &s->download;
	_cleanup_free_ char *left = text_bytes(d->of > d->bytes ? d->of - d->bytes : 0);

	if (f->o->json || f->operation != OPERATION_UPDATE_NOW)
		return;
	if (streq_null(d->waits, WAITS_WINDOW))
		log_info("%s: past its download-window: %s to come", s->name, left);
	for (size_t i = 0; i < ARRAY_SIZE(periods); i++) {
		const uint64_t *used = &f->client.traffic[2 * i];

		if (used[1] && used[0] >= used[1])
			log_info("%s: past the budget of the %s%s%s%s", s->name, periods[i],
				 d->of ? ": " : "", d->of ? left : "", d->of ? " to come" : "");
	}
}

static void send_request(struct followed *f, struct job *job)
{
	const struct status *s = status_list_find(&f->client.list, job->name);
	struct error e;

	if (!s) {
		fail_job(f, job, "pulletd no longer has this container");
		return;
	}
	print_limits(f, s);
	job->state = JOB_SENT;
	replace_string(&job->previous, s->previous);
	if (client_request(&f->client, job->name, f->operation, &f->hold, &e) < 0)
		fail_job(f, job, e.text);
}

/* One operation runs at a time: log which one this one waits for. */
static void on_accepted(struct followed *f, struct job *job)
{
	const struct status_list *l = &f->client.list;

	job->state = JOB_ACCEPTED;
	for (size_t i = 0; !f->o->json && i < l->n; i++) {
		const struct status *s = &l->items[i];

		if (s->operation[0] &&
		    !(streq(s->operation, operations[f->operation].name) && has_job(f, s->name)))
			log_info("%s: waiting for the end of %s of %s", job->name, s->operation,
				 s->name);
	}
}

static void on_refused(struct followed *f, struct job *job, const struct error *e)
{
	_cleanup_free_ char *why = NULL;

	if (e->code == -EHOSTDOWN) {
		job->state = JOB_LOST;
		f->until_ms = now_ms() + COME_BACK_MS;
		return;
	}
	if (e->code == -EACCES)
		why = xasprintf("permission denied; try: sudo pullet %s%s %s", f->o->command,
				f->o->now ? " --now" : "", job->name);
	fail_job(f, job, why ? why : e->text);
}

/* "web: prepare 1.4.2 sha256:...". Caller frees. */
static char *phase_text(const struct status *s)
{
	return xasprintf("%s: %s %s%s%.19s", s->name, s->phase, s->target_version,
			 s->target_version[0] ? " " : "", s->target);
}

static void print_phase(struct followed *f, const struct status *s)
{
	_cleanup_free_ char *now = phase_text(s);

	if (streq_null(now, f->shown))
		return;
	replace_string(&f->shown, now);
	replace_string(&f->step, "");
	f->progress = (struct progress){0};
	clear_line(f);
	if (!streq(s->phase, "idle"))
		fprintf(stderr, "%s%s", now, f->terminal.live ? "" : "\n");
}

static void print_progress(struct followed *f, const struct status *s)
{
	/* It stands where it was while a slice begins. */
	bool running = s->total && !s->download.of;
	_cleanup_free_ char *line = NULL;

	progress_note(&f->progress, running ? s->bytes : s->download.bytes,
		      running ? s->total : s->download.of, now_ms());
	/* Until this program has measured the rate, pulletd knows it. */
	if (f->progress.rate <= 0)
		f->progress.rate = (double)s->download.bytes_s;
	if (f->terminal.live) {
		line = progress_bar(&f->progress, s->name, f->terminal.width - 1);
		fprintf(stderr, CLEAR_LINE "%s", line);
		return;
	}
	line = progress_line(&f->progress, s->name, now_ms());
	if (line)
		fprintf(stderr, "%s\n", line);
}

static bool is_local(const struct status *s)
{
	return streq(s->step, STEP_LOAD) || streq(s->step, STEP_REBUILD);
}

/* The layers are made of a delta; then the engine takes the image, and goes on unpacking it for a while. */
static void print_load(struct followed *f, const struct status *s)
{
	uint64_t now = now_ms();
	_cleanup_free_ char *bytes = text_bytes(s->bytes), *total = text_bytes(s->total);
	bool rebuilds = streq(s->step, STEP_REBUILD);
	bool unpacks = !rebuilds && s->total && s->bytes >= s->total;
	_cleanup_free_ char *how =
		unpacks ? xstrdup("the engine unpacks it")
			: xasprintf("%s %s of %s", rebuilds ? "makes" : "loads", bytes, total);
	uint64_t ms = s->step_began_ms && now > s->step_began_ms ? now - s->step_began_ms : 0;
	_cleanup_free_ char *text = xasprintf("%s, %u s", how, (unsigned int)(ms / 1000));
	_cleanup_free_ char *line = NULL;

	if (f->terminal.live) {
		line = progress_draw(s->name, text, s->bytes, s->total, f->terminal.width - 1);
		fprintf(stderr, CLEAR_LINE "%s", line);
		return;
	}
	if (!streq_null(s->step, f->step))
		fprintf(stderr, "%s: %s\n", s->name, s->step);
	replace_string(&f->step, s->step);
}

/* What goes on while no bytes come: on a terminal each second of a trial, else its length, once. */
static void print_step(struct followed *f, const struct status *s)
{
	uint64_t elapsed;
	_cleanup_free_ char *text = status_step(s, &elapsed), *line = NULL;

	if (f->terminal.live) {
		bool idle = streq(s->phase, "idle");
		_cleanup_free_ char *phase = idle ? xasprintf("%s:", s->name) : phase_text(s);

		line = s->step_ms ? progress_draw(s->name, text, elapsed, s->step_ms,
						  f->terminal.width - 1)
				  : xasprintf("%s%s %s", phase, idle ? "" : ",", text);
		fprintf(stderr, CLEAR_LINE "%.*s",
			(int)text_cut(line, strnlen(line, f->terminal.width - 1)), line);
	} else if (s->step_ms && !streq_null(s->step, f->step)) {
		fprintf(stderr, "%s: %s%s%u s\n", s->name, s->step,
			streq(s->step, STEP_TRIAL) ? " for " : ", at most ",
			(unsigned int)((s->step_ms + 999) / 1000));
		replace_string(&f->step, s->step);
	}
}

static void on_changed(struct followed *f, const struct job *job)
{
	const struct status *s = status_list_find(&f->client.list, job->name);

	if (f->o->json || !s || !s->operation[0] ||
	    (!operation_is_update(f->operation) && f->operation != OPERATION_ROLLBACK))
		return;
	print_phase(f, s);
	if (is_local(s))
		print_load(f, s);
	else if (s->total || s->download.of)
		print_progress(f, s);
	else if (s->step[0])
		print_step(f, s);
}

/* A restarted pulletd finishes the operation under way but forgets requests, so they are sent again. A rollback
 * that was made must not be made twice. */
static void take_up(struct followed *f, struct job *job)
{
	const struct status *s = status_list_find(&f->client.list, job->name);

	/* What it finishes may end without a result, and the next event leads here again; a download ends with one. */
	job->follows |= s && s->download.of && !s->download.waits;
	if (s && (s->next_check_us == 0 || job->follows ||
		  streq(s->operation, operations[OPERATION_FINISH].name)))
		return;
	if (s && f->operation == OPERATION_ROLLBACK && job->previous[0] &&
	    streq(s->current, job->previous))
		take_own_result(f, job, OUTCOME_UPDATED, s->current,
				"rolled back while pulletd restarted");
	else
		send_request(f, job);
}

static void on_finished(struct followed *f, struct job *job, const struct client_event *event)
{
	const char *reason = json_get_string(event->result, "reason");
	bool mine = job->state == JOB_ACCEPTED && event->operation == f->operation;

	/* The restarted pulletd finished the interrupted operation; one that failed is requested again. */
	if (job->state == JOB_LOST &&
	    (event->operation == OPERATION_FINISH ||
	     (operation_is_update(event->operation) && operation_is_update(f->operation)))) {
		mine = !operations[f->operation].record_only && f->operation != OPERATION_CHECK &&
		       !streq_null(json_get_string(event->result, "result"), "failed");
		job->follows &= mine;
	}
	if (!mine)
		return;
	if (streq_null(reason, RESULT_STOPPED)) {
		job->state = JOB_STOPPED;
		json_decref(job->result);
		job->result = json_incref(event->result);
		f->until_ms = now_ms() + GO_AWAY_MS;
		return;
	}
	take_result(f, job, event->result);
}

/* An event of the job's container, or of all. */
static void on_job_event(struct followed *f, struct job *job, const struct client_event *event)
{
	switch (event->kind) {
	case CLIENT_NOTHING:
		if (job->state == JOB_STOPPED)
			take_result(f, job, job->result);
		else if (job->state == JOB_LOST)
			fail_job(f, job,
				 "pulletd did not come back; an operation under way continues "
				 "when it does; see: pullet status");
		break;
	case CLIENT_CHANGED:
		on_changed(f, job);
		break;
	case CLIENT_ACCEPTED:
		if (job->state == JOB_SENT)
			on_accepted(f, job);
		break;
	case CLIENT_REFUSED:
		on_refused(f, job, &event->error);
		break;
	case CLIENT_FINISHED:
		on_finished(f, job, event);
		break;
	case CLIENT_GONE:
		job->state = JOB_LOST;
		job->follows = false;
		break;
	case CLIENT_INTERRUPTED:
		clear_line(f);
		log_warning("%s: %s continues in pulletd; to follow it: pullet status --watch",
			    job->name, operations[f->operation].name);
		end_job(f, job, true);
		break;
	case CLIENT_LOST:
		fail_job(f, job, event->error.text);
		break;
	case CLIENT_LISTED:
	case CLIENT_BACK:
		break;
	}
}

static void on_event(struct followed *f, const struct client_event *event)
{
	/* A pulletd that did not answer is down, even before its end was signalled. */
	bool up = f->client.up && event->kind != CLIENT_REFUSED;

	if (event->kind == CLIENT_GONE) {
		clear_line(f);
		log_warning("pulletd stopped; waiting for it to come back");
		f->until_ms = now_ms() + COME_BACK_MS;
	} else if (event->kind == CLIENT_BACK) {
		log_info("pulletd is back");
		f->until_ms = CLIENT_FOREVER;
	} else if (event->kind == CLIENT_NOTHING) {
		f->until_ms = CLIENT_FOREVER;
	}
	for (size_t i = 0; i < f->n_jobs; i++) {
		struct job *job = &f->jobs[i];

		if (job->state != JOB_DONE && (!event->name || streq(event->name, job->name)))
			on_job_event(f, job, event);
		if (up && job->state == JOB_LOST)
			take_up(f, job);
	}
}

/* pulletd tells when a trial began and how long it takes, and sleeps then: its seconds are counted here. */
static void wait_for_event(struct followed *f)
{
	const struct client_event *event;
	uint64_t until_ms = f->until_ms;
	bool ticks = false;

	for (size_t i = 0; i < f->n_jobs; i++) {
		const struct status *s = status_list_find(&f->client.list, f->jobs[i].name);

		ticks |= f->terminal.live && f->jobs[i].state != JOB_DONE && s &&
			 (s->step_ms || is_local(s));
	}
	if (ticks && now_ms() + 1000 < until_ms)
		until_ms = now_ms() + 1000;
	event = client_next(&f->client, until_ms);
	if (event->kind != CLIENT_NOTHING || until_ms == f->until_ms) {
		on_event(f, event);
		return;
	}
	for (size_t i = 0; i < f->n_jobs; i++) {
		if (f->jobs[i].state != JOB_DONE)
			on_changed(f, &f->jobs[i]);
	}
}

/* What was changed since pulletd read the configuration may add the containers that are asked for, or mend it. */
static void refresh(struct followed *f, const char *const *names)
{
	bool all = names[0] || f->client.list.n > 0;
	struct error e;

	for (; *names; names++)
		all &= status_list_find(&f->client.list, *names) != NULL;
	if (!all && client_refresh(&f->client, &e) < 0)
		log_error("%s", e.text);
}

/* 0, or 2 when pulletd has no such container. */
static int make_jobs(struct followed *f, const char *const *names)
{
	const struct status_list *l = &f->client.list;
	size_t n = 0;

	refresh(f, names);
	while (names[n])
		n++;
	f->n_jobs = f->n_open = n ? n : l->n;
	f->jobs = xcalloc(f->n_jobs, sizeof(*f->jobs));
	for (size_t i = 0; i < f->n_jobs; i++) {
		f->jobs[i].name = xstrdup(n ? names[i] : l->items[i].name);
		if (!status_list_find(l, f->jobs[i].name)) {
			if (f->client.config_error)
				log_error("%s; updates are suspended", f->client.config_error);
			else
				log_error("pulletd has no [container %s]; for a list: pullet "
					  "status",
					  f->jobs[i].name);
			return 2;
		}
	}
	if (f->n_jobs == 0 && f->client.config_error) {
		log_error("%s; updates are suspended", f->client.config_error);
		return 2;
	}
	if (f->n_jobs == 0) {
		_cleanup_free_ char *hint = adopt_hint(&f->client);

		log_info("%s", hint);
	}
	return 0;
}

static int follow(struct followed *f, const char *const *names)
{
	int status = make_jobs(f, names);

	for (size_t i = 0; status == 0 && i < f->n_jobs; i++)
		send_request(f, &f->jobs[i]);
	while (status == 0 && f->n_open > 0)
		wait_for_event(f);
	for (size_t i = 0; i < f->n_jobs; i++) {
		free(f->jobs[i].name);
		free(f->jobs[i].previous);
		json_decref(f->jobs[i].result);
	}
	free(f->jobs);
	free(f->shown);
	free(f->step);
	/* What failed with a broken configuration failed because of it. */
	return status ? status : f->bad && f->client.config_error ? 2 : f->bad;
}

/* Exit status: 2 for a time that cannot be used. */
static int read_hold(const struct command_options *o, struct hold *ret)
{
	/* With sudo, the user who called it. */
	const char *user = getuid() == 0 ? getenv("SUDO_USER") : NULL;
	int64_t now_s = clock_now();
	int r = 0;

	copy_text(ret->by, sizeof(ret->by), user);
	copy_text(ret->reason, sizeof(ret->reason), o->reason);
	if (o->until && now_s == 0)
		log_error("--until: the clock is not set; hold without it, or see: timedatectl");
	else if (o->until)
		r = calendar_parse_until(o->until, now_s, &ret->until_s);
	if (r == -ERANGE)
		log_error("--until: '%s' is in the past", o->until);
	else if (r < 0)
		log_error("--until: '%s' is not a time (2026-12-24, '2026-12-24 18:00', tomorrow, "
			  "3d)",
			  o->until);
	return r < 0 || (o->until && now_s == 0) ? 2 : 0;
}

int command_operation(const struct command_options *o, const char *const *names)
{
	struct followed f = {
		.o = o, .terminal = terminal_of(STDERR_FILENO), .until_ms = CLIENT_FOREVER};
	struct error e;
	int status = 1;

	if (operation_from_name(o->now ? operations[OPERATION_UPDATE_NOW].name : o->command,
				&f.operation) < 0)
		abort();
	if (f.operation == OPERATION_HOLD && read_hold(o, &f.hold) != 0)
		return 2;
	if (client_open(&f.client, &e) < 0) {
		log_error("%s", e.text);
		return 1;
	}
	if (f.client.up)
		status = follow(&f, names);
	else
		log_error("pulletd is not running; to start it: systemctl start pulletd");
	client_close(&f.client);
	return status;
}
