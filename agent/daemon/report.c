/* SPDX-License-Identifier: MIT */
#include "report.h"

#include <inttypes.h>
#include <stdio.h>

#define SEVERITY_INFO  9 /* OTLP's numbers */
#define SEVERITY_ERROR 17
#define CUMULATIVE     2 /* OTLP's aggregation temporality */

/* --- metrics --- */

void tally_init(struct tally *t, uint64_t now_ms)
{
	*t = (struct tally){.since_ms = now_ms, .pass_ms = -1, .update_ms = -1, .downtime_ms = -1};
}

void tally_bytes(struct tally *t, uint64_t before, uint64_t now)
{
	t->pulled += now >= before ? now - before : now;
}

void tally_result(struct tally *t, const json_t *result, uint64_t now_ms, uint64_t pass_ms)
{
	const json_t *downtime = json_object_get(result, "downtime_ms");
	enum outcome outcome = result_outcome(result);

	t->passes[outcome]++;
	t->last = outcome;
	t->pass_ms = (int64_t)pass_ms;
	if (outcome != OUTCOME_FAILED)
		t->contact_ms = now_ms;
	if (outcome == OUTCOME_UPDATED || outcome == OUTCOME_ROLLED_BACK)
		t->update_ms = (int64_t)pass_ms;
	if (json_is_integer(downtime))
		t->downtime_ms = json_integer_value(downtime);
}

enum metric_id {
	INFO,
	CONTACT,
	PASSES,
	PASS_TIME,
	UPDATE_TIME,
	DOWNTIME,
	PULLED,
	DOWNLOAD,
	DOWNLOAD_TOTAL,
	TRAFFIC,
	REJECTED,
	HELD,
	SIGNATURE_SEQUENCE,
	SIGNATURE_EXPIRES,
	STATEMENT,
	METRIC_MAX,
};

/* **A new metric is a row here**, a value below, and a row in pullet.conf(5). */
static const struct metric {
	const char *name, *unit, *help;
	bool is_sum; /* since tally.since_ms; else a gauge */
} metrics[METRIC_MAX] = {
	[INFO] = {"pullet.container.info", "",
		  "Which version of its image a container has; always 1."},
	[CONTACT] = {"pullet.last_contact.timestamp", "s",
		     "When the last pass ended that did not fail."},
	[PASSES] = {"pullet.passes", "{pass}", "Checks of the registry, by their result.", true},
	[PASS_TIME] = {"pullet.pass.duration", "s", "How long the last pass took."},
	[UPDATE_TIME] = {"pullet.update.duration", "s",
			 "How long the last update or rollback took."},
	[DOWNTIME] = {"pullet.update.downtime", "s",
		      "How long the last one kept the container down."},
	[PULLED] = {"pullet.image.pulled", "By", "Bytes of images downloaded.", true},
	[DOWNLOAD] = {"pullet.download", "By", "Bytes of the download under way that have come."},
	[DOWNLOAD_TOTAL] = {"pullet.download.total", "By", "Bytes of the download under way."},
	[TRAFFIC] = {"pullet.traffic", "By", "Bytes that Pullet moved in this day and month."},
	[REJECTED] = {"pullet.rejected", "", "How many digests are rejected."},
	[HELD] = {"pullet.held", "", "Whether the operator holds updates back."},
	[SIGNATURE_SEQUENCE] = {"pullet.signature.sequence", "",
				"The number in the signature of the version that runs."},
	[SIGNATURE_EXPIRES] = {"pullet.signature.expires.timestamp", "s",
			       "When the signature of the version that runs expires."},
	[STATEMENT] = {"pullet.signature.statement.timestamp", "s",
		       "When the newest signature was first seen."},
};

static int64_t wall_time_ms(const struct report_device *d, uint64_t at_ms)
{
	return (int64_t)(d->wall_ms - d->now_ms + at_ms);
}

/* A Unix time in thousandths; -1: none. */
static int64_t time_or_none(int64_t s)
{
	return s > 0 ? s * 1000 : -1;
}

/* In thousandths where the unit is seconds. -1: there is none. outcome: of PASSES. */
static int64_t get_value(enum metric_id id, const struct report_device *d,
			 const struct report_container *c, enum outcome outcome)
{
	const struct tally *t = c->tally;
	const int64_t values[METRIC_MAX] = {
		[INFO] = 1,
		[CONTACT] = t->contact_ms && d->wall_ms ? wall_time_ms(d, t->contact_ms) : -1,
		[PASSES] = (int64_t)t->passes[outcome],
		[PASS_TIME] = t->pass_ms,
		[UPDATE_TIME] = t->update_ms,
		[DOWNTIME] = t->downtime_ms,
		[PULLED] = (int64_t)t->pulled,
		[DOWNLOAD] = c->download.of ? (int64_t)c->download.bytes : -1,
		[DOWNLOAD_TOTAL] = c->download.of ? (int64_t)c->download.of : -1,
		[REJECTED] = (int64_t)c->n_rejected,
		[HELD] = c->held,
		[SIGNATURE_SEQUENCE] = c->signature_seq ? (int64_t)c->signature_seq : -1,
		[SIGNATURE_EXPIRES] = time_or_none(c->signature_expires_s),
		[STATEMENT] = time_or_none(c->statement_s),
	};

	return values[id];
}

/* --- OTLP --- */

static void add_attribute(json_t *list, const char *name, const char *value)
{
	if (value && *value)
		json_append(list, json_pack("{s:s, s:{s:o}}", "key", name, "value", "stringValue",
					    json_string_lossy(value)));
}

/* 64 bits are text in protobuf's JSON. */
static json_t *make_number(int64_t n)
{
	return json_need(json_sprintf("%" PRId64, n));
}

static json_t *make_time(const struct report_device *d, uint64_t at_ms)
{
	return make_number(wall_time_ms(d, at_ms) * 1000000);
}

/* service.instance.id identifies the device; Prometheus makes its label `instance` of it. */
static json_t *make_resource(const struct report_device *d)
{
	json_t *attributes = json_need(json_array());

	add_attribute(attributes, "service.name", "pullet");
	add_attribute(attributes, "service.version", PULLET_VERSION);
	add_attribute(attributes, "service.instance.id", d->id);
	add_attribute(attributes, "host.id", d->id);
	add_attribute(attributes, "pullet.ring", d->ring);
	return json_need(json_pack("{s:o}", "attributes", attributes));
}

/* The frame around both: {"resourceX": [{"resource": .., "scopeX": [{"scope": .., key: list}]}]}. */
static json_t *wrap(const struct report_device *d, const char *resources, const char *scopes,
		    const char *key, json_t *list)
{
	return json_need(json_pack("{s:[{s:o, s:[{s:{s:s, s:s}, s:o}]}]}", resources, "resource",
				   make_resource(d), scopes, "scope", "name", "pullet", "version",
				   PULLET_VERSION, key, list));
}

/* outcome: the label pullet.result; OUTCOME_NONE: there is none. */
static void add_point(json_t *points, enum metric_id id, const struct report_device *d,
		      const struct report_container *c, enum outcome outcome)
{
	int64_t value = get_value(id, d, c, outcome);
	bool is_time = streq(metrics[id].unit, "s");
	json_t *attributes;

	if (value < 0)
		return;
	attributes = json_need(json_array());
	add_attribute(attributes, "container.name", c->name);
	if (id == INFO) {
		add_attribute(attributes, "container.image.name", c->image);
		add_attribute(attributes, "oci.manifest.digest", c->digest.text);
		add_attribute(attributes, "pullet.phase", c->phase);
		add_attribute(attributes, "pullet.image.version", c->version);
	}
	if (outcome != OUTCOME_NONE)
		add_attribute(attributes, "pullet.result", outcome_names[outcome]);
	json_append(
		points,
		json_pack("{s:o, s:o*, s:o, s:o}", "attributes", attributes, "startTimeUnixNano",
			  metrics[id].is_sum ? make_time(d, c->tally->since_ms) : NULL,
			  "timeUnixNano", make_time(d, d->now_ms), is_time ? "asDouble" : "asInt",
			  is_time ? json_real((double)value / 1000) : make_number(value)));
}

/* Those of the device. */
static void add_traffic(json_t *points, const struct report_device *d)
{
	static const char periods[][6] = {"day", "month"};

	for (size_t i = 0; d->traffic_known && i < ARRAY_SIZE(periods); i++) {
		json_t *attributes = json_need(json_array());

		add_attribute(attributes, "period", periods[i]);
		json_append(points, json_pack("{s:o, s:o, s:o}", "attributes", attributes,
					      "timeUnixNano", make_time(d, d->now_ms), "asInt",
					      make_number((int64_t)d->traffic[i])));
	}
}

static json_t *make_points(enum metric_id id, const struct report_device *d,
			   const struct report_container *containers, size_t n)
{
	json_t *points = json_need(json_array());

	if (id == TRAFFIC) {
		add_traffic(points, d);
		return points;
	}
	for (const struct report_container *c = containers; c < containers + n; c++) {
		for (unsigned int i = OUTCOME_UP_TO_DATE; id == PASSES && i < OUTCOME_MAX; i++)
			add_point(points, id, d, c, (enum outcome)i);
		if (id != PASSES)
			add_point(points, id, d, c, id == INFO ? c->tally->last : OUTCOME_NONE);
	}
	return points;
}

static json_t *make_metrics(const struct report_device *d,
			    const struct report_container *containers, size_t n)
{
	json_t *list = json_need(json_array());

	for (unsigned int id = 0; id < METRIC_MAX; id++) {
		const struct metric *m = &metrics[id];
		_cleanup_json_ json_t *points = make_points((enum metric_id)id, d, containers, n);

		if (json_array_size(points) == 0)
			continue;
		json_append(list, json_pack("{s:s, s:s, s:s, s:{s:O, s:o*, s:o*}}", "name", m->name,
					    "description", m->help, "unit", m->unit,
					    m->is_sum ? "sum" : "gauge", "dataPoints", points,
					    "aggregationTemporality",
					    m->is_sum ? json_need(json_integer(CUMULATIVE)) : NULL,
					    "isMonotonic", m->is_sum ? json_true() : NULL));
	}
	return list;
}

json_t *report_metrics(const struct report_device *d, const struct report_container *containers,
		       size_t n)
{
	return wrap(d, "resourceMetrics", "scopeMetrics", "metrics",
		    make_metrics(d, containers, n));
}

json_t *report_logs(const struct report_device *d, const struct report_event *events, size_t n)
{
	json_t *list = json_need(json_array());

	for (size_t i = 0; i < n; i++) {
		json_t *record = json_need(json_copy(events[i].record));

		json_put(record, "timeUnixNano", make_time(d, events[i].at_ms));
		json_put(record, "observedTimeUnixNano", make_time(d, events[i].at_ms));
		json_append(list, record);
	}
	return wrap(d, "resourceLogs", "scopeLogs", "logRecords", list);
}

/* Takes attributes over. */
static json_t *make_record(const char *name, bool bad, const char *text, json_t *attributes)
{
	return json_need(json_pack("{s:s, s:i, s:s, s:{s:o}, s:o}", "eventName", name,
				   "severityNumber", bad ? SEVERITY_ERROR : SEVERITY_INFO,
				   "severityText", bad ? "ERROR" : "INFO", "body", "stringValue",
				   json_string_lossy(text), "attributes", attributes));
}

json_t *report_phase(const char *container, const char *phase, const char *digest)
{
	_cleanup_free_ char *text = xasprintf("%s: %s %.19s", container, phase, digest);
	json_t *attributes = json_need(json_array());

	add_attribute(attributes, "container.name", container);
	add_attribute(attributes, "oci.manifest.digest", digest);
	add_attribute(attributes, "pullet.phase", phase);
	return make_record("pullet.phase", false, text, attributes);
}

json_t *report_result(const json_t *result)
{
	_cleanup_free_ char *text = result_text(result);
	json_t *attributes = json_need(json_array());

	add_attribute(attributes, "container.name", json_get_string(result, "container"));
	add_attribute(attributes, "container.image.name", json_get_string(result, "image"));
	add_attribute(attributes, "pullet.result", json_get_string(result, "result"));
	add_attribute(attributes, "pullet.digest.from", json_get_string(result, "from"));
	add_attribute(attributes, "pullet.digest.to", json_get_string(result, "to"));
	add_attribute(attributes, "pullet.reason", json_get_string(result, "reason"));
	return make_record("pullet.result", result_is_bad(result), text, attributes);
}

/* --- Prometheus' text, made of OTLP's metrics; names as Prometheus makes them of OTLP's --- */

/* Changes and returns name. */
static char *to_text_name(char *name)
{
	for (char *dot = name; (dot = strchr(dot, '.'));)
		*dot = '_';
	return name;
}

static void put_labels(FILE *f, const json_t *attributes)
{
	const json_t *a;
	size_t i;

	json_array_foreach (attributes, i, a) {
		_cleanup_free_ char *name = to_text_name(xstrdup(json_get_string(a, "key")));

		(void)fprintf(f, "%c%s=\"", i == 0 ? '{' : ',', name);
		for (const char *c = json_get_string(json_object_get(a, "value"), "stringValue");
		     *c; c++) {
			if (*c == '\\' || *c == '"')
				(void)fputc('\\', f);
			(void)fputc(*c, f);
		}
		(void)fputc('"', f);
	}
	(void)fputc('}', f);
}

static void put_metric(FILE *f, const json_t *metric)
{
	const char *unit = json_get_string(metric, "unit");
	const json_t *sum = json_object_get(metric, "sum"), *point;
	const json_t *data = sum ? sum : json_object_get(metric, "gauge");
	_cleanup_free_ char *name =
		to_text_name(xasprintf("%s%s%s", json_get_string(metric, "name"),
				       streq(unit, "s")	   ? "_seconds"
				       : streq(unit, "By") ? "_bytes"
							   : "",
				       sum ? "_total" : ""));
	size_t i;

	(void)fprintf(f, "# HELP %s %s\n# TYPE %s %s\n", name,
		      json_get_string(metric, "description"), name, sum ? "counter" : "gauge");
	json_array_foreach (json_object_get(data, "dataPoints"), i, point) {
		const json_t *seconds = json_object_get(point, "asDouble");

		(void)fputs(name, f);
		put_labels(f, json_object_get(point, "attributes"));
		if (seconds)
			(void)fprintf(f, " %.3f\n", json_real_value(seconds));
		else
			(void)fprintf(f, " %s\n", json_get_string(point, "asInt"));
	}
}

/* The same as the resource of OTLP. */
static json_t *make_agent_info(const struct report_device *d)
{
	json_t *attributes = json_need(json_array());

	add_attribute(attributes, "service.version", PULLET_VERSION);
	add_attribute(attributes, "host.id", d->id);
	add_attribute(attributes, "pullet.ring", d->ring);
	return json_pack("{s:s, s:s, s:s, s:{s:[{s:o, s:s}]}}", "name", "pullet.agent.info",
			 "description", "Which agent this is; always 1.", "unit", "", "gauge",
			 "dataPoints", "attributes", attributes, "asInt", "1");
}

char *report_text(const struct report_device *d, const struct report_container *containers,
		  size_t n)
{
	_cleanup_json_ json_t *list = make_metrics(d, containers, n);
	const json_t *metric;
	char *text = NULL;
	size_t len = 0, i;
	FILE *f = open_memstream(&text, &len);

	if (!f || json_array_insert_new(list, 0, make_agent_info(d)) < 0)
		abort();
	json_array_foreach (list, i, metric)
		put_metric(f, metric);
	if (fclose(f) < 0)
		abort();
	return text;
}
