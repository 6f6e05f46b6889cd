/* SPDX-License-Identifier: MIT */
#include "client.h"

#include <errno.h>
#include <signal.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#define REQUEST_TIME_US ((uint64_t)150 * 1000000) /* polkit may ask for a password */

static void clear_event(struct client *c)
{
	free(c->event.name);
	json_decref(c->event.result);
	c->event = (struct client_event){0};
}

static void set_event(struct client *c, enum client_event_kind kind, const char *name)
{
	clear_event(c);
	c->event.kind = kind;
	c->event.name = name ? xstrdup(name) : NULL;
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

/* An array of strings, of which s is given the names. */
static int read_signers(sd_bus_message *m, struct status *s)
{
	const char *name;
	int r = sd_bus_message_enter_container(m, 'v', "as");

	(void)json_array_clear(s->signed_by);
	if (r >= 0)
		r = sd_bus_message_enter_container(m, 'a', "s");
	while (r >= 0 && (r = sd_bus_message_read(m, "s", &name)) > 0)
		json_append(s->signed_by, json_string_lossy(name));
	return leave(m, leave(m, r));
}

/* The value of one property; one that a newer pulletd added is skipped. */
static int read_value(sd_bus_message *m, const char *property, struct status *s)
{
	char **text = status_text(s, property);
	bool *is = streq(property, "Held")	   ? &s->held
		   : streq(property, "RolledBack") ? &s->rolled_back
						   : NULL;
	const char *type, *value, *reason;
	int r = sd_bus_message_peek_type(m, NULL, &type), flag;

	if (r < 0)
		return r;
	if (text && streq(type, "s")) {
		r = sd_bus_message_read(m, "v", "s", &value);
		if (r >= 0)
			replace_string(text, value);
		return r;
	}
	if (is && streq(type, "b")) {
		r = sd_bus_message_read(m, "v", "b", &flag);
		*is = r >= 0 && flag;
		return r;
	}
	if (streq(property, "HeldUntil") && streq(type, "t"))
		return sd_bus_message_read(m, "v", "t", &s->held_until_us);
	if (streq(property, "NextCheck") && streq(type, "t"))
		return sd_bus_message_read(m, "v", "t", &s->next_check_us);
	if (streq(property, "SignatureExpires") && streq(type, "t"))
		return sd_bus_message_read(m, "v", "t", &s->signature_expires_us);
	if (streq(property, "SignedBy") && streq(type, "as"))
		return read_signers(m, s);
	if (streq(property, "Progress") && streq(type, "(tt)"))
		return sd_bus_message_read(m, "v", "(tt)", &s->bytes, &s->total);
	if (streq(property, "DownloadPlain") && streq(type, "t"))
		return sd_bus_message_read(m, "v", "t", &s->download.plain);
	if (streq(property, "Download") && streq(type, "(ttts)")) {
		r = sd_bus_message_read(m, "v", "(ttts)", &s->download.bytes, &s->download.of,
					&s->download.bytes_s, &value);
		if (r >= 0)
			s->download.waits = download_waits(value);
		return r;
	}
	if (streq(property, "Step") && streq(type, "(stt)")) {
		r = sd_bus_message_read(m, "v", "(stt)", &value, &s->step_began_ms, &s->step_ms);
		if (r >= 0)
			replace_string(&s->step, value);
		return r;
	}
	if (!streq(property, "Rejected") || !streq(type, "a(ss)"))
		return sd_bus_message_skip(m, "v");
	(void)json_array_clear(s->rejected);
	r = sd_bus_message_enter_container(m, 'v', "a(ss)");
	if (r >= 0)
		r = sd_bus_message_enter_container(m, 'a', "(ss)");
	while (r >= 0 && (r = sd_bus_message_read(m, "(ss)", &value, &reason)) > 0)
		status_reject(s, value, reason);
	return leave(m, leave(m, r));
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

/* A property of the manager that is a list of names; NULL: an older pulletd lacks it. */
static json_t *read_names(struct client *c, const char *property)
{
	char **names = NULL;
	json_t *list;

	if (sd_bus_get_property_strv(c->bus, BUS_NAME, BUS_PATH, BUS_NAME, property, NULL, &names) <
	    0)
		return NULL;
	list = json_need(json_array());
	for (char **name = names; name && *name; name++) {
		json_append(list, json_string_lossy(*name));
		free(*name);
	}
	free(names);
	return list;
}

/* The properties of the manager; an older pulletd lacks them. */
static void read_manager(struct client *c)
{
	_cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *traffic = NULL;
	uint64_t *t = c->traffic;
	char *text = NULL;

	memset(t, 0, sizeof(c->traffic));
	if (sd_bus_get_property(c->bus, BUS_NAME, BUS_PATH, BUS_NAME, "Traffic", NULL, &traffic,
				"(tttt)") >= 0)
		(void)sd_bus_message_read(traffic, "(tttt)", &t[0], &t[1], &t[2], &t[3]);

	if (sd_bus_get_property_string(c->bus, BUS_NAME, BUS_PATH, BUS_NAME, "ConfigError", &error,
				       &text) < 0)
		text = NULL;
	free(c->config_error);
	c->config_error = text && text[0] ? steal(text) : NULL;
	free(text);
	json_decref(c->unfollowed);
	c->unfollowed = read_names(c, "Unfollowed");
}

int client_list(struct client *c, struct error *ret_error)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	_cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	int r = sd_bus_call_method(c->bus, BUS_NAME, BUS_PATH, "org.freedesktop.DBus.ObjectManager",
				   "GetManagedObjects", &error, &reply, NULL);

	status_list_clear(&c->list);
	c->up = r >= 0;
	if (sd_bus_error_has_names(&error, SD_BUS_ERROR_SERVICE_UNKNOWN,
				   SD_BUS_ERROR_NAME_HAS_NO_OWNER))
		return 0;
	if (r >= 0)
		r = read_objects(reply, &c->list);
	if (r >= 0)
		read_manager(c);
	return r < 0 ? error_set(ret_error, r, "pulletd does not answer on D-Bus: %s",
				 error.message ? error.message : strerror(-r))
		     : 0;
}

static int on_owner(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct client *c = userdata;
	const char *name, *before, *now;
	struct error ignored;

	if (sd_bus_message_read(m, "sss", &name, &before, &now) < 0)
		return 0;
	if (now[0] && client_list(c, &ignored) == 0 && c->up) {
		set_event(c, CLIENT_BACK, NULL);
	} else if (!now[0]) {
		c->up = false;
		status_list_clear(&c->list);
		set_event(c, CLIENT_GONE, NULL);
	}
	return 0;
}

static int on_signal(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	_cleanup_free_ char *name = name_of(sd_bus_message_get_path(m));
	const char *interface, *operation, *result;
	struct client *c = userdata;
	struct error ignored;

	if (sd_bus_message_is_signal(m, "org.freedesktop.DBus.ObjectManager", NULL) ||
	    streq_null(sd_bus_message_get_path(m), BUS_PATH)) {
		if (client_list(c, &ignored) == 0)
			set_event(c, CLIENT_LISTED, NULL);
	} else if (!name) {
		return 0;
	} else if (sd_bus_message_is_signal(m, "org.freedesktop.DBus.Properties",
					    "PropertiesChanged")) {
		if (sd_bus_message_read(m, "s", &interface) >= 0 &&
		    streq(interface, BUS_CONTAINER) &&
		    read_properties(m, status_list_get(&c->list, name)) >= 0)
			set_event(c, CLIENT_CHANGED, name);
	} else if (sd_bus_message_is_signal(m, BUS_CONTAINER, "Finished") &&
		   sd_bus_message_read(m, "ss", &operation, &result) >= 0) {
		set_event(c, CLIENT_FINISHED, name);
		if (operation_from_name(operation, &c->event.operation) < 0)
			clear_event(c);
		else if (json_parse(result, strlen(result), "result", &c->event.result, &ignored) <
			 0)
			c->event.result = json_object();
	}
	return 0;
}

int client_open(struct client *c, struct error *ret_error)
{
	int r;

	*c = (struct client){0};
	r = sd_bus_open_system(&c->bus);
	if (r >= 0)
		r = sd_bus_add_match(c->bus, NULL,
				     "type='signal',sender='org.freedesktop.DBus',"
				     "member='NameOwnerChanged',arg0='" BUS_NAME "'",
				     on_owner, c);
	if (r >= 0)
		r = sd_bus_add_match(c->bus, NULL,
				     "type='signal',sender='" BUS_NAME "',path_namespace='" BUS_PATH
				     "'",
				     on_signal, c);
	if (r < 0)
		r = error_set(ret_error, r, "cannot connect to the system bus: %s", strerror(-r));
	else
		r = client_list(c, ret_error);
	if (r < 0)
		client_close(c);
	return r;
}

void client_close(struct client *c)
{
	sd_bus_flush_close_unref(c->bus);
	clear_event(c);
	status_list_clear(&c->list);
	free(c->config_error);
	json_decref(c->unfollowed);
	sd_event_unref(c->loop);
}

static int code_of(const sd_bus_error *e)
{
	/* The first: pulletd ended before it answered. */
	if (sd_bus_error_has_names(e, SD_BUS_ERROR_NO_REPLY, SD_BUS_ERROR_SERVICE_UNKNOWN,
				   SD_BUS_ERROR_NAME_HAS_NO_OWNER))
		return -EHOSTDOWN;
	if (sd_bus_error_has_names(e, SD_BUS_ERROR_ACCESS_DENIED,
				   SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED))
		return -EACCES;
	return -EIO;
}

static int on_reply(sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	const sd_bus_error *e = sd_bus_message_get_error(reply);
	const char *name = NULL;
	struct client *c = userdata;

	(void)sd_bus_slot_get_description(sd_bus_get_current_slot(c->bus), &name);
	set_event(c, e ? CLIENT_REFUSED : CLIENT_ACCEPTED, name);
	if (e)
		(void)error_set(&c->event.error, code_of(e), "%s",
				e->message ? e->message : e->name);
	return 0;
}

int client_request(struct client *c, const char *name, enum operation operation,
		   const struct hold *hold, struct error *ret_error)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
	_cleanup_(sd_bus_slot_unrefp) sd_bus_slot *slot = NULL;
	_cleanup_free_ char *path = NULL;
	int r = sd_bus_path_encode(BUS_CONTAINERS, name, &path);

	if (r >= 0)
		r = sd_bus_message_new_method_call(
			c->bus, &m, BUS_NAME, path, BUS_CONTAINER,
			operation == OPERATION_HOLD ? "HoldUntil" : operations[operation].method);
	if (r >= 0 && operation == OPERATION_HOLD)
		r = sd_bus_message_append(m, "tss", (uint64_t)hold->until_s * 1000000, hold->reason,
					  hold->by);
	if (r >= 0)
		r = sd_bus_message_set_allow_interactive_authorization(m, 1);
	if (r >= 0)
		r = sd_bus_call_async(c->bus, &slot, m, on_reply, c, REQUEST_TIME_US);
	/* on_reply() needs the name. */
	if (r >= 0)
		r = sd_bus_slot_set_description(slot, name);
	if (r >= 0)
		r = sd_bus_slot_set_floating(slot, 1);
	return r < 0 ? error_set(ret_error, r, "cannot send the request: %s", strerror(-r)) : 0;
}

#define SYSTEMD_NAME "org.freedesktop.systemd1"

int client_unit_state(struct client *c, const char *unit, char **ret_load, char **ret_active)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	const char *path;
	int r = sd_bus_call_method(c->bus, SYSTEMD_NAME, "/org/freedesktop/systemd1",
				   SYSTEMD_NAME ".Manager", "LoadUnit", NULL, &reply, "s", unit);

	if (r >= 0)
		r = sd_bus_message_read(reply, "o", &path);
	if (r >= 0)
		r = sd_bus_get_property_string(c->bus, SYSTEMD_NAME, path, SYSTEMD_NAME ".Unit",
					       "LoadState", NULL, ret_load);
	if (r >= 0)
		r = sd_bus_get_property_string(c->bus, SYSTEMD_NAME, path, SYSTEMD_NAME ".Unit",
					       "ActiveState", NULL, ret_active);
	return r;
}

json_t *client_history(struct client *c, const char *name)
{
	_cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	_cleanup_free_ char *path = NULL, *text = NULL;
	json_t *j = NULL;
	struct error ignored;

	/* An older pulletd lacks it. */
	if (sd_bus_path_encode(BUS_CONTAINERS, name, &path) >= 0 &&
	    sd_bus_get_property_string(c->bus, BUS_NAME, path, BUS_CONTAINER, "History", &error,
				       &text) >= 0)
		(void)!json_parse(text, strlen(text), "history", &j, &ignored);
	return json_is_array(j) ? j : json_need(json_array());
}

json_t *client_gone(struct client *c)
{
	return read_names(c, "Gone") ?: json_need(json_array());
}

/* Inserts the object by its name. */
static void insert_found(json_t *found, const char *text)
{
	_cleanup_json_ json_t *object = NULL;
	struct error ignored;
	const char *name;
	size_t i = 0;

	if (json_parse(text, strlen(text), "answer", &object, &ignored) < 0)
		return;
	name = json_get_string(object, "container");
	while (name && i < json_array_size(found) &&
	       strcmp(json_get_string(json_array_get(found, i), "container"), name) < 0)
		i++;
	if (name)
		(void)json_array_insert(found, i, object);
}

/* pulletd reads the configuration before it answers the next call. */
int client_refresh(struct client *c, struct error *ret_error)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
	int r = sd_bus_message_new_method_call(c->bus, &m, BUS_NAME, BUS_PATH, BUS_NAME, "Survey");

	if (r >= 0)
		r = sd_bus_message_set_expect_reply(m, false);
	if (r >= 0)
		r = sd_bus_send(c->bus, m, NULL);
	return r < 0 ? error_set(ret_error, r, "pulletd: %s", strerror(-r))
		     : client_list(c, ret_error);
}

int client_survey(struct client *c, json_t **ret, struct error *ret_error)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
	_cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	_cleanup_json_ json_t *found = json_need(json_array());
	const char *text;
	int r = sd_bus_message_new_method_call(c->bus, &m, BUS_NAME, BUS_PATH, BUS_NAME, "Survey");

	if (r >= 0)
		r = sd_bus_call(c->bus, m, REQUEST_TIME_US, &error, &reply);
	if (r >= 0)
		r = sd_bus_message_enter_container(reply, 'a', "s");
	while (r >= 0 && (r = sd_bus_message_read(reply, "s", &text)) > 0)
		insert_found(found, text);
	if (r < 0)
		return error_set(ret_error, r, "%s", error.message ?: strerror(-r));
	*ret = steal(found);
	return 0;
}

static int on_interrupt(sd_event_source *source, const struct signalfd_siginfo *info,
			void *userdata)
{
	set_event(userdata, CLIENT_INTERRUPTED, NULL);
	return 0;
}

static int start_loop(struct client *c)
{
	int r = sd_event_new(&c->loop);

	if (r >= 0)
		r = sd_bus_attach_event(c->bus, c->loop, SD_EVENT_PRIORITY_NORMAL);
	if (r >= 0)
		r = sd_event_add_signal(c->loop, NULL, SIGINT | SD_EVENT_SIGNAL_PROCMASK,
					on_interrupt, c);
	if (r >= 0)
		r = sd_event_add_signal(c->loop, NULL, SIGTERM | SD_EVENT_SIGNAL_PROCMASK,
					on_interrupt, c);
	return r;
}

/* Waits for one message or signal, which may be no event. 0: the time is up. */
static int wait_until(struct client *c, uint64_t until_ms)
{
	uint64_t now = now_ms(), ms = until_ms > now ? until_ms - now : 0;

	if (sd_bus_is_open(c->bus) <= 0)
		return -ENOTCONN;
	return sd_event_run(c->loop, until_ms == CLIENT_FOREVER ? UINT64_MAX : ms * 1000);
}

const struct client_event *client_next(struct client *c, uint64_t until_ms)
{
	int r = c->loop ? 0 : start_loop(c);

	clear_event(c);
	if (r >= 0) {
		do
			r = wait_until(c, until_ms);
		while (r > 0 && c->event.kind == CLIENT_NOTHING);
	}
	if (r < 0) {
		set_event(c, CLIENT_LOST, NULL);
		(void)error_set(&c->event.error, r, "the connection to the system bus was lost");
	}
	return &c->event;
}
