/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>

#include "client.h"
#include "command.h"
#include "history.h"
#include "log.h"
#include "terminal.h"

#define CLEAR_SCREEN "\033[H\033[J"
#define ACCESS_HINT  "; only root and the user pullet may read records; try sudo"

/* Adds the versions of the rejected digests, as far as the history (history_to_json()) knows them. */
static void name_rejected(struct status *s, const json_t *history)
{
	const json_t *entry;
	size_t i, k;
	json_t *one;

	json_array_foreach (s->rejected, i, one) {
		json_array_foreach (history, k, entry) {
			const char *digest = json_get_string(one, "digest");
			bool to = streq_null(digest, json_get_string(entry, "to"));
			bool from = streq_null(digest, json_get_string(entry, "from"));
			const char *key = to ? "version_to" : "version_from";

			if ((to || from) && json_get_string(entry, key))
				json_put(one, "version", json_incref(json_object_get(entry, key)));
		}
	}
}

/* Exit status: 2 when there is no such container. */
static int show(const struct command_options *o, const struct status_list *l, const char *only,
		const char *fault, const json_t *gone, const char *hint)
{
	const struct status *one = only ? status_list_find(l, only) : NULL;
	struct terminal t = terminal_of(STDOUT_FILENO);

	/* Nothing is known of the containers. */
	if (fault && (l->n == 0 || (only && !one))) {
		log_error("%s; updates are suspended until the configuration is fixed", fault);
		return 2;
	}
	if (only && !one) {
		log_error("the configuration has no [container %s]", only);
		return 2;
	}
	if (o->json)
		command_print_json(status_list_to_json(l, only));
	else if (one)
		status_print_details(stdout, one, &t);
	else
		status_print_table(stdout, l, fault, gone, &t, (uint64_t)time(NULL) * 1000000);
	if (hint && !o->json && !one)
		puts(hint);
	return fflush(stdout) == 0 ? 0 : 1;
}

/* Exit status: 1 after an error message when a record cannot be read. */
static int read_records(const struct command_options *o, const struct config *config,
			struct status_list *ret)
{
	_cleanup_close_ int dir = open(o->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct error e;
	int status = 0, r;

	if (dir < 0 && errno != ENOENT) {
		log_error("cannot read the records in %s: %s%s", o->state_dir, strerror(errno),
			  errno == EACCES ? ACCESS_HINT : "");
		status = 1;
	}
	for (size_t i = 0; i < config->n_containers; i++) {
		const struct container_config *c = &config->containers[i];
		_cleanup_json_ json_t *history = NULL;
		struct record record;

		record_init(&record);
		r = dir < 0 ? -ENOENT : record_read(dir, c->name, &record, &e);
		if (r < 0 && r != -ENOENT) {
			log_error("%s/%s%s", o->state_dir, e.text, r == -EACCES ? ACCESS_HINT : "");
			status = 1;
		}
		status_take_record(status_list_get(ret, c->name), c, &record);
		history = history_to_json(&record, c->name, c->image);
		name_rejected(status_list_get(ret, c->name), history);
	}
	return status;
}

static int show_records(const struct command_options *o, const char *only, const char *why)
{
	_cleanup_config_ struct config *config = NULL;
	_cleanup_json_ json_t *gone = NULL;
	struct status_list list = {0};
	struct error e;
	int status, r;

	if (config_load(o->config, &config, &e) < 0) {
		log_error("%s: %s", why, e.text);
		return 2;
	}
	log_warning("%s; showing the records in %s", why, o->state_dir);
	status = read_records(o, config, &list);
	gone = record_list_gone(o->state_dir, config);
	r = show(o, &list, only, NULL, gone, list.n == 0 ? ADOPT_EMPTY : NULL);
	status_list_clear(&list);
	return r ? r : status;
}

/* Waits for a change, or on a terminal for the next second of a trial, and takes all that are pending as one. Returns
 * the event that ends the watch, or NULL. */
static const struct client_event *next_change(struct client *c, bool live)
{
	uint64_t until_ms = CLIENT_FOREVER;
	const struct client_event *event;

	for (size_t i = 0; live && i < c->list.n; i++) {
		if (c->list.items[i].step_ms)
			until_ms = now_ms() + 1000;
	}
	event = client_next(c, until_ms);

	while (event->kind != CLIENT_NOTHING) {
		if (event->kind == CLIENT_INTERRUPTED || event->kind == CLIENT_LOST)
			return event;
		event = client_next(c, 0);
	}
	return NULL;
}

static int show_client(const struct command_options *o, struct client *c, const char *only)
{
	_cleanup_json_ json_t *gone = client_gone(c);
	_cleanup_free_ char *hint = o->json || only || c->config_error ? NULL : adopt_hint(c);
	int r;

	for (size_t i = 0; i < c->list.n; i++) {
		struct status *s = &c->list.items[i];
		_cleanup_json_ json_t *history =
			json_array_size(s->rejected) > 0 ? client_history(c, s->name) : NULL;

		name_rejected(s, history);
	}
	r = show(o, &c->list, only, c->config_error, gone, hint);
	if (r == 0 && !o->json && !only)
		status_print_budget(stdout, c->traffic);
	return fflush(stdout) == 0 ? r : 1;
}

static int watch(const struct command_options *o, struct client *c, const char *only)
{
	static char screen[64 * 1024];
	bool live = terminal_of(STDOUT_FILENO).live && !o->json, up = true;
	const struct client_event *end = NULL;

	/* A terminal gets each state in one piece. */
	(void)setvbuf(stdout, screen, _IOFBF, sizeof(screen));
	while (!end) {
		if (live)
			fputs(CLEAR_SCREEN, stdout);
		if (c->up) {
			int r = show_client(o, c, only);

			if (r)
				return r;
		} else if (up) {
			show_records(o, only, "pulletd is not running");
		}
		up = c->up;
		end = next_change(c, live);
	}
	if (end->kind == CLIENT_LOST)
		log_error("%s", end->error.text);
	return end->kind == CLIENT_LOST ? 1 : 0;
}

int command_status(const struct command_options *o, const char *const *operands)
{
	struct client c;
	struct error e;
	int status;

	if (client_open(&c, &e) < 0) {
		if (!o->watch)
			return show_records(o, operands[0], e.text);
		log_error("%s", e.text);
		return 1;
	}
	/* The configuration may have changed since pulletd read it. */
	if (c.up && (c.config_error || (operands[0] && !status_list_find(&c.list, operands[0]))) &&
	    client_refresh(&c, &e) < 0)
		log_warning("%s", e.text);
	if (o->watch)
		status = watch(o, &c, operands[0]);
	else if (c.up)
		status = show_client(o, &c, operands[0]);
	else
		status = show_records(o, operands[0], "pulletd is not running");
	client_close(&c);
	return status;
}
