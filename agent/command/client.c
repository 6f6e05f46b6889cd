/* SPDX-License-Identifier: MIT */
#include "client.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <systemd/sd-bus.h>
#include <time.h>

#define BUS_NAME	"org.pullet.Agent1"
#define BUS_PATH	"/org/pullet/Agent1"
#define BUS_CONTAINERS	BUS_PATH "/container"
#define BUS_CONTAINER	BUS_NAME ".Container"
#define REQUEST_TIME_US ((uint64_t)150 * 1000000) /* polkit may ask for a password */
#define LIST_TIME_US	((uint64_t)25 * 1000000)

struct client {
	sd_bus *bus;
	bool up;
	struct status_list list;
	struct client_event event;
	bool catching;
	sigset_t before; /* the signal mask before catch_signals() */
};

struct request {
	struct client *client;
	char *name;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
	(void)number;
	interrupted = 1;
}

static void clear_event(struct client *c)
{
	free(c->event.name);
	free(c->event.operation);
	json_decref(c->event.result);
	c->event = (struct client_event){0};
}

static void set_event(struct client *c, enum client_event_kind kind, const char *name)
{
	clear_event(c);
	c->event.kind = kind;
	c->event.name = name ? xstrdup(name) : NULL;
}

/* The texts among the properties, by their names. */
static char **text_property(struct status *s, const char *name)
{
	const struct {
		const char *name;
		char **text;
	} rows[] = {
		{"Image", &s->image},
		{"Phase", &s->phase},
		{"Operation", &s->operation},
		{"Current", &s->current},
		{"Target", &s->target},
		{"Previous", &s->previous},
		{"LastResult", &s->last_result},
		{"LastError", &s->last_error},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (streq(rows[i].name, name))
			return rows[i].text;
	}
	return NULL;
}

/* Enters the next entry of a dictionary and reads its key: 1, 0 at the end, or a negative errno. */
static int enter_entry(sd_bus_message *m, const char *types, const char **ret_key)
{
	int r = sd_bus_message_enter_container(m, 'e', types);

	return r <= 0 ? r : sd_bus_message_read_basic(m, types[0], ret_key);
}

/* Leaves a container that was read without an error; r: the error, or not negative. */
static int leave(sd_bus_message *m, int r)
{
	return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int read_rejected(sd_bus_message *m, struct status *s)
{
	const char *digest, *reason;
	int r = sd_bus_message_enter_container(m, 'a', "(ss)");

	status_forget_rejected(s);
	while (r >= 0 && (r = sd_bus_message_read(m, "(ss)", &digest, &reason)) > 0)
		status_reject(s, xstrdup(digest), xstrdup(reason));
	return leave(m, r);
}

/* The value of one property; one that a newer pulletd added is skipped. */
static int read_value(sd_bus_message *m, const char *property, struct status *s)
{
	char **text = text_property(s, property), kind;
	const char *contents, *value;
	int r = sd_bus_message_peek_type(m, &kind, &contents), flag;

	if (r < 0)
		return r;
	r = sd_bus_message_enter_container(m, 'v', contents);
	if (r < 0)
		return r;
	if (text && streq(contents, "s")) {
		r = sd_bus_message_read(m, "s", &value);
		if (r >= 0)
			replace_string(text, value);
	} else if (streq(property, "Rejected") && streq(contents, "a(ss)")) {
		r = read_rejected(m, s);
	} else if (streq(property, "Held") && streq(contents, "b")) {
		r = sd_bus_message_read(m, "b", &flag);
		s->held = r >= 0 && flag;
	} else if (streq(property, "NextCheck") && streq(contents, "t")) {
		r = sd_bus_message_read(m, "t", &s->next_check_us);
	} else if (streq(property, "Progress") && streq(contents, "(tt)")) {
		r = sd_bus_message_read(m, "(tt)", &s->bytes, &s->total);
	} else {
		r = sd_bus_message_skip(m, contents);
	}
	return leave(m, r);
}

static int read_properties(sd_bus_message *m, struct status *s)
{
	const char *property;
	int r = sd_bus_message_enter_container(m, 'a', "{sv}");

	while (r >= 0 && (r = enter_entry(m, "sv", &property)) > 0)
		r = leave(m, read_value(m, property, s));
	return leave(m, r);
}

/* The container of an object path, or NULL. Caller frees. */
static char *name_of(const char *path)
{
	char *name = NULL;

	return sd_bus_path_decode(path, BUS_CONTAINERS, &name) > 0 ? name : NULL;
}

static int read_interfaces(sd_bus_message *m, const char *path, struct status_list *l)
{
	_cleanup_free_ char *name = name_of(path);
	const char *interface;
	int r = sd_bus_message_enter_container(m, 'a', "{sa{sv}}");

	while (r >= 0 && (r = enter_entry(m, "sa{sv}", &interface)) > 0) {
		if (name && streq(interface, BUS_CONTAINER))
			r = read_properties(m, status_list_get(l, name));
		else
			r = sd_bus_message_skip(m, "a{sv}");
		r = leave(m, r);
	}
	return leave(m, r);
}

static int read_objects(sd_bus_message *m, struct status_list *l)
{
	const char *path;
	int r = sd_bus_message_enter_container(m, 'a', "{oa{sa{sv}}}");

	while (r >= 0 && (r = enter_entry(m, "oa{sa{sv}}", &path)) > 0)
		r = leave(m, read_interfaces(m, path, l));
	return leave(m, r);
}

/* Reads all containers. 0 also when pulletd does not run. */
static int list_objects(struct client *c, struct error *ret_error)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL, *reply = NULL;
	_cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	int r = sd_bus_message_new_method_call(c->bus, &call, BUS_NAME, BUS_PATH,
					       "org.freedesktop.DBus.ObjectManager",
					       "GetManagedObjects");

	status_list_clear(&c->list);
	if (r >= 0)
		r = sd_bus_call(c->bus, call, LIST_TIME_US, &error, &reply);
	c->up = r >= 0;
	if (sd_bus_error_has_name(&error, SD_BUS_ERROR_SERVICE_UNKNOWN) ||
	    sd_bus_error_has_name(&error, SD_BUS_ERROR_NAME_HAS_NO_OWNER))
		return 0;
	if (r >= 0)
		r = read_objects(reply, &c->list);
	return r < 0 ? error_set(ret_error, r, "pulletd does not answer on D-Bus: %s",
				 error.message ? error.message : strerror(-r))
		     : 0;
}

static int on_owner(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct client *c = userdata;
	const char *name, *before, *now;
	struct error ignored;

	(void)error;
	if (sd_bus_message_read(m, "sss", &name, &before, &now) < 0)
		return 0;
	if (now[0] && list_objects(c, &ignored) == 0 && c->up) {
		set_event(c, CLIENT_BACK, NULL);
	} else if (!now[0]) {
		c->up = false;
		status_list_clear(&c->list);
		set_event(c, CLIENT_GONE, NULL);
	}
	return 0;
}

static void take_change(struct client *c, sd_bus_message *m, const char *name)
{
	const char *interface;

	if (sd_bus_message_read(m, "s", &interface) < 0 || !streq(interface, BUS_CONTAINER) ||
	    read_properties(m, status_list_get(&c->list, name)) < 0)
		return;
	set_event(c, CLIENT_CHANGED, name);
}

static void take_end(struct client *c, sd_bus_message *m, const char *name)
{
	const char *operation, *result;
	struct error ignored;

	if (sd_bus_message_read(m, "ss", &operation, &result) < 0)
		return;
	set_event(c, CLIENT_FINISHED, name);
	c->event.operation = xstrdup(operation);
	if (json_parse(result, strlen(result), "result", &c->event.result, &ignored) < 0)
		c->event.result = json_object();
}

static int on_container_signal(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	_cleanup_free_ char *name = name_of(sd_bus_message_get_path(m));
	struct client *c = userdata;

	(void)error;
	if (name &&
	    sd_bus_message_is_signal(m, "org.freedesktop.DBus.Properties", "PropertiesChanged"))
		take_change(c, m, name);
	else if (name && sd_bus_message_is_signal(m, BUS_CONTAINER, "Finished"))
		take_end(c, m, name);
	return 0;
}

static int on_manager_signal(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct client *c = userdata;
	struct error ignored;

	(void)m, (void)error;
	if (list_objects(c, &ignored) == 0)
		set_event(c, CLIENT_LISTED, NULL);
	return 0;
}

static int subscribe(struct client *c)
{
	int r = sd_bus_add_match(c->bus, NULL,
				 "type='signal',sender='org.freedesktop.DBus',"
				 "member='NameOwnerChanged',arg0='" BUS_NAME "'",
				 on_owner, c);

	if (r >= 0)
		r = sd_bus_add_match(c->bus, NULL,
				     "type='signal',sender='" BUS_NAME
				     "',path_namespace='" BUS_CONTAINERS "'",
				     on_container_signal, c);
	if (r >= 0)
		r = sd_bus_match_signal(c->bus, NULL, BUS_NAME, BUS_PATH,
					"org.freedesktop.DBus.ObjectManager", NULL,
					on_manager_signal, c);
	return r;
}

int client_open(struct client **ret, struct error *ret_error)
{
	struct client *c = xcalloc(1, sizeof(*c));
	int r = sd_bus_open_system(&c->bus);

	if (r >= 0)
		r = subscribe(c);
	if (r < 0)
		r = error_set(ret_error, r, "cannot connect to the system bus: %s", strerror(-r));
	else
		r = list_objects(c, ret_error);
	if (r < 0)
		client_close(c);
	else
		*ret = c;
	return r;
}

void client_close(struct client *c)
{
	if (!c)
		return;
	sd_bus_flush_close_unref(c->bus);
	clear_event(c);
	status_list_clear(&c->list);
	if (c->catching)
		(void)sigprocmask(SIG_SETMASK, &c->before, NULL);
	free(c);
}

bool client_is_up(const struct client *c)
{
	return c->up;
}

const struct status_list *client_list(const struct client *c)
{
	return &c->list;
}

static int code_of(const sd_bus_error *e)
{
	static const struct {
		const char *name;
		int code;
	} rows[] = {
		{SD_BUS_ERROR_ACCESS_DENIED, -EACCES},
		{SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED, -EACCES},
		{BUS_NAME ".Error.Busy", -EBUSY},
		/* pulletd ended before it answered. */
		{SD_BUS_ERROR_NO_REPLY, -EHOSTDOWN},
		{SD_BUS_ERROR_SERVICE_UNKNOWN, -EHOSTDOWN},
		{SD_BUS_ERROR_NAME_HAS_NO_OWNER, -EHOSTDOWN},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (sd_bus_error_has_name(e, rows[i].name))
			return rows[i].code;
	}
	return -EIO;
}

static int on_reply(sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	const sd_bus_error *e = sd_bus_message_get_error(reply);
	struct request *q = userdata;

	(void)error;
	set_event(q->client, e ? CLIENT_REFUSED : CLIENT_ACCEPTED, q->name);
	if (e)
		(void)error_set(&q->client->event.error, code_of(e), "%s",
				e->message ? e->message : e->name);
	return 0;
}

static void request_free(void *userdata)
{
	struct request *q = userdata;

	free(q->name);
	free(q);
}

int client_request(struct client *c, const char *name, enum operation operation,
		   struct error *ret_error)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
	struct request *q = xcalloc(1, sizeof(*q));
	_cleanup_free_ char *path = NULL;
	sd_bus_slot *slot;
	int r = sd_bus_path_encode(BUS_CONTAINERS, name, &path);

	*q = (struct request){.client = c, .name = xstrdup(name)};
	if (r >= 0)
		r = sd_bus_message_new_method_call(c->bus, &m, BUS_NAME, path, BUS_CONTAINER,
						   operation_method(operation));
	if (r >= 0)
		r = sd_bus_message_set_allow_interactive_authorization(m, 1);
	if (r >= 0)
		r = sd_bus_call_async(c->bus, &slot, m, on_reply, q, REQUEST_TIME_US);
	if (r < 0) {
		request_free(q);
		return error_set(ret_error, r, "%s: cannot send the request: %s", name,
				 strerror(-r));
	}
	(void)sd_bus_slot_set_destroy_callback(slot, request_free);
	(void)sd_bus_slot_set_floating(slot, 1);
	sd_bus_slot_unref(slot);
	return 0;
}

/* Signals are blocked except in ppoll(2), so that none is lost between the check of the flag and the sleep. */
static void catch_signals(struct client *c)
{
	struct sigaction action = {.sa_handler = on_signal};
	sigset_t mine;

	if (c->catching)
		return;
	c->catching = true;
	(void)sigemptyset(&mine);
	(void)sigaddset(&mine, SIGINT);
	(void)sigaddset(&mine, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &mine, &c->before);
	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
}

/* Milliseconds until until_ms, or until a pending call times out. */
static uint64_t time_to_wait(struct client *c, uint64_t until_ms)
{
	uint64_t now = now_ms(), ms = until_ms > now ? until_ms - now : 0, call_us, mono_us;
	struct timespec ts;

	if (sd_bus_get_timeout(c->bus, &call_us) < 0 || call_us == UINT64_MAX ||
	    clock_gettime(CLOCK_MONOTONIC, &ts) < 0)
		return ms;
	mono_us = (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
	call_us = call_us > mono_us ? (call_us - mono_us) / 1000 + 1 : 0;
	return call_us < ms ? call_us : ms;
}

static int sleep_until(struct client *c, uint64_t until_ms)
{
	struct pollfd p = {.fd = sd_bus_get_fd(c->bus)};
	int events = sd_bus_get_events(c->bus);
	uint64_t ms = time_to_wait(c, until_ms);
	struct timespec limit = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
	bool forever = ms > (uint64_t)INT32_MAX;

	if (p.fd < 0 || events < 0)
		return -ENOTCONN;
	p.events = (short)events;
	if (ppoll(&p, 1, forever ? NULL : &limit, &c->before) < 0 && errno != EINTR)
		return -errno;
	return 0;
}

const struct client_event *client_next(struct client *c, uint64_t until_ms)
{
	bool waited = false;
	int r;

	catch_signals(c);
	clear_event(c);
	for (;;) {
		r = sd_bus_process(c->bus, NULL);
		if (c->event.kind != CLIENT_NOTHING)
			break;
		if (r == 0 && interrupted) {
			interrupted = 0;
			set_event(c, CLIENT_INTERRUPTED, NULL);
			break;
		}
		if (r == 0 && waited && now_ms() >= until_ms)
			break;
		if (r == 0)
			r = sleep_until(c, until_ms);
		waited = true;
		if (r < 0) {
			set_event(c, CLIENT_LOST, NULL);
			(void)error_set(&c->event.error, r,
					"the connection to the system bus was lost");
			break;
		}
	}
	return &c->event;
}
