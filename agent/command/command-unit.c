/* SPDX-License-Identifier: MIT */
/* The starter: one request of unit-start.h on standard input, a socket. It runs as root, so it believes only the
 * configuration, whose files nobody but root may have written. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <systemd/sd-bus.h>

#include "command.h"
#include "config.h"
#include "event-env.h"
#include "log.h"
#include "protocol.h"
#include "trusted-file.h"
#include "unit-request.h"
#include "unit-start.h"

#define REQUEST_TIMEOUT_MS 10000
#define JSON_BUDGET	   ((size_t)4 * 1024 * 1024)
#define EVENTS_DIR	   "/run/pullet/events"
#define NOTIFY_DIR	   "notify.d"
#define NOTIFY_TEMPLATE	   "pullet-notify@.service"
#define SYSTEMD		   "org.freedesktop.systemd1"
#define MANAGER		   SYSTEMD, "/org/freedesktop/systemd1", SYSTEMD ".Manager"

/* A unit that runs for a hook. */
struct run {
	sd_bus *bus;
	const char *unit;
	char *path; /* of its object */
	char *job;  /* that starts it; NULL: it has ended */
	char job_result[24];
};

static void run_free(struct run *u)
{
	free(u->path);
	free(u->job);
	sd_bus_flush_close_unref(u->bus);
}

static int fail(const struct run *u, int r, const sd_bus_error *e, struct error *ret_error)
{
	const char *text = e->message ? e->message : strerror(-r);
	size_t n = strlen(text);

	return error_set(ret_error, r, "systemd does not start %s: %.*s", u->unit,
			 (int)(n && text[n - 1] == '.' ? n - 1 : n), text);
}

static int on_job_removed(sd_bus_message *m, void *userdata, sd_bus_error *e)
{
	struct run *u = userdata;
	const char *job, *result;

	if (sd_bus_message_read(m, "uoss", NULL, &job, NULL, &result) >= 0 &&
	    streq_null(job, u->job)) {
		copy_text(u->job_result, sizeof(u->job_result), result);
		free(steal(u->job));
	}
	return 0;
}

/* A change only wakes the loop, which then asks. */
static int on_change(sd_bus_message *m, void *userdata, sd_bus_error *e)
{
	return 0;
}

/* Calls a method of the manager that takes the unit's name, and a mode if there is one; returns an object's path, if
 * ret is set. */
static int call_manager(struct run *u, const char *method, const char *mode, char **ret,
			struct error *ret_error)
{
	_cleanup_(sd_bus_error_free) sd_bus_error e = SD_BUS_ERROR_NULL;
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	const char *path = NULL;
	int r = sd_bus_call_method(u->bus, MANAGER, method, &e, &reply, mode ? "ss" : "s", u->unit,
				   mode);

	if (r >= 0 && ret)
		r = sd_bus_message_read(reply, "o", &path);
	if (r < 0)
		return fail(u, r, &e, ret_error);
	if (path)
		*ret = xstrdup(path);
	return 0;
}

/* "" when it cannot be read. Caller frees. */
static char *get_text(struct run *u, const char *interface, const char *property)
{
	char *text = NULL;

	if (sd_bus_get_property_string(u->bus, SYSTEMD, u->path, interface, property, NULL, &text) <
	    0)
		return xstrdup("");
	return text;
}

/* Whether systemd is done with it. One that stays active without a process never ends, and would not run again. */
static int has_ended(struct run *u, struct error *ret_error)
{
	_cleanup_free_ char *active = NULL, *sub = NULL;

	if (u->job)
		return 0;
	active = get_text(u, SYSTEMD ".Unit", "ActiveState");
	sub = get_text(u, SYSTEMD ".Unit", "SubState");
	if (streq(active, "active") && streq(sub, "exited"))
		return error_set(
			ret_error, -EINVAL,
			"%s stays active after its end: remove RemainAfterExit=yes from it",
			u->unit);
	return streq(active, "inactive") || streq(active, "failed");
}

/* 1: it has ended; 0: its time is over; -ECANCELED: nobody waits for it any more. */
static int await_end(struct run *u, uint64_t until, struct error *ret_error)
{
	struct pollfd fds[] = {{.fd = sd_bus_get_fd(u->bus)},
			       {.fd = STDIN_FILENO, .events = POLLRDHUP}};
	int r = has_ended(u, ret_error);

	while (r == 0 && now_ms() < until) {
		r = sd_bus_process(u->bus, NULL);
		if (r < 0)
			return error_set(ret_error, r, "system bus: %s", strerror(-r));
		if (r == 0) {
			fds[0].events = (short)sd_bus_get_events(u->bus);
			(void)poll(fds, ARRAY_SIZE(fds), (int)(until - now_ms()));
			if (fds[1].revents)
				return error_set(ret_error, -ECANCELED, "nobody waits");
		}
		r = has_ended(u, ret_error);
	}
	return r;
}

static int open_run(struct run *u, struct error *ret_error)
{
	int r = sd_bus_open_system(&u->bus);

	if (r >= 0)
		r = sd_bus_call_method(u->bus, MANAGER, "Subscribe", NULL, NULL, "");
	if (r >= 0)
		r = sd_bus_match_signal(u->bus, NULL, MANAGER, "JobRemoved", on_job_removed, u);
	if (r < 0)
		return error_set(ret_error, r, "system bus: %s", strerror(-r));
	return 0;
}

/* How it ended, once its job is gone. A unit that systemd skipped says nothing. */
static int read_end(struct run *u, struct unit_end *ret, struct error *ret_error)
{
	_cleanup_free_ char *result = get_text(u, SYSTEMD ".Service", "Result");
	int condition = 1, status = 0;

	(void)sd_bus_get_property_trivial(u->bus, SYSTEMD, u->path, SYSTEMD ".Unit",
					  "ConditionResult", NULL, 'b', &condition);
	(void)sd_bus_get_property_trivial(u->bus, SYSTEMD, u->path, SYSTEMD ".Service",
					  "ExecMainStatus", NULL, 'i', &status);
	if (streq(u->job_result, "done") && !condition)
		return error_set(ret_error, -EAGAIN, "%s was skipped: a condition was not met",
				 u->unit);
	/* The service failed by itself, or its job never came to run it. */
	if (!streq(u->job_result, "done") && streq(result, "success"))
		return error_set(ret_error, -EAGAIN, "systemd did not run %s: job %s", u->unit,
				 u->job_result);
	copy_text(ret->result, sizeof(ret->result), result);
	ret->status = status;
	return 0;
}

static int run_unit(const struct unit_request *q, struct unit_end *ret, struct error *ret_error)
{
	_cleanup_(run_free) struct run u = {.unit = q->unit};
	uint64_t until = now_ms() + q->timeout_ms;
	struct error ignored;
	int r = open_run(&u, ret_error);

	if (r == 0)
		r = call_manager(&u, "LoadUnit", NULL, &u.path, ret_error);
	/* Without a reference systemd forgets how it ended. */
	if (r == 0)
		r = call_manager(&u, "RefUnit", NULL, NULL, ret_error);
	if (r == 0)
		(void)sd_bus_match_signal(u.bus, NULL, SYSTEMD, u.path,
					  "org.freedesktop.DBus.Properties", "PropertiesChanged",
					  on_change, NULL);
	if (r == 0)
		r = call_manager(&u, "StartUnit", "replace", &u.job, ret_error);
	if (r < 0)
		return r;
	r = await_end(&u, until, ret_error);
	if (r > 0)
		return read_end(&u, ret, ret_error);
	/* Nobody waits for the unit any longer. */
	(void)call_manager(&u, "StopUnit", "replace", NULL, &ignored);
	copy_text(ret->result, sizeof(ret->result), "timeout");
	return r;
}

/* Writes the event for root alone, and for the unit that gets it as a credential. Its id grows. */
static int write_event(json_t *event, char id[24], struct error *ret_error)
{
	_cleanup_close_ int dir = open(EVENTS_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *text = json_text(event, JSON_COMPACT);
	_cleanup_free_ char *variables = event_environment(event), *env = NULL;
	_cleanup_close_ int fd = -1;
	struct timespec now;
	uint64_t n;
	int r;

	if (dir < 0 || !text)
		return error_set(ret_error, -errno, EVENTS_DIR ": %m");
	(void)clock_gettime(CLOCK_REALTIME, &now);
	n = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
	do {
		_cleanup_free_ char *name = xasprintf("%ju.json", (uintmax_t)n);

		(void)snprintf(id, 24, "%ju", (uintmax_t)n++);
		fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	} while (fd < 0 && errno == EEXIST);
	if (fd < 0 || write_all(fd, text, strlen(text)) < 0)
		return error_set(ret_error, -errno, EVENTS_DIR "/%s.json: %m", id);
	env = xasprintf("%s.env", id);
	r = write_file_atomic_at(dir, env, 0600, variables, strlen(variables));
	return r < 0 ? error_set(ret_error, r, EVENTS_DIR "/%s: %s", env, strerror(-r)) : 0;
}

/* Whether NOTIFY_DIR beside the configuration has a file that is no hidden one. */
static bool has_files(const char *config)
{
	_cleanup_free_ char *dir = path_beside(config, NOTIFY_DIR);
	DIR *d = opendir(dir);
	struct dirent *entry;
	struct error e;
	bool found = false;

	if (d && check_trusted(dirfd(d), dir, &e) < 0)
		log_warning("%s", e.text);
	else
		while (d && !found && (entry = readdir(d)))
			found = entry->d_name[0] != '.';
	if (d)
		(void)closedir(d);
	return found;
}

/* One unit that cannot be started keeps no other from it; the last error is the answer. */
static int notify(const struct config *c, const char *path, json_t *event, struct error *ret_error)
{
	static char template[] = NOTIFY_TEMPLATE;
	char *own[] = {has_files(path) ? template : NULL, NULL};
	char **lists[] = {own, c->notify};
	struct run u = {0};
	char id[24];
	int r, ret = 0;

	if (!own[0] && !c->notify)
		return 0;
	r = write_event(event, id, ret_error);
	if (r == 0)
		r = open_run(&u, ret_error);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(lists); i++) {
		for (char **unit = lists[i]; unit && *unit; unit++) {
			_cleanup_free_ char *name = unit_instance(*unit, id);
			int q;

			u.unit = name;
			q = call_manager(&u, "StartUnit", "replace", NULL, ret_error);
			ret = q < 0 ? q : ret;
		}
	}
	run_free(&u);
	return r < 0 ? r : ret;
}

static int answer(const char *path, struct unit_end *ret, struct error *ret_error)
{
	struct protocol_reader reader = {.fd = STDIN_FILENO};
	_cleanup_config_ struct config *config = NULL;
	_cleanup_json_ json_t *j = NULL;
	struct unit_request q = {0};
	int r = protocol_read(&reader, now_ms() + REQUEST_TIMEOUT_MS, &j, ret_error);

	protocol_reader_free(&reader);
	if (r == 0)
		r = config_load(path, &config, ret_error);
	if (r == 0)
		r = unit_request_check(j, config, path, &q, ret_error);
	if (r == 0 && q.unit)
		r = run_unit(&q, ret, ret_error);
	else if (r == 0)
		r = notify(config, path, q.event, ret_error);
	free(q.unit);
	return r;
}

int command_run_unit(const struct command_options *o, const char *const *operands)
{
	struct unit_end end = {.result = "success"};
	struct error e;
	int r;

	json_budget(JSON_BUDGET);
	(void)signal(SIGPIPE, SIG_IGN);
	r = answer(o->config, &end, &e);
	if (r < 0 && r != -ECANCELED)
		log_warning("%s", e.text);
	if (r < 0)
		command_print_json(json_pack("{s:s}", "error", e.text));
	else
		command_print_json(
			json_pack("{s:s, s:i}", "result", end.result, "status", end.status));
	return r < 0;
}
