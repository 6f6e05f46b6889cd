/* SPDX-License-Identifier: MIT */
#include "bus.h"

#include <errno.h>
#include <systemd/sd-bus.h>

#include "log.h"
#include "result.h"

#define ADDRESS_DEFAULT	     "unix:path=/run/dbus/system_bus_socket"
#define REQUESTS_MAX	     16			       /* that wait for polkit */
#define REQUEST_TIME_US	     ((uint64_t)120 * 1000000) /* time to type a password */
#define FLAG_INTERACTIVE     1u			       /* of polkit */
#define QUEUE_MAX	     200		       /* messages that a stuck bus has not taken */
#define RECONNECT_FIRST_US   ((uint64_t)1000000)
#define RECONNECT_LONGEST_US ((uint64_t)64 * 1000000)

struct bus {
	const char *version;
	const struct unit_table *table;
	const char *state_dir;
	bus_request_fn *request;
	void *userdata;
	sd_event *event;
	sd_event_source *reconnect;
	bool refused; /* the name, and that was logged */
	uint64_t reconnect_us;
	sd_bus *bus;
	bool ready;	      /* the name is ours */
	unsigned int pending; /* requests to polkit */
	/* The unit of the object that sd-bus uses: it calls find_unit() right before any getter or method. */
	const struct unit *unit;
	/* The record that was read last: a client asks for all properties of a container in a row. */
	struct record *record;
	const struct unit *record_of;
};

static const struct record *read_record(struct bus *b, const struct unit *u)
{
	if (b->record_of != u) {
		bus_drop_cache(b);
		b->record = xmalloc(sizeof(*b->record));
		b->record_of = u;
		(void)unit_read_record(u, b->state_dir, b->record);
	}
	return b->record;
}

void bus_drop_cache(struct bus *b)
{
	if (!b)
		return;
	free(b->record);
	b->record = NULL;
	b->record_of = NULL;
}

/* The container of an object path, for everything below BUS_CONTAINERS. */
static int find_unit(sd_bus *bus, const char *path, const char *interface, void *userdata,
		     void **ret_found, sd_bus_error *error)
{
	struct bus *b = userdata;
	_cleanup_free_ char *name = NULL;

	if (sd_bus_path_decode(path, BUS_CONTAINERS, &name) <= 0)
		return 0;
	b->unit = unit_find(b->table, name);
	*ret_found = b;
	return b->unit != NULL;
}

static int list_paths(sd_bus *bus, const char *prefix, void *userdata, char ***ret,
		      sd_bus_error *error)
{
	const struct bus *b = userdata;
	char **paths = xcalloc(b->table->n + 1, sizeof(*paths));

	for (size_t i = 0; i < b->table->n; i++) {
		if (sd_bus_path_encode(BUS_CONTAINERS, b->table->units[i].config->name, &paths[i]) <
		    0)
			abort();
	}
	*ret = paths;
	return 0;
}

static const char *text_of(struct bus *b, const char *property)
{
	const struct unit *u = b->unit;
	const struct record *r = read_record(b, u);
	const struct {
		const char *property, *text;
	} texts[] = {
		{"Name", u->config->name},
		{"Image", u->config->image},
		{"Operation", u->operation},
		{"LastResult", u->last_result},
		{"Phase", phase_names[r->phase]},
		{"Current", r->current.digest.text},
		{"Target", unit_target(u, r)},
		{"Previous", r->previous.digest.text},
		{"LastError", unit_error(b->table, u, r)},
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		if (texts[i].text && streq(texts[i].property, property))
			return texts[i].text;
	}
	return "";
}

static int append_rejected(sd_bus_message *reply, const struct record *record)
{
	int r = sd_bus_message_open_container(reply, 'a', "(ss)");

	for (size_t i = 0; r >= 0 && i < record->n_rejected; i++)
		r = sd_bus_message_append(reply, "(ss)", record->rejected[i].digest.text,
					  record->rejected[i].reason);
	return r < 0 ? r : sd_bus_message_close_container(reply);
}

/* The schedule is of CLOCK_BOOTTIME; people read wall time. Microseconds since 1970; 0: unknown. */
static uint64_t next_check_us(const struct bus *b, const struct unit *u)
{
	uint64_t now = now_ms(), wait_ms = u->next_check_ms > now ? u->next_check_ms - now : 0;
	uint64_t wall_us;

	if (u->next_check_ms == 0 || sd_event_now(b->event, CLOCK_REALTIME, &wall_us) < 0)
		return 0;
	return wall_us + wait_ms * 1000;
}

static int get_property(sd_bus *bus, const char *path, const char *interface, const char *property,
			sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	struct bus *b = userdata;
	const struct unit *u = b->unit;

	if (streq(property, "Rejected"))
		return append_rejected(reply, read_record(b, u));
	if (streq(property, "Held"))
		return sd_bus_message_append(reply, "b",
					     u->config->hold || read_record(b, u)->held);
	if (streq(property, "RolledBack"))
		return sd_bus_message_append(
			reply, "b",
			result_is_rollback(read_record(b, u),
					   unit_error(b->table, u, read_record(b, u))));
	if (streq(property, "NextCheck"))
		return sd_bus_message_append(reply, "t", next_check_us(b, u));
	if (streq(property, "Progress"))
		return sd_bus_message_append(reply, "(tt)", u->current, u->total);
	return sd_bus_message_append(reply, "s", text_of(b, property));
}

/* Caller frees. NULL: a signal would not be delivered now. */
static char *path_for_signal(const struct bus *b, const struct unit *u)
{
	uint64_t queued;
	char *path;

	if (!b || !b->ready || sd_bus_get_n_queued_write(b->bus, &queued) < 0 ||
	    queued > QUEUE_MAX || sd_bus_path_encode(BUS_CONTAINERS, u->config->name, &path) < 0)
		return NULL;
	return path;
}

void bus_emit_changed(struct bus *b, const struct unit *u, const char *const *names)
{
	_cleanup_free_ char *path = path_for_signal(b, u);
	int r;

	/* The record may have changed, too. */
	bus_drop_cache(b);
	if (!path)
		return;
	r = sd_bus_emit_properties_changed_strv(b->bus, path, BUS_CONTAINER, (char **)names);
	if (r < 0)
		log_debug("%s: D-Bus: %s", u->config->name, strerror(-r));
}

static void emit_finished(struct bus *b, const struct unit *u, enum operation operation,
			  const char *result)
{
	_cleanup_free_ char *path = path_for_signal(b, u);

	if (path)
		(void)sd_bus_emit_signal(b->bus, path, BUS_CONTAINER, "Finished", "ss",
					 operations[operation].name, result);
}

static int carry_out(struct bus *b, sd_bus_message *call, enum operation operation)
{
	_cleanup_free_ char *answer = NULL;
	struct error e;
	void *found;
	int r;

	/* The configuration may have changed while polkit asked for a password. */
	if (find_unit(b->bus, sd_bus_message_get_path(call), NULL, b, &found, NULL) == 0)
		return sd_bus_reply_method_errorf(call, SD_BUS_ERROR_UNKNOWN_OBJECT,
						  "the container is no longer configured");
	r = b->request(b->userdata, b->unit, operation, sd_bus_query_sender_privilege(call, -1) > 0,
		       &answer, &e);
	if (r < 0)
		return sd_bus_reply_method_errorf(
			call, r == -EBUSY ? BUS_NAME ".Error.Busy" : SD_BUS_ERROR_FAILED, "%s",
			e.text);
	r = sd_bus_reply_method_return(call, NULL);
	if (answer)
		emit_finished(b, b->unit, operation, answer);
	return r;
}

/* --- polkit: root and our own user are authorized; others if polkit says so, and without a polkit they are not --- */

struct request {
	struct bus *bus;
	sd_bus_message *call;
	enum operation operation;
};

static void request_free(void *userdata)
{
	struct request *q = userdata;

	sd_bus_message_unref(q->call);
	q->bus->pending--;
	free(q);
}

static int deny(sd_bus_error *error)
{
	return sd_bus_error_set(error, SD_BUS_ERROR_ACCESS_DENIED,
				"permission denied: not authorized by polkit");
}

/* 1: allowed. */
static int read_answer(sd_bus_message *reply, sd_bus_error *error)
{
	int allowed, challenge, r;

	/* polkit does not work: only root and our own user are authorized. */
	if (sd_bus_message_is_method_error(reply, NULL))
		return deny(error);
	r = sd_bus_message_enter_container(reply, 'r', "bba{ss}");
	if (r >= 0)
		r = sd_bus_message_read(reply, "bb", &allowed, &challenge);
	if (r < 0)
		return r;
	if (!allowed && challenge)
		return sd_bus_error_set(error, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED,
					"interactive authentication required; try as root");
	return allowed ? 1 : deny(error);
}

static int on_answer(sd_bus_message *reply, void *userdata, sd_bus_error *ignored)
{
	_cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	struct request *q = userdata;
	int r = read_answer(reply, &error);

	if (r > 0)
		r = carry_out(q->bus, q->call, q->operation);
	if (r < 0)
		r = sd_bus_reply_method_errno(q->call, r, &error);
	return r;
}

/* The name of the container is for the dialog. */
static int ask_polkit(struct bus *b, sd_bus_message *call, enum operation operation,
		      sd_bus_error *error)
{
	bool interactive = sd_bus_message_get_allow_interactive_authorization(call) > 0;
	struct request *q;
	sd_bus_slot *slot;
	int r;

	if (b->pending >= REQUESTS_MAX)
		return sd_bus_error_set(error, SD_BUS_ERROR_LIMITS_EXCEEDED,
					"too many pending authorization requests");
	q = xmalloc(sizeof(*q));
	*q = (struct request){.bus = b, .call = sd_bus_message_ref(call), .operation = operation};
	b->pending++;
	/* A call takes the timeout that is set when it is sent. Others, which block, keep libsystemd's 25 s. */
	(void)sd_bus_set_method_call_timeout(b->bus, REQUEST_TIME_US);
	r = sd_bus_call_method_async(
		b->bus, &slot, "org.freedesktop.PolicyKit1",
		"/org/freedesktop/PolicyKit1/Authority", "org.freedesktop.PolicyKit1.Authority",
		"CheckAuthorization", on_answer, q, "(sa{sv})sa{ss}us", "system-bus-name", 1,
		"name", "s", sd_bus_message_get_sender(call), operations[operation].action, 1,
		"container", b->unit->config->name, interactive ? FLAG_INTERACTIVE : 0, "");
	(void)sd_bus_set_method_call_timeout(b->bus, 0);
	if (r < 0) {
		request_free(q);
		return r;
	}
	(void)sd_bus_slot_set_destroy_callback(slot, request_free);
	(void)sd_bus_slot_set_floating(slot, 1);
	sd_bus_slot_unref(slot);
	return 1;
}

static int on_request(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
	const char *method = sd_bus_message_get_member(call);
	struct bus *b = userdata;
	int r = sd_bus_query_sender_privilege(call, -1);
	enum operation operation = OPERATION_UPDATE;

	while (operation < OPERATION_MAX && !streq(operations[operation].method, method))
		operation++;
	if (operation == OPERATION_MAX)
		return -ENOENT;
	if (r == 0)
		return ask_polkit(b, call, operation, error);
	return r < 0 ? r : carry_out(b, call, operation);
}

/* --- the objects --- */

#define REQUEST(name) SD_BUS_METHOD(name, "", "", on_request, SD_BUS_VTABLE_UNPRIVILEGED)
#define PROPERTY(name, type) \
	SD_BUS_PROPERTY(name, type, get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE)

static const sd_bus_vtable container_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_PROPERTY("Name", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	PROPERTY("Image", "s"),
	PROPERTY("Phase", "s"),
	PROPERTY("Operation", "s"),
	PROPERTY("Current", "s"),
	PROPERTY("Target", "s"),
	PROPERTY("Previous", "s"),
	PROPERTY("Rejected", "a(ss)"),
	PROPERTY("Held", "b"),
	PROPERTY("RolledBack", "b"),
	PROPERTY("LastResult", "s"),
	PROPERTY("LastError", "s"),
	PROPERTY("NextCheck", "t"),
	PROPERTY("Progress", "(tt)"),
	REQUEST("Check"),
	REQUEST("Update"),
	REQUEST("Rollback"),
	REQUEST("Hold"),
	REQUEST("Release"),
	REQUEST("Retry"),
	SD_BUS_SIGNAL_WITH_NAMES("Finished", "ss", SD_BUS_PARAM(operation) SD_BUS_PARAM(result), 0),
	SD_BUS_VTABLE_END,
};

static int get_fault(sd_bus *bus, const char *path, const char *interface, const char *property,
		     sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	const struct bus *b = userdata;

	return sd_bus_message_append(reply, "s", b->table->fault ? b->table->fault : "");
}

static const sd_bus_vtable manager_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_PROPERTY("Version", "s", NULL, offsetof(struct bus, version),
			SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("ConfigError", "s", get_fault, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_VTABLE_END,
};

void bus_job_ended(struct bus *b, const struct unit *u, enum operation operation,
		   const char *result)
{
	bus_changed(b, u, "Phase", "Operation", "Current", "Target", "Previous", "Rejected", "Held",
		    "RolledBack", "LastResult", "LastError", "NextCheck", "Progress");
	emit_finished(b, u, operation, result);
}

void bus_fault_changed(struct bus *b)
{
	if (!b || !b->ready)
		return;
	(void)sd_bus_emit_properties_changed(b->bus, BUS_PATH, BUS_NAME, "ConfigError", NULL);
	for (size_t i = 0; i < b->table->n; i++)
		bus_changed(b, &b->table->units[i], "LastError", "RolledBack");
}

void bus_emit_objects(struct bus *b, bool added)
{
	int (*emit)(sd_bus * bus, const char *path) =
		added ? sd_bus_emit_object_added : sd_bus_emit_object_removed;

	bus_drop_cache(b);
	for (size_t i = 0; b && i < b->table->n; i++) {
		_cleanup_free_ char *path = path_for_signal(b, &b->table->units[i]);

		if (path)
			(void)emit(b->bus, path);
	}
}

static int on_connect_time(sd_event_source *s, uint64_t usec, void *userdata);

/* Each refusal doubles the wait. */
static void reconnect_later(struct bus *b)
{
	b->ready = false;
	b->bus = sd_bus_close_unref(b->bus);
	b->reconnect = sd_event_source_unref(b->reconnect);
	(void)sd_event_add_time_relative(b->event, &b->reconnect, CLOCK_BOOTTIME, b->reconnect_us,
					 0, on_connect_time, b);
	if (b->reconnect_us < RECONNECT_LONGEST_US)
		b->reconnect_us *= 2;
}

static int on_disconnected(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	log_info("D-Bus: disconnected; continuing without it until it is back");
	reconnect_later(userdata);
	return 0;
}

static int on_name(sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	const sd_bus_error *e = sd_bus_message_get_error(reply);
	struct bus *b = userdata;
	uint32_t answer = 0;

	/* 1: the name is ours; 4: it was before. */
	if (!e && sd_bus_message_read(reply, "u", &answer) >= 0 && (answer == 1 || answer == 4)) {
		b->ready = true;
		b->reconnect_us = RECONNECT_FIRST_US;
		b->refused = false;
		return 0;
	}
	/* Right after installation the bus may not have read its new policy yet. */
	if (!b->refused)
		log_warning("D-Bus: cannot own the name " BUS_NAME ": %s; trying again later",
			    e ? e->message : "another pulletd has it");
	b->refused = true;
	reconnect_later(b);
	return 0;
}

static int add_objects(struct bus *b)
{
	int r = sd_bus_add_object_vtable(b->bus, NULL, BUS_PATH, BUS_NAME, manager_vtable, b);

	if (r >= 0)
		r = sd_bus_add_object_manager(b->bus, NULL, BUS_PATH);
	if (r >= 0)
		r = sd_bus_add_fallback_vtable(b->bus, NULL, BUS_CONTAINERS, BUS_CONTAINER,
					       container_vtable, find_unit, b);
	if (r >= 0)
		r = sd_bus_add_node_enumerator(b->bus, NULL, BUS_CONTAINERS, list_paths, b);
	return r;
}

static int try_to_connect(struct bus *b)
{
	const char *address = secure_getenv("DBUS_SYSTEM_BUS_ADDRESS");
	int r = sd_bus_new(&b->bus);

	if (r >= 0)
		r = sd_bus_set_address(b->bus, address ? address : ADDRESS_DEFAULT);
	if (r >= 0)
		r = sd_bus_set_bus_client(b->bus, 1);
	/* sd-bus waits for a socket that does not exist yet. */
	if (r >= 0)
		r = sd_bus_set_watch_bind(b->bus, 1);
	if (r >= 0)
		r = add_objects(b);
	if (r >= 0)
		r = sd_bus_match_signal(b->bus, NULL, "org.freedesktop.DBus.Local",
					"/org/freedesktop/DBus/Local", "org.freedesktop.DBus.Local",
					"Disconnected", on_disconnected, b);
	if (r >= 0)
		r = sd_bus_start(b->bus);
	if (r >= 0)
		r = sd_bus_attach_event(b->bus, b->event, SD_EVENT_PRIORITY_NORMAL);
	if (r >= 0)
		r = sd_bus_request_name_async(b->bus, NULL, BUS_NAME, 0, on_name, b);
	return r;
}

static int on_connect_time(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct bus *b = userdata;
	int r = try_to_connect(b);

	if (r < 0) {
		log_warning("D-Bus: cannot connect: %s; trying again later", strerror(-r));
		reconnect_later(b);
	}
	return 0;
}

struct bus *bus_open(sd_event *event, const struct unit_table *table, const char *state_dir,
		     bus_request_fn *request, void *userdata)
{
	struct bus *b = xmalloc(sizeof(*b));

	*b = (struct bus){.version = PULLET_VERSION,
			  .event = event,
			  .table = table,
			  .state_dir = state_dir,
			  .request = request,
			  .userdata = userdata,
			  .reconnect_us = RECONNECT_FIRST_US};
	(void)on_connect_time(NULL, 0, b);
	return b;
}

void bus_close(struct bus *b)
{
	if (!b)
		return;
	(void)sd_bus_close_unref(b->bus);
	(void)sd_event_source_unref(b->reconnect);
	bus_drop_cache(b);
	free(b);
}
