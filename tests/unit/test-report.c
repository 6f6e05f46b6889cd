/* SPDX-License-Identifier: MIT */
#include "report.h"
#include "test.h"

#define D "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define E "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static const struct tally busy = {
	.since_ms = 1000,
	.contact_ms = 5250,
	.pulled = 9007199254740993, /* no double has it */
	.passes = {[OUTCOME_UP_TO_DATE] = 7, [OUTCOME_ROLLED_BACK] = 1},
	.last = OUTCOME_ROLLED_BACK,
	.pass_ms = 1500,
	.update_ms = 61003,
	.downtime_ms = 217,
};

static const struct report_container app = {.name = "app",
					    .image = "reg.example/app:stable",
					    .digest = {D},
					    .phase = "idle",
					    .n_rejected = 2,
					    .held = true,
					    .tally = &busy};

static const struct report_device device = {
	.id = "kiosk-7/\"a\"\\", .ring = "canary", .now_ms = 10000, .wall_ms = 1800000000000};

/* j is what text says, written by hand from OTLP's protocol. */
static void expect_json(json_t *j, const char *text)
{
	_cleanup_json_ json_t *mine = j, *wanted = json_loads(text, 0, NULL);

	assert_non_null(wanted);
	if (!json_equal(mine, wanted)) {
		_cleanup_free_ char *got = json_text(mine, JSON_INDENT(1));

		fail_msg("got %s\nwanted %s", got, text);
	}
}

#define ATTRIBUTE(key, value) "{\"key\":\"" key "\",\"value\":{\"stringValue\":\"" value "\"}}"
#define FRAME(resource, scope, key, list)                                                                                                                              \
	"{\"" resource                                                                                                                                                 \
	"\":[{\"resource\":{\"attributes\":[" ATTRIBUTE("service.name", "pullet") "," ATTRIBUTE("service.version", PULLET_VERSION) "," ATTRIBUTE(                      \
		"service.instance.id",                                                                                                                                 \
		"kiosk-7/\\\"a\\\"\\\\") "," ATTRIBUTE("host.id",                                                                                                      \
						       "kiosk-7/\\\"a\\\"\\\\") "," ATTRIBUTE("pu"                                                                     \
											      "ll"                                                                     \
											      "et"                                                                     \
											      ".r"                                                                     \
											      "in"                                                                     \
											      "g",                                                                     \
											      "ca"                                                                     \
											      "na"                                                                     \
											      "r"                                                                      \
											      "y") "]},\"" scope                                                       \
												   "\":[{\"scope\":{\"name\":\"pullet\",\"version\":\"" PULLET_VERSION \
												   "\"},\"" key                                                        \
												   "\":[" list                                                         \
												   "]}]}]}"

static json_t *find_metric(const json_t *body, const char *name)
{
	const json_t *scope = json_array_get(
		json_object_get(json_array_get(json_object_get(body, "resourceMetrics"), 0),
				"scopeMetrics"),
		0);
	size_t i;
	json_t *m;

	json_array_foreach (json_object_get(scope, "metrics"), i, m) {
		if (streq(json_get_string(m, "name"), name))
			return json_incref(m);
	}
	return NULL;
}

#define GAUGE(name, help, unit, attributes, value)                                           \
	"{\"name\":\"" name "\",\"description\":\"" help "\",\"unit\":\"" unit               \
	"\",\"gauge\":{\"dataPoints\":[{\"attributes\":[" ATTRIBUTE("container.name", "app") \
		attributes "],\"timeUnixNano\":\"1800000000000000000\"," value "}]}}"

static void test_gauges(void **state)
{
	static const struct {
		const char *name, *text;
	} rows[] = {
		{"pullet.container.info",
		 GAUGE("pullet.container.info",
		       "Which version of its image a container has; always 1.", "",
		       "," ATTRIBUTE("container.image.name", "reg.example/app:stable") "," ATTRIBUTE(
			       "oci.manifest.digest",
			       D) "," ATTRIBUTE("pullet.phase",
						"idle") "," ATTRIBUTE("pullet.result",
								      "rolled-back"),
		       "\"asInt\":\"1\"")},
		{"pullet.last_contact.timestamp",
		 GAUGE("pullet.last_contact.timestamp",
		       "When the last pass ended that did not fail.", "s", "",
		       "\"asDouble\":1799999995.25")},
		{"pullet.pass.duration",
		 GAUGE("pullet.pass.duration", "How long the last pass took.", "s", "",
		       "\"asDouble\":1.5")},
		{"pullet.update.duration",
		 GAUGE("pullet.update.duration", "How long the last update or rollback took.", "s",
		       "", "\"asDouble\":61.003")},
		{"pullet.update.downtime",
		 GAUGE("pullet.update.downtime", "How long the last one kept the container down.",
		       "s", "", "\"asDouble\":0.217")},
		{"pullet.rejected", GAUGE("pullet.rejected", "How many digests are rejected.", "",
					  "", "\"asInt\":\"2\"")},
		{"pullet.held", GAUGE("pullet.held", "Whether the operator holds updates back.", "",
				      "", "\"asInt\":\"1\"")},
		{"pullet.signature.sequence",
		 GAUGE("pullet.signature.sequence",
		       "The number in the signature of the version that runs.", "", "",
		       "\"asInt\":\"9007199254740993\"")},
		{"pullet.signature.expires.timestamp",
		 GAUGE("pullet.signature.expires.timestamp",
		       "When the signature of the version that runs expires.", "s", "",
		       "\"asDouble\":1830000000.0")},
		{"pullet.signature.statement.timestamp",
		 GAUGE("pullet.signature.statement.timestamp",
		       "When the newest signature was first seen.", "s", "",
		       "\"asDouble\":1799999999.0")},
	};
	struct report_container c = app;
	_cleanup_json_ json_t *body = NULL;

	c.signature_seq = 9007199254740993;
	c.signature_expires_s = 1830000000;
	c.statement_s = 1799999999;
	body = report_metrics(&device, &c, 1);

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		expect_json(find_metric(body, rows[i].name), rows[i].text);
}

/* startTimeUnixNano: nine seconds before. */
static void test_sums(void **state)
{
	_cleanup_json_ json_t *body = report_metrics(&device, &app, 1);
	_cleanup_json_ json_t *passes = find_metric(body, "pullet.passes");
	const json_t *points = json_get_path(passes, "sum", "dataPoints", NULL);
	static const char *const counts[] = {"7", "0", "1", "0", "0", "0"};

	expect_json(
		find_metric(body, "pullet.image.pulled"),
		"{\"name\":\"pullet.image.pulled\",\"description\":"
		"\"Bytes of images downloaded.\",\"unit\":\"By\","
		"\"sum\":{\"aggregationTemporality\":2,\"isMonotonic\":true,\"dataPoints\":"
		"[{\"attributes\":[" ATTRIBUTE(
			"container.name", "app") "],"
						 "\"startTimeUnixNano\":\"1799999991000000000\","
						 "\"timeUnixNano\":\"1800000000000000000\","
						 "\"asInt\":\"9007199254740993\"}]}}");
	assert_int_equal(json_array_size(points), ARRAY_SIZE(counts));
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
		assert_string_equal(json_get_string(json_array_get(points, i), "asInt"), counts[i]);
}

static void test_downloads(void **state)
{
	struct report_container c = app;
	struct report_device d = device;
	_cleanup_free_ char *text = NULL;
	static const char *const lines[] = {
		"\npullet_download_bytes{container_name=\"app\"} 41\n",
		"\npullet_download_total_bytes{container_name=\"app\"} 100\n",
		"\npullet_traffic_bytes{period=\"day\"} 7\npullet_traffic_bytes{period=\"month\"} "
		"9\n",
		"# TYPE pullet_traffic_bytes gauge\n",
	};

	c.download = (struct download_state){.bytes = 41, .of = 100};
	d.traffic_known = true;
	d.traffic[0] = 7;
	d.traffic[1] = 9;
	text = report_text(&d, &c, 1);
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		assert_non_null(strstr(text, lines[i]));
}

/* What never was is not told. */
static void test_a_device_without_history(void **state)
{
	struct tally fresh;
	const struct report_container c = {.name = "app", .image = "a", .tally = &fresh};
	const struct report_device d = {.id = "", .now_ms = 10000, .wall_ms = 1800000000000};
	static const char *const absent[] = {"pullet.last_contact.timestamp",
					     "pullet.pass.duration",
					     "pullet.update.duration",
					     "pullet.update.downtime",
					     "pullet.download",
					     "pullet.traffic",
					     "pullet.signature"};
	_cleanup_json_ json_t *body = NULL, *empty = NULL;
	_cleanup_free_ char *text = NULL;

	tally_init(&fresh, 10000);
	body = report_metrics(&d, &c, 1);
	text = json_text(body, 0);
	for (size_t i = 0; i < ARRAY_SIZE(absent); i++)
		assert_null(strstr(text, absent[i]));
	assert_non_null(strstr(text, "pullet.image.pulled"));
	assert_null(strstr(text, "host.id"));
	assert_null(strstr(text, "oci.manifest.digest"));
	empty = report_metrics(&d, NULL, 0);
	expect_json(
		json_incref(empty),
		"{\"resourceMetrics\":[{\"resource\":{\"attributes\":[" ATTRIBUTE(
			"service.name",
			"pullet") "," ATTRIBUTE("service.version",
						PULLET_VERSION) "]},\"scopeMetrics\":[{\"scope\":{"
								"\"name\":\"pullet\",\"version\":"
								"\"" PULLET_VERSION
								"\"},\"metrics\":[]}]}]}");
}

static json_t *result_of(const char *text)
{
	return json_loads(text, 0, NULL);
}

#define RECORD(at, name, number, severity, body, attributes)                                     \
	"{\"eventName\":\"" name "\",\"severityNumber\":" number ",\"severityText\":\"" severity \
	"\",\"body\":{\"stringValue\":\"" body "\"},\"attributes\":[" attributes                 \
	"],\"timeUnixNano\":\"" at "\",\"observedTimeUnixNano\":\"" at "\"}"

static void test_events(void **state)
{
	_cleanup_json_ json_t *result = result_of(
		"{\"container\":\"app\",\"image\":\"a:1\",\"result\":\"rolled-back\",\"from\":\"" D
		"\",\"to\":\"" E "\",\"reason\":\"it said \\\"no\\\"\",\"downtime_ms\":9}");
	struct report_event events[] = {
		{1000, report_phase("app", "trial", E)},
		{9999, report_result(result)},
	};

	expect_json(
		report_logs(&device, events, 2),
		FRAME("resourceLogs", "scopeLogs", "logRecords",
		      RECORD("1799999991000000000", "pullet.phase", "9", "INFO",
			     "app: trial sha256:bbbbbbbbbbbb",
			     ATTRIBUTE("container.name", "app") "," ATTRIBUTE("oci.manifest.digest", E) "," ATTRIBUTE(
				     "pullet.phase",
				     "trial")) "," RECORD("1799999999999000000", "pullet.result",
							  "17", "ERROR",
							  "app: rolled-back sha256:aaaaaaaaaaaa -> "
							  "sha256:bbbbbbbbbbbb "
							  "(down 9 ms): it said \\\"no\\\"",
							  ATTRIBUTE("container.name", "app") "," ATTRIBUTE("container.image.name", "a:1") "," ATTRIBUTE(
								  "pullet.result",
								  "rolled-back") "," ATTRIBUTE("pul"
											       "let"
											       ".di"
											       "ges"
											       "t."
											       "fro"
											       "m",
											       D) "," ATTRIBUTE("pullet.digest.to",
														E) "," ATTRIBUTE("pullet.reason",
																 "it said \\\"no\\\""))));
	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		json_decref(events[i].record);
}

static void test_text(void **state)
{
	_cleanup_free_ char *text = report_text(&device, &app, 1);

	assert_string_equal(
		text,
		"# HELP pullet_agent_info Which agent this is; always 1.\n"
		"# TYPE pullet_agent_info gauge\n"
		"pullet_agent_info{service_version=\"" PULLET_VERSION
		"\",host_id=\"kiosk-7/\\\"a\\\"\\\\\",pullet_ring=\"canary\"} 1\n"
		"# HELP pullet_container_info Which version of its image a container has; always "
		"1.\n"
		"# TYPE pullet_container_info gauge\n"
		"pullet_container_info{container_name=\"app\",container_image_name="
		"\"reg.example/app:stable\",oci_manifest_digest=\"" D
		"\",pullet_phase=\"idle\",pullet_result=\"rolled-back\"} 1\n"
		"# HELP pullet_last_contact_timestamp_seconds When the last pass ended that did "
		"not fail.\n"
		"# TYPE pullet_last_contact_timestamp_seconds gauge\n"
		"pullet_last_contact_timestamp_seconds{container_name=\"app\"} 1799999995.250\n"
		"# HELP pullet_passes_total Checks of the registry, by their result.\n"
		"# TYPE pullet_passes_total counter\n"
		"pullet_passes_total{container_name=\"app\",pullet_result=\"up-to-date\"} 7\n"
		"pullet_passes_total{container_name=\"app\",pullet_result=\"updated\"} 0\n"
		"pullet_passes_total{container_name=\"app\",pullet_result=\"rolled-back\"} 1\n"
		"pullet_passes_total{container_name=\"app\",pullet_result=\"deferred\"} 0\n"
		"pullet_passes_total{container_name=\"app\",pullet_result=\"refused\"} 0\n"
		"pullet_passes_total{container_name=\"app\",pullet_result=\"failed\"} 0\n"
		"# HELP pullet_pass_duration_seconds How long the last pass took.\n"
		"# TYPE pullet_pass_duration_seconds gauge\n"
		"pullet_pass_duration_seconds{container_name=\"app\"} 1.500\n"
		"# HELP pullet_update_duration_seconds How long the last update or rollback took.\n"
		"# TYPE pullet_update_duration_seconds gauge\n"
		"pullet_update_duration_seconds{container_name=\"app\"} 61.003\n"
		"# HELP pullet_update_downtime_seconds How long the last one kept the container "
		"down.\n"
		"# TYPE pullet_update_downtime_seconds gauge\n"
		"pullet_update_downtime_seconds{container_name=\"app\"} 0.217\n"
		"# HELP pullet_image_pulled_bytes_total Bytes of images downloaded.\n"
		"# TYPE pullet_image_pulled_bytes_total counter\n"
		"pullet_image_pulled_bytes_total{container_name=\"app\"} 9007199254740993\n"
		"# HELP pullet_rejected How many digests are rejected.\n"
		"# TYPE pullet_rejected gauge\n"
		"pullet_rejected{container_name=\"app\"} 2\n"
		"# HELP pullet_held Whether the operator holds updates back.\n"
		"# TYPE pullet_held gauge\n"
		"pullet_held{container_name=\"app\"} 1\n");
}

/* A scrape has a time of its own; only what is a time itself has to wait. */
static void test_text_while_the_clock_is_not_set(void **state)
{
	struct report_device d = device;
	_cleanup_free_ char *text = NULL;

	d.wall_ms = 0;
	text = report_text(&d, &app, 1);
	assert_null(strstr(text, "timestamp"));
	assert_non_null(
		strstr(text, "pullet_update_downtime_seconds{container_name=\"app\"} 0.217"));
}

static void test_tally(void **state)
{
	static const struct {
		const char *result;
		enum outcome outcome;
		uint64_t contact_ms;
		int64_t update_ms, downtime_ms;
	} rows[] = {
		{"{\"result\":\"failed\",\"downtime_ms\":null}", OUTCOME_FAILED, 0, -1, -1},
		{"{\"result\":\"up-to-date\"}", OUTCOME_UP_TO_DATE, 200, -1, -1},
		{"{\"result\":\"updated\",\"downtime_ms\":12}", OUTCOME_UPDATED, 300, 30, 12},
		{"{\"result\":\"refused\"}", OUTCOME_REFUSED, 400, 30, 12},
		{"{\"result\":\"rolled-back\",\"downtime_ms\":0}", OUTCOME_ROLLED_BACK, 500, 50, 0},
		{"{\"result\":\"failed\"}", OUTCOME_FAILED, 500, 50, 0},
		{"{\"result\":\"of a newer version\"}", OUTCOME_NONE, 700, 50, 0},
	};
	struct tally t;

	tally_init(&t, 1);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_json_ json_t *result = result_of(rows[i].result);
		uint64_t n = i + 1;

		tally_result(&t, result, 100 * n, 10 * n);
		assert_true(t.last == rows[i].outcome && t.contact_ms == rows[i].contact_ms);
		assert_true(t.pass_ms == (int64_t)(10 * n));
		assert_true(t.update_ms == rows[i].update_ms);
		assert_true(t.downtime_ms == rows[i].downtime_ms);
	}
	assert_true(t.passes[OUTCOME_FAILED] == 2 && t.passes[OUTCOME_UPDATED] == 1);
	tally_bytes(&t, 0, 100);
	tally_bytes(&t, 100, 250);
	tally_bytes(&t, 250, 40); /* it began anew */
	assert_true(t.pulled == 290);
}

/* What is no UTF-8 ends nothing. */
static void test_foreign_bytes(void **state)
{
	struct report_event e = {10000, report_phase("app\xff", "trial", "\xc3")};
	_cleanup_json_ json_t *logs = report_logs(&device, &e, 1);
	_cleanup_free_ char *text = json_text(logs, 0);

	assert_non_null(strstr(text, "\"pullet.phase\""));
	json_decref(e.record);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gauges),
		cmocka_unit_test(test_sums),
		cmocka_unit_test(test_downloads),
		cmocka_unit_test(test_a_device_without_history),
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_text_while_the_clock_is_not_set),
		cmocka_unit_test(test_tally),
		cmocka_unit_test(test_foreign_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
