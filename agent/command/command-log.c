/* SPDX-License-Identifier: MIT */
/* The history of containers, and the end of it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>

#include "calendar.h"
#include "client.h"
#include "command.h"
#include "fetch.h"
#include "history.h"
#include "log.h"
#include "program.h"
#include "protocol.h"
#include "terminal.h"

#define UPDATE_SOCKET	"/run/pullet/update.sock"
#define FORGET_LIMIT_MS ((uint64_t)15 * 60 * 1000) /* another job may have to end first */
#define ACCESS_HINT	"; only root and the user pullet may read records; try sudo"

/* --- pullet log --- */

struct line {
	const char *time;
	size_t i;
	json_t *entry;
};

static int compare(const void *a, const void *b)
{
	const struct line *x = a, *y = b;
	int r = strcmp(x->time, y->time);

	return r ? r : x->i < y->i ? -1 : 1;
}

/* "2026-11-29 10:54:07 web: updated 1.4.1 -> 1.4.2 (...)", in local time. */
static void print_entry(const json_t *entry)
{
	const char *at = json_get_string(entry, "time"), *reason = json_get_string(entry, "reason");
	bool order = result_outcome(entry) == OUTCOME_DEFERRED && reason;
	_cleanup_free_ char *text = NULL;
	char when[32] = "-------------------";
	struct timespec t;
	struct tm local;

	/* A hold, a release or a retry checked no image. */
	text = order ? xasprintf("%s: %s", json_get_string(entry, "container"), reason)
		     : result_text(entry);
	if (at && calendar_parse_rfc3339(at, &t) == 0 && localtime_r(&t.tv_sec, &local))
		(void)strftime(when, sizeof(when), "%F %T", &local);
	printf("%s %s\n", when, text_printable(text));
}

static void print_log(const struct command_options *o, const json_t *entries, size_t most)
{
	size_t n = json_array_size(entries), i;
	_cleanup_free_ struct line *lines = xcalloc(n, sizeof(*lines));
	json_t *entry;

	json_array_foreach (entries, i, entry) {
		const char *at = json_get_string(entry, "time");
		bool follows =
			i > 0 && streq_null(json_get_string(entry, "container"),
					    json_get_string(lines[i - 1].entry, "container"));

		/* Without a clock it came after the one before it. */
		lines[i] = (struct line){at ? at : follows ? lines[i - 1].time : "", i, entry};
	}
	qsort(lines, n, sizeof(*lines), compare);
	for (i = n > most ? n - most : 0; i < n; i++) {
		if (o->json)
			command_print_json(json_incref(lines[i].entry));
		else
			print_entry(lines[i].entry);
	}
}

/* Appends the history of a record. */
static int read_history(const struct command_options *o, const char *name, const char *image,
			json_t *entries)
{
	_cleanup_close_ int dir = open(o->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ struct record *record = xmalloc(sizeof(*record));
	_cleanup_json_ json_t *list = NULL;
	struct error e;
	int r = dir < 0 ? error_set(&e, -errno, "%s.json: %s", name, strerror(errno))
			: record_read(dir, name, record, &e);

	if (r < 0) {
		if (r != -ENOENT)
			log_error("%s/%s%s", o->state_dir, e.text, r == -EACCES ? ACCESS_HINT : "");
		else if (!*image)
			log_error("there is no [container %s], and no record of it; for a list: "
				  "pullet status",
				  name);
		return r;
	}
	list = history_to_json(record, name, image);
	return json_array_extend(entries, list);
}

/* 0, or the exit status after an error message. */
static int collect_from_records(const struct command_options *o, const char *const *names,
				json_t *entries)
{
	_cleanup_config_ struct config *config = NULL;
	int status = 0, r;
	struct error e;

	if (config_load(o->config, &config, &e) < 0) {
		log_error("%s", e.text);
		return 2;
	}
	for (size_t i = 0; !names[0] && i < config->n_containers; i++) {
		r = read_history(o, config->containers[i].name, config->containers[i].image,
				 entries);
		status = r < 0 && r != -ENOENT ? 1 : status;
	}
	for (; *names; names++) {
		const struct container_config *c = config_container(config, *names);

		if (read_history(o, *names, c ? c->image : "", entries) < 0)
			status = c ? status : 2;
	}
	return status;
}

/* As every user may; the record of a section that is gone is for root. */
static int collect(const struct command_options *o, struct client *c, const char *const *names,
		   json_t *entries)
{
	int status = 0;

	for (size_t i = 0; !names[0] && i < c->list.n; i++) {
		_cleanup_json_ json_t *list = client_history(c, c->list.items[i].name);

		(void)json_array_extend(entries, list);
	}
	for (; *names; names++) {
		_cleanup_json_ json_t *list = client_history(c, *names);

		if (!status_list_find(&c->list, *names) && read_history(o, *names, "", entries) < 0)
			status = 2;
		(void)json_array_extend(entries, list);
	}
	return status;
}

int command_log(const struct command_options *o, const char *const *names)
{
	_cleanup_json_ json_t *entries = json_need(json_array());
	char *end = NULL;
	unsigned long most = o->lines ? strtoul(o->lines, &end, 10) : SIZE_MAX;
	struct client c;
	struct error ignored;
	int status;

	if (end && (*end || end == o->lines || o->lines[0] == '-')) {
		log_error("--lines: '%s' is not a number", o->lines);
		return 2;
	}
	if (client_open(&c, &ignored) < 0) {
		status = collect_from_records(o, names, entries);
	} else {
		status = c.up ? collect(o, &c, names, entries)
			      : collect_from_records(o, names, entries);
		client_close(&c);
	}
	print_log(o, entries, most);
	return fflush(stdout) == 0 ? status : 1;
}

/* --- pullet forget --- */

/* pullet-update does it: by its socket where there is one, in its sandbox, else as a child. */
static int connect_update(const struct command_options *o, pid_t *ret_pid, struct error *ret_error)
{
	const struct fetch_options unit = {.socket = UPDATE_SOCKET};
	const char *argv[] = {"pullet-update", "--config",   o->config,
			      "--state-dir",   o->state_dir, o->engine ? "--engine" : NULL,
			      o->engine,       NULL};
	bool usual = streq(o->state_dir, CONFIG_STATE_DIR_DEFAULT) &&
		     streq(o->config, CONFIG_PATH_DEFAULT) && !o->engine;

	*ret_pid = 0;
	if (usual && access(UPDATE_SOCKET, F_OK) == 0)
		return fetch_connect(&unit, ret_pid, ret_error);
	return program_spawn(argv, STDIN_FILENO, ret_pid, ret_error);
}

static void print_forgotten(const struct command_options *o, json_t *event)
{
	_cleanup_free_ char *text =
		result_is_bad(event) ? result_text(event)
				     : xasprintf("%s: %s", json_get_string(event, "container"),
						 json_get_string(event, "reason"));

	(void)json_object_del(event, "event");
	if (o->json)
		command_print_json(json_incref(event));
	else
		puts(text);
}

/* names: an array; taken over. Exit status. */
static int forget(const struct command_options *o, json_t *names)
{
	_cleanup_json_ json_t *job =
		json_need(json_pack("{s:s, s:o}", "operation", "forget", "containers", names));
	struct protocol_reader reader = {.fd = -1};
	size_t left = json_array_size(names);
	int status = 0, r = 0;
	struct error e;
	pid_t pid;

	reader.fd = connect_update(o, &pid, &e);
	r = reader.fd < 0 ? reader.fd : protocol_write(reader.fd, job);
	if (reader.fd >= 0 && r < 0)
		(void)error_set(&e, r, "pullet-update: %s", strerror(-r));
	while (r == 0 && left > 0) {
		_cleanup_json_ json_t *event = NULL;

		r = protocol_read(&reader, now_ms() + FORGET_LIMIT_MS, &event, &e);
		if (r < 0 || !streq_null(json_get_string(event, "event"), "result"))
			continue;
		print_forgotten(o, event);
		status |= result_is_bad(event);
		left--;
	}
	if (r < 0)
		log_error("%s%s", e.text,
			  r == -EACCES ? "; only root may remove records; try sudo" : "");
	protocol_reader_free(&reader);
	if (reader.fd >= 0)
		close(reader.fd);
	if (pid > 0)
		(void)waitpid(pid, NULL, 0);
	return r < 0 ? 1 : status;
}

int command_forget(const struct command_options *o, const char *const *names)
{
	_cleanup_config_ struct config *config = NULL;
	json_t *list;
	struct error e;

	if (!names[0] == !o->gone) {
		log_error("%s; see: pullet forget --help",
			  o->gone ? "a NAME and --gone are mutually exclusive"
				  : "missing operand NAME, or --gone");
		return 2;
	}
	if (config_load(o->config, &config, &e) < 0) {
		log_error("%s", e.text);
		return 2;
	}
	if (o->gone && access(o->state_dir, R_OK) < 0) {
		log_error("%s: %s%s", o->state_dir, strerror(errno),
			  errno == EACCES ? ACCESS_HINT : "");
		return 1;
	}
	list = o->gone ? record_list_gone(o->state_dir, config) : json_need(json_array());
	for (; *names; names++)
		json_append(list, json_string_lossy(*names));
	if (json_array_size(list) > 0)
		return forget(o, list);
	json_decref(list);
	log_info("each record has its section: there is nothing to forget");
	return 0;
}
