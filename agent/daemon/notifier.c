/* SPDX-License-Identifier: MIT */
#include "notifier.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/socket.h>

#include "calendar.h"
#include "clock.h"
#include "log.h"
#include "protocol.h"
#include "unit-start.h"

#define EVENTS_MAX 256
#define TOLD_FILE  "told.json"
#define FILE_MAX   ((size_t)1024 * 1024)
#define LIMIT_US   ((uint64_t)60 * 1000000)
/* The containers that a registry or the engine fails in one round make one event. */
#define DELAY_US ((uint64_t)1000000)

struct notifier {
	const struct unit_table *table;
	const char *socket, *state_dir;
	sd_event *event;
	json_t *told;  /* state of notice.h by container */
	json_t *logs;  /* last lines by container */
	json_t *queue; /* events; the first one is on its way while the starter runs */
	char *saved;   /* text of the file; NULL: none */
	sd_event_source *soon;
	struct helper starter;
	bool answered;
};

static int open_state_dir(void)
{
	const char *path = getenv("STATE_DIRECTORY");

	return path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
}

/* Without the file, all that is wrong is told once more. */
static void load(struct notifier *n)
{
	_cleanup_close_ int dir = open_state_dir();
	_cleanup_json_ json_t *told = NULL;
	struct error e;
	size_t len;

	if (dir >= 0 && read_file_at(dir, TOLD_FILE, FILE_MAX, &n->saved, &len) == 0 &&
	    json_parse(n->saved, len, TOLD_FILE, &told, &e) < 0)
		log_warning("notify: %s", e.text);
	n->told = json_is_object(told) ? steal(told) : json_need(json_object());
}

/* Writes what changed, when all was handed over: after a crash an event comes twice rather than never. */
static void save(struct notifier *n)
{
	_cleanup_close_ int dir = open_state_dir();
	_cleanup_free_ char *text = NULL;
	const char *name;
	json_t *state;
	void *next;
	int r;

	json_object_foreach_safe (n->told, next, name, state) {
		if (json_object_size(state) == 0 || !unit_find(n->table, name))
			(void)json_object_del(n->told, name);
	}
	text = json_text(n->told, JSON_COMPACT);
	if (dir < 0 || streq_null(text, n->saved) || (!n->saved && json_object_size(n->told) == 0))
		return;
	r = write_file_atomic_at(dir, TOLD_FILE, 0600, text, strlen(text));
	if (r < 0)
		log_warning("notify: " TOLD_FILE ": %s", strerror(-r));
	replace_string(&n->saved, text);
}

static void send_next(struct notifier *n);

static int on_answer(void *userdata, json_t *answer)
{
	struct notifier *n = userdata;
	const char *error = json_get_string(answer, "error");

	n->answered = true;
	if (error)
		log_warning("notify: %s", error);
	helper_stop(&n->starter);
	return 0;
}

static void on_end(void *userdata, int exit_status, const char *how)
{
	struct notifier *n = userdata;

	if (!n->answered)
		log_warning("notify: pullet-unit.socket gave no answer; see: journalctl -u "
			    "'pullet-unit@*'");
	(void)json_array_remove(n->queue, 0);
	send_next(n);
}

static void send_next(struct notifier *n)
{
	while (!n->starter.running && json_array_size(n->queue) > 0) {
		_cleanup_json_ json_t *request = json_need(json_pack(
			"{s:s, s:O}", "key", "notify", "event", json_array_get(n->queue, 0)));
		_cleanup_free_ char *line = protocol_line(request);
		struct error e;

		n->answered = false;
		n->starter.fd = protocol_connect(n->socket, SOCK_NONBLOCK, &e);
		if (line && n->starter.fd >= 0 &&
		    helper_follow(&n->starter, n->event, line, LIMIT_US, &e) == 0)
			return;
		log_warning("notify: %s", e.text);
		(void)json_array_remove(n->queue, 0);
	}
	if (!n->starter.running)
		save(n);
}

static int on_soon(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct notifier *n = userdata;

	n->soon = sd_event_source_unref(n->soon);
	send_next(n);
	return 0;
}

/* What an event says of a registry or the engine, not of one container; NULL: nothing. */
static const char *common_reason(const json_t *event)
{
	const char *kind = json_get_string(event, "event");
	const char *image = json_get_string(event, "image");
	const char *reason = json_get_string(event, "reason"), *rest;

	if (!reason || !image ||
	    !(streq(kind, "over") || (streq(kind, "failed") && !json_get_string(event, "to"))))
		return NULL;
	rest = after_prefix(reason, image);
	return rest ? rest : reason;
}

/* Adds the container to an event that waits and says the same. */
static bool join(struct notifier *n, const json_t *event, const char *container)
{
	const char *common = common_reason(event);
	json_t *other;
	size_t i;

	json_array_foreach (n->queue, i, other) {
		_cleanup_free_ char *message = NULL;

		if ((i == 0 && n->starter.running) || !common ||
		    !streq_null(common, common_reason(other)) ||
		    !json_equal(json_object_get(event, "event"), json_object_get(other, "event")))
			continue;
		message = xasprintf("%s, also %s", json_get_string(other, "message"), container);
		json_put(other, "message", json_string(message));
		json_append(json_object_get(other, "also"), json_string(container));
		return true;
	}
	return false;
}

static void enqueue(struct notifier *n, json_t *event)
{
	if (json_array_size(n->queue) == EVENTS_MAX) {
		log_warning("notify: too many events; one is lost");
		/* The first one may be on its way. */
		(void)json_array_remove(n->queue, 1);
	}
	json_append(n->queue, event);
	if (!n->soon && !n->starter.running)
		(void)sd_event_add_time_relative(n->event, &n->soon, CLOCK_BOOTTIME, DELAY_US, 0,
						 on_soon, n);
}

void notifier_log(struct notifier *n, const char *container, json_t *lines)
{
	if (n && json_is_array(lines))
		(void)json_object_set(n->logs, container, lines);
}

/* Fields of this device, and what the version that failed wrote last. */
static void add_facts(const struct notifier *n, json_t *event, const char *container, int64_t now_s)
{
	json_t *lines = json_object_get(n->logs, container);
	char time[32];

	json_put(event, "time",
		 now_s > 0 ? json_string(calendar_rfc3339(now_s, time, sizeof(time)))
			   : json_null());
	json_put(event, "also", json_array());
	json_put(event, "log", lines ? json_incref(lines) : json_array());
}

/* Takes the event over, which may be NULL. */
static void tell(struct notifier *n, const char *container, json_t *event, int64_t now_s)
{
	_cleanup_json_ json_t *given = event;

	if (!event || join(n, event, container))
		return;
	add_facts(n, event, container, now_s);
	enqueue(n, steal(given));
}

/* Looks at the signature of the version that runs. The journal has it, too: no result says it. */
static void tell_expiry(struct notifier *n, json_t *state, const json_t *result,
			const struct unit *u, const struct notice_facts *f)
{
	_cleanup_free_ struct record *record = xmalloc(sizeof(*record));
	json_t *event;

	if (unit_read_record(u, n->state_dir, record) < 0)
		return;
	event = notice_take_expiry(state, result, &record->current, f);
	if (event)
		log_warning("%s: the signature of the version that runs has expired (%s); publish "
			    "a new one",
			    u->config->name, json_get_string(event, "reason"));
	tell(n, u->config->name, event, f->now_s);
}

void notifier_result(struct notifier *n, const char *container, enum operation operation,
		     bool again, const json_t *result)
{
	char host[HOST_NAME_MAX + 1] = "";
	struct notice_facts facts = {operation, again, clock_now(), host};
	const struct unit *u = n ? unit_find(n->table, container) : NULL;
	json_t *state;

	if (!n)
		return;
	(void)gethostname(host, sizeof(host) - 1);
	state = json_object_get(n->told, container);
	if (!state) {
		state = json_object();
		json_put(n->told, container, state);
	}
	tell(n, container, notice_take(state, result, &facts), facts.now_s);
	/* What was signed without a key is no matter of the configuration. */
	if (u && u->config->keys)
		tell_expiry(n, state, result, u, &facts);
	(void)json_object_del(n->logs, container);
	if (json_array_size(n->queue) == 0)
		save(n);
}

struct notifier *notifier_open(sd_event *event, const struct unit_table *table,
			       const struct helper_options *options)
{
	struct notifier *n;

	if (!options->unit_socket)
		return NULL;
	n = xmalloc(sizeof(*n));
	*n = (struct notifier){.table = table,
			       .socket = options->unit_socket,
			       .state_dir = options->state_dir,
			       .event = event,
			       .logs = json_need(json_object()),
			       .queue = json_need(json_array()),
			       .starter = {.program = "pullet-unit.socket",
					   .on_object = on_answer,
					   .on_end = on_end,
					   .userdata = n,
					   .fd = -1}};
	load(n);
	return n;
}

void notifier_close(struct notifier *n)
{
	struct error e;

	if (!n)
		return;
	/* The starter has the whole event that is on its way. */
	if (n->starter.running)
		(void)json_array_remove(n->queue, 0);
	helper_close(&n->starter);
	for (; json_array_size(n->queue) > 0; (void)json_array_remove(n->queue, 0)) {
		if (unit_notify(n->socket, json_array_get(n->queue, 0), &e) < 0)
			log_warning("notify: %s", e.text);
	}
	save(n);
	(void)sd_event_source_unref(n->soon);
	json_decref(n->told);
	json_decref(n->logs);
	json_decref(n->queue);
	free(n->saved);
	free(n);
}
