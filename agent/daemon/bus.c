/* SPDX-License-Identifier: MIT */
#include "bus.h"

#include <errno.h>
#include <systemd/sd-bus.h>

#include "bus-append.h"
#include "clock.h"
#include "history.h"
#include "log.h"
#include "polkit.h"

#define ADDRESS_DEFAULT	     "unix:path=/run/dbus/system_bus_socket"
#define QUEUE_MAX	     200 /* messages that a stuck bus has not taken */
#define RECONNECT_FIRST_US   ((uint64_t)1000000)
#define RECONNECT_LONGEST_US ((uint64_t)64 * 1000000)

struct bus {
	const char *version;
	const struct unit_table *table;
	const char *state_dir;
	bus_request_fn *request;
	bus_survey_fn *survey;
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
	bool held = record_is_held(r, clock_now());
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
		{"Version", r->current.version},
		{"TargetVersion", unit_target_version(u, r)},
		{"LastError", unit_error(b->table, u, r)},
		{"HeldBy", held ? r->hold.by : ""},
		{"HeldReason", held ? r->hold.reason : ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		if (texts[i].text && streq(texts[i].property, property))
			return texts[i].text;
	}
	return "";
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

static uint64_t held_until_us(const struct record *r)
{
	return record_is_held(r, clock_now()) ? (uint64_t)r->hold.until_s * 1000000 : 0;
}

static int get_property(sd_bus *bus, const char *path, const char *interface, const char *property,
			sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	struct bus *b = userdata;
	const struct unit *u = b->unit;

	if (streq(property, "Rejected"))
		return bus_append_rejected(reply, read_record(b, u));
	if (streq(property, "History"))
		return bus_append_history(reply, u, read_record(b, u));
	if (streq(property, "SignedBy"))
		return bus_append_signers(reply, &read_record(b, u)->current.signature);
	if (streq(property, "SignatureExpires"))
		return sd_bus_message_append(
			reply, "t",
			(uint64_t)read_record(b, u)->current.signature.expires_s * 1000000);
	if (streq(property, "Held"))
		return sd_bus_message_append(
			reply, "b",
			u->config->hold || record_is_held(read_record(b, u), clock_now()));
	if (streq(property, "HeldUntil"))
		return sd_bus_message_append(reply, "t", held_until_us(read_record(b, u)));
	if (streq(property, "RolledBack"))
		return sd_bus_message_append(
			reply, "b",
			result_is_rollback(read_record(b, u),
					   unit_error(b->table, u, read_record(b, u))));
	if (streq(property, "NextCheck"))
		return sd_bus_message_append(reply, "t", next_check_us(b, u));
	if (streq(property, "Progress"))
		return sd_bus_message_append(reply, "(tt)", u->current, u->total);
	if (streq(property, "Download"))
		return bus_append_download(reply, u);
	if (streq(property, "DownloadPlain"))
		return sd_bus_message_append(reply, "t", unit_download(u, now_ms()).plain);
	if (streq(property, "Step"))
		return sd_bus_message_append(reply, "(stt)", u->step ? u->step : "",
					     u->step_began_ms, u->step_ms);
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

/* On whose behalf root asks (sudo) is believed of root alone. */
static int read_hold(sd_bus_message *call, json_t **ret)
{
	_cleanup_(sd_bus_creds_unrefp) sd_bus_creds *creds = NULL;
	const char *reason = "", *by = "";
	uint64_t until_us = 0;
	uid_t uid = 0;
	bool known = sd_bus_query_sender_creds(call, SD_BUS_CREDS_EUID, &creds) >= 0 &&
		     sd_bus_creds_get_euid(creds, &uid) >= 0;
	int r = sd_bus_message_has_signature(call, "")
			? 0
			: sd_bus_message_read(call, "tss", &until_us, &reason, &by);

	if (r < 0)
		return r;
	*ret = json_need(json_pack("{s:I, s:s, s:s*, s:o*}", "until",
				   (json_int_t)(until_us / 1000000), "reason", reason, "by",
				   known && uid == 0 && by[0] ? by : NULL, "uid",
				   known ? json_integer((json_int_t)uid) : NULL));
	return 0;
}

static int carry_out(void *userdata, sd_bus_message *call, enum operation operation)
{
	struct bus *b = userdata;
	_cleanup_free_ char *answer = NULL;
	json_t *hold = NULL;
	struct error e;
	void *found;
	int r = operation == OPERATION_HOLD ? read_hold(call, &hold) : 0;

	if (r < 0)
		return r;
	/* The configuration may have changed while polkit asked for a password. */
	if (find_unit(b->bus, sd_bus_message_get_path(call), NULL, b, &found, NULL) == 0) {
		json_decref(hold);
		return sd_bus_reply_method_errorf(call, SD_BUS_ERROR_UNKNOWN_OBJECT,
						  "the container is no longer configured");
	}
	r = b->request(b->userdata, b->unit, operation, sd_bus_query_sender_privilege(call, -1) > 0,
		       hold, &answer, &e);
	if (r < 0)
		return sd_bus_reply_method_errorf(
			call, r == -EBUSY ? BUS_NAME ".Error.Busy" : SD_BUS_ERROR_FAILED, "%s",
			e.text);
	r = sd_bus_reply_method_return(call, NULL);
	if (answer)
		emit_finished(b, b->unit, operation, answer);
	return r;
}

static int on_request(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
	const char *method = sd_bus_message_get_member(call);
	struct bus *b = userdata;
	int r = sd_bus_query_sender_privilege(call, -1);
	enum operation operation = OPERATION_UPDATE;

	if (streq(method, "HoldUntil"))
		method = operations[OPERATION_HOLD].method;
	while (operation < OPERATION_MAX && !streq(operations[operation].method, method))
		operation++;
	if (operation == OPERATION_MAX)
		return -ENOENT;
	if (r == 0)
		return polkit_ask(&b->pending, call, operation, b->unit->config->name, carry_out, b,
				  error);
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
	PROPERTY("HeldUntil", "t"),
	PROPERTY("HeldBy", "s"),
	PROPERTY("HeldReason", "s"),
	PROPERTY("RolledBack", "b"),
	PROPERTY("LastResult", "s"),
	PROPERTY("LastError", "s"),
	PROPERTY("NextCheck", "t"),
	PROPERTY("Progress", "(tt)"),
	PROPERTY("Download", "(ttts)"),
	PROPERTY("DownloadPlain", "t"),
	PROPERTY("Version", "s"),
	PROPERTY("TargetVersion", "s"),
	PROPERTY("SignedBy", "as"),
	PROPERTY("SignatureExpires", "t"),
	PROPERTY("Step", "(stt)"),
	SD_BUS_PROPERTY("History", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_EXPLICIT),
	REQUEST("Check"),
	REQUEST("Update"),
	REQUEST("UpdateNow"),
	REQUEST("Rollback"),
	REQUEST("Hold"),
	SD_BUS_METHOD_WITH_NAMES("HoldUntil", "tss",
				 SD_BUS_PARAM(until) SD_BUS_PARAM(reason) SD_BUS_PARAM(by), "", ,
				 on_request, SD_BUS_VTABLE_UNPRIVILEGED),
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

static int get_traffic(sd_bus *bus, const char *path, const char *interface, const char *property,
		       sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	const struct unit_table *t = ((const struct bus *)userdata)->table;

	return sd_bus_message_append(reply, "(tttt)", t->traffic_day, t->config->budget_day,
				     t->traffic_month, t->config->budget_month);
}

static int get_gone(sd_bus *bus, const char *path, const char *interface, const char *property,
		    sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	const struct bus *b = userdata;
	_cleanup_json_ json_t *gone = record_list_gone(b->state_dir, b->table->config);

	return bus_append_names(reply, gone);
}

/* A reload may have changed which are followed. */
static int get_unfollowed(sd_bus *bus, const char *path, const char *interface,
			  const char *property, sd_bus_message *reply, void *userdata,
			  sd_bus_error *error)
{
	const struct bus *b = userdata;
	_cleanup_json_ json_t *left = json_need(json_array());
	json_t *v;
	size_t i;

	json_array_foreach (b->table->unfollowed, i, v) {
		if (json_is_string(v) && !unit_find(b->table, json_string_value(v)))
			json_append(left, json_incref(v));
	}
	return bus_append_names(reply, left);
}

static int on_survey(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
	struct bus *b = userdata;

	return b->survey(b->userdata, call, error);
}

static const sd_bus_vtable manager_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_PROPERTY("Version", "s", NULL, offsetof(struct bus, version),
			SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("ConfigError", "s", get_fault, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("Traffic", "(tttt)", get_traffic, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("Gone", "as", get_gone, 0, SD_BUS_VTABLE_PROPERTY_EXPLICIT),
	SD_BUS_PROPERTY("Unfollowed", "as", get_unfollowed, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_METHOD_WITH_NAMES("Survey", "", , "as", SD_BUS_PARAM(containers), on_survey,
				 SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_VTABLE_END,
};

void bus_job_ended(struct bus *b, const struct unit *u, enum operation operation,
		   const char *result)
{
	bus_changed(b, u, "Phase", "Operation", "Current", "Target", "Previous", "Rejected", "Held",
		    "HeldUntil", "HeldBy", "HeldReason", "RolledBack", "LastResult", "LastError",
		    "NextCheck", "Progress", "Download", "DownloadPlain", "Version",
		    "TargetVersion", "SignedBy", "SignatureExpires", "Step");
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

static void emit_manager_changed(struct bus *b, const char *property)
{
	if (b && b->ready)
		(void)sd_bus_emit_properties_changed(b->bus, BUS_PATH, BUS_NAME, property, NULL);
}

void bus_unfollowed_changed(struct bus *b)
{
	emit_manager_changed(b, "Unfollowed");
}

void bus_traffic_changed(struct bus *b)
{
	emit_manager_changed(b, "Traffic");
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
		     bus_request_fn *request, bus_survey_fn *survey, void *userdata)
{
	struct bus *b = xmalloc(sizeof(*b));

	*b = (struct bus){.version = PULLET_VERSION,
			  .event = event,
			  .table = table,
			  .state_dir = state_dir,
			  .request = request,
			  .survey = survey,
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
