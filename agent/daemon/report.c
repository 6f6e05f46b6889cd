/* SPDX-License-Identifier: MIT */
#include "report.h"

#include <inttypes.h>
#include <stdio.h>

#include "json-build.h"

#define LABELS_MAX     6
#define SEVERITY_INFO  9 /* OTLP's numbers */
#define SEVERITY_ERROR 17

struct label {
	const char *name, *value;
};

struct point {
	int64_t value; /* in thousandths where the unit is seconds */
	struct label labels[LABELS_MAX];
	size_t n_labels;
};

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

static void add_label(struct point *p, const char *name, const char *value)
{
	if (value && *value)
		p->labels[p->n_labels++] = (struct label){name, value};
}

enum kind {
	KIND_GAUGE,
	KIND_TIME, /* a gauge: point in time */
	KIND_SUM,  /* since tally.since_ms */
};

/* **A new metric is a row here**, a case below, and a row in pullet.conf(5). */
static const struct metric {
	const char *name, *unit, *help;
	enum kind kind;
	enum {
		INFO,
		CONTACT,
		PASSES,
		PASS_TIME,
		UPDATE_TIME,
		DOWNTIME,
		PULLED,
		REJECTED,
		HELD
	} value;
} metrics[] = {
	{"pullet.container.info", "", "Which version of its image a container has; always 1.",
	 KIND_GAUGE, INFO},
	{"pullet.last_contact.timestamp", "s", "When the last pass ended that did not fail.",
	 KIND_TIME, CONTACT},
	{"pullet.passes", "{pass}", "Checks of the registry, by their result.", KIND_SUM, PASSES},
	{"pullet.pass.duration", "s", "How long the last pass took.", KIND_GAUGE, PASS_TIME},
	{"pullet.update.duration", "s", "How long the last update or rollback took.", KIND_GAUGE,
	 UPDATE_TIME},
	{"pullet.update.downtime", "s", "How long the last one kept the container down.",
	 KIND_GAUGE, DOWNTIME},
	{"pullet.image.pulled", "By", "Bytes of images downloaded.", KIND_SUM, PULLED},
	{"pullet.rejected", "", "How many digests are rejected.", KIND_GAUGE, REJECTED},
	{"pullet.held", "", "Whether the operator holds updates back.", KIND_GAUGE, HELD},
};

/* -1: there is none. outcome: of PASSES. */
static int64_t get_value(const struct metric *m, const struct report_container *c,
			 enum outcome outcome)
{
	const struct tally *t = c->tally;

	switch (m->value) {
	case INFO:
		return 1;
	case CONTACT:
		return t->contact_ms ? (int64_t)t->contact_ms : -1;
	case PASSES:
		return (int64_t)t->passes[outcome];
	case PASS_TIME:
		return t->pass_ms;
	case UPDATE_TIME:
		return t->update_ms;
	case DOWNTIME:
		return t->downtime_ms;
	case PULLED:
		return (int64_t)t->pulled;
	case REJECTED:
		return (int64_t)c->n_rejected;
	case HELD:
		return c->held;
	}
	return -1;
}

/* The ith point of a container; false: there are no more. Only PASSES has several, one for each outcome. */
static bool get_point(const struct metric *m, const struct report_device *d,
		      const struct report_container *c, size_t i, struct point *ret)
{
	enum outcome outcome = (enum outcome)(OUTCOME_UP_TO_DATE + i);

	if (m->value == PASSES ? outcome >= OUTCOME_MAX : i > 0)
		return false;
	*ret = (struct point){.value = get_value(m, c, outcome)};
	add_label(ret, "container.name", c->name);
	if (m->value == INFO) {
		add_label(ret, "container.image.name", c->image);
		add_label(ret, "oci.manifest.digest", c->digest);
		add_label(ret, "pullet.phase", c->phase);
		if (c->tally->last != OUTCOME_NONE)
			add_label(ret, "pullet.result", outcome_name(c->tally->last));
	} else if (m->value == PASSES) {
		add_label(ret, "pullet.result", outcome_name(outcome));
	}
	if (ret->value < 0 || (m->kind == KIND_TIME && d->wall_ms == 0))
		return false;
	if (m->kind == KIND_TIME)
		ret->value += (int64_t)(d->wall_ms - d->now_ms);
	return true;
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
	char text[24];

	(void)snprintf(text, sizeof(text), "%" PRId64, n);
	return json_string(text);
}

static json_t *make_time(const struct report_device *d, uint64_t at_ms)
{
	return make_number((int64_t)(d->wall_ms - d->now_ms + at_ms) * 1000000);
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

static json_t *make_point(const struct metric *m, const struct report_device *d,
			  const struct report_container *c, const struct point *p)
{
	json_t *attributes = json_need(json_array()), *j;

	for (size_t i = 0; i < p->n_labels; i++)
		add_attribute(attributes, p->labels[i].name, p->labels[i].value);
	j = json_need(json_pack("{s:o}", "attributes", attributes));
	if (m->kind == KIND_SUM)
		json_put(j, "startTimeUnixNano", make_time(d, c->tally->since_ms));
	json_put(j, "timeUnixNano", make_time(d, d->now_ms));
	if (streq(m->unit, "s"))
		json_put(j, "asDouble", json_real((double)p->value / 1000));
	else
		json_put(j, "asInt", make_number(p->value));
	return j;
}

static json_t *make_metric(const struct metric *m, const struct report_device *d,
			   const struct report_container *containers, size_t n)
{
	json_t *points = json_need(json_array()), *data;
	struct point p;

	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; get_point(m, d, &containers[i], k, &p); k++)
			json_append(points, make_point(m, d, &containers[i], &p));
	}
	data = json_need(json_pack("{s:o}", "dataPoints", points));
	if (m->kind == KIND_SUM) {
		json_put(data, "aggregationTemporality", json_integer(2)); /* cumulative */
		json_put(data, "isMonotonic", json_true());
	}
	return json_pack("{s:s, s:s, s:s, s:o}", "name", m->name, "description", m->help, "unit",
			 m->unit, m->kind == KIND_SUM ? "sum" : "gauge", data);
}

json_t *report_metrics(const struct report_device *d, const struct report_container *containers,
		       size_t n)
{
	json_t *list = json_need(json_array());

	for (size_t i = 0; i < ARRAY_SIZE(metrics); i++) {
		json_t *m = json_need(make_metric(&metrics[i], d, containers, n));

		if (json_array_size(json_get_path(m, metrics[i].kind == KIND_SUM ? "sum" : "gauge",
						  "dataPoints", NULL)) > 0)
			json_append(list, json_incref(m));
		json_decref(m);
	}
	return wrap(d, "resourceMetrics", "scopeMetrics", "metrics", list);
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

/* --- Prometheus' text; names as Prometheus makes them of OTLP's --- */

static void put_name(FILE *f, const char *name)
{
	for (; *name; name++)
		(void)fputc(*name == '.' ? '_' : *name, f);
}

static void put_metric_name(FILE *f, const struct metric *m)
{
	put_name(f, m->name);
	(void)fprintf(f, "%s%s",
		      streq(m->unit, "s")    ? "_seconds"
		      : streq(m->unit, "By") ? "_bytes"
					     : "",
		      m->kind == KIND_SUM ? "_total" : "");
}

static void put_labels(FILE *f, const struct label *labels, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		(void)fputc(i == 0 ? '{' : ',', f);
		put_name(f, labels[i].name);
		(void)fputs("=\"", f);
		for (const char *c = labels[i].value; *c; c++) {
			if (*c == '\\' || *c == '"')
				(void)fputc('\\', f);
			(void)fputc(*c, f);
		}
		(void)fputc('"', f);
	}
	(void)fputc('}', f);
}

/* first: of the metric, which gets its head. */
static void put_point(FILE *f, const struct metric *m, const struct point *p, bool first)
{
	if (first) {
		(void)fputs("# HELP ", f);
		put_metric_name(f, m);
		(void)fprintf(f, " %s\n# TYPE ", m->help);
		put_metric_name(f, m);
		(void)fputs(m->kind == KIND_SUM ? " counter\n" : " gauge\n", f);
	}
	put_metric_name(f, m);
	put_labels(f, p->labels, p->n_labels);
	if (streq(m->unit, "s"))
		(void)fprintf(f, " %" PRId64 ".%03" PRId64 "\n", p->value / 1000, p->value % 1000);
	else
		(void)fprintf(f, " %" PRId64 "\n", p->value);
}

static void put_metric(FILE *f, const struct metric *m, const struct report_device *d,
		       const struct report_container *containers, size_t n)
{
	bool first = true;
	struct point p;

	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; get_point(m, d, &containers[i], k, &p); k++) {
			put_point(f, m, &p, first);
			first = false;
		}
	}
}

/* The same as the resource of OTLP. */
static void put_device(FILE *f, const struct report_device *d)
{
	static const struct metric m = {"pullet.agent.info", "", "Which agent this is; always 1.",
					KIND_GAUGE, INFO};
	struct point p = {.value = 1};

	add_label(&p, "service.version", PULLET_VERSION);
	add_label(&p, "host.id", d->id);
	add_label(&p, "pullet.ring", d->ring);
	put_point(f, &m, &p, true);
}

char *report_text(const struct report_device *d, const struct report_container *containers,
		  size_t n)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		abort();
	put_device(f, d);
	for (size_t i = 0; i < ARRAY_SIZE(metrics); i++)
		put_metric(f, &metrics[i], d, containers, n);
	if (fclose(f) < 0)
		abort();
	return text;
}
