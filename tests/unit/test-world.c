/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "engine.h"
#include "ref.h"
#include "test.h"
#include "world.h"

#define ID     "3f4e9c8b7a6d5e4f3c2b1a0918273645546372819a0b1c2d3e4f5a6b7c8d9e0f"
#define IMAGE  "sha256:d715f14f9eca81473d9112df50457893aa4d099adeb4729f679006bf5ea12407"
#define TARGET "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define SECOND ((int64_t)1000000000)
#define T      ((int64_t)1714557600 * SECOND) /* 2024-05-01T10:00:00Z */

/* As dockerd 20 to 28 answer, less what nobody here reads. */
static const char docker[] =
	"{\"Id\":\"" ID "\",\"Created\":\"2024-05-01T09:59:58.123456789Z\",\"Path\":\"/hello\","
	"\"Args\":[],\"State\":{\"Status\":\"running\",\"Running\":true,\"Paused\":false,"
	"\"Restarting\":false,\"OOMKilled\":false,\"Dead\":false,\"Pid\":4711,\"ExitCode\":0,"
	"\"Error\":\"\",\"StartedAt\":\"2024-05-01T10:00:00.000000001Z\","
	"\"FinishedAt\":\"0001-01-01T00:00:00Z\"},\"Image\":\"" IMAGE "\",\"Name\":\"/hello\","
	"\"RestartCount\":0,\"Driver\":\"overlay2\",\"Platform\":\"linux\","
	"\"HostConfig\":{\"NetworkMode\":\"bridge\",\"RestartPolicy\":{\"Name\":\"always\","
	"\"MaximumRetryCount\":0},\"AutoRemove\":false},"
	"\"Config\":{\"Hostname\":\"3f4e9c8b7a6d\",\"Image\":\"reg/hello:stable\",\"Labels\":{}}}";

/* As podman 4 answers on its Docker API: no slash, an offset, its own words for states. */
static const char podman[] =
	"{\"Id\":\"" ID "\",\"Created\":\"2024-05-01T09:59:58.123456789Z\",\"Path\":\"/hello\","
	"\"Args\":[],\"State\":{\"Status\":\"running\",\"Running\":true,\"Paused\":false,"
	"\"Restarting\":false,\"OOMKilled\":false,\"Dead\":false,\"Pid\":4711,\"ExitCode\":0,"
	"\"Error\":\"\",\"StartedAt\":\"2024-05-01T12:00:00.000000001+02:00\","
	"\"FinishedAt\":\"0001-01-01T00:00:00Z\",\"Health\":{\"Status\":\"\",\"FailingStreak\":0,"
	"\"Log\":null}},\"Image\":\"" IMAGE "\",\"Name\":\"hello\",\"RestartCount\":0,"
	"\"HostConfig\":{\"RestartPolicy\":{\"Name\":\"always\",\"MaximumRetryCount\":0}},"
	"\"Config\":{\"Image\":\"reg/hello:stable\",\"Labels\":null}}";

/* Puts the members of each object in patch over those of base, downwards. */
static void merge(json_t *base, json_t *patch)
{
	const char *key;
	json_t *value;

	json_object_foreach (patch, key, value) {
		json_t *below = json_object_get(base, key);

		if (json_is_object(below) && json_is_object(value))
			merge(below, value);
		else
			json_object_set(base, key, value);
	}
}

/* patch: with ' for ". Caller owns it. */
static json_t *inspect_of(const char *base, const char *patch)
{
	_cleanup_free_ char *text = xstrdup(patch);
	_cleanup_json_ json_t *p = NULL;
	json_t *j = json_loads(base, 0, NULL);

	for (char *c = text; *c; c++) {
		if (*c == '\'')
			*c = '"';
	}
	p = json_loads(text, 0, NULL);
	assert_true(j && p);
	merge(j, p);
	return j;
}

static struct container_view read_view(const char *base, const char *patch)
{
	_cleanup_json_ json_t *j = inspect_of(base, patch);
	struct container_view v;
	struct error e = {0};

	memset(&v, 0xaa, sizeof(v));
	if (world_read_container(j, &v, &e) < 0)
		fail_msg("%s: %s", patch, e.text);
	return v;
}

static void test_whole(void **state)
{
	const char *const bases[] = {docker, podman};

	for (size_t i = 0; i < ARRAY_SIZE(bases); i++) {
		struct container_view v = read_view(bases[i], "{}");

		assert_string_equal(v.id, ID);
		assert_string_equal(v.image, IMAGE);
		assert_string_equal(v.policy, "always");
		assert_string_equal(v.error, "");
		assert_true(v.state == STATE_RUNNING && v.health == CONTAINER_HEALTH_NONE);
		assert_true(v.exit_code == 0 && v.started_ns == T + 1 && v.finished_ns == 0);
		assert_false(digest_is_set(&v.target) || v.final_policy[0]);
		assert_true(view_exists(&v) && view_is_up(&v));
	}
}

#define STOPPED "'Running':false,'FinishedAt':'2024-05-01T10:00:05Z'"

static void test_states(void **state)
{
	static const struct {
		const char *state;
		enum container_state expected;
		bool up;
	} rows[] = {
		{"{'Status':'running'}", STATE_RUNNING, true},
		{"{'Status':'paused','Paused':true}", STATE_PAUSED, true},
		{"{'Status':'restarting','Restarting':true}", STATE_RESTARTING, true},
		{"{'Status':'restarting','Restarting':true,'Running':false}", STATE_RESTARTING,
		 true},
		{"{'Status':'exited'," STOPPED "}", STATE_EXITED, false},
		{"{'Status':'dead','Dead':true," STOPPED "}", STATE_REMOVING, false},
		{"{'Status':'removing'," STOPPED "}", STATE_REMOVING, false},
		{"{'Status':'removing','Running':false,'StartedAt':'0001-01-01T00:00:00Z'}",
		 STATE_REMOVING, false},
		{"{'Status':'created','Running':false,'Dead':true,'StartedAt':"
		 "'0001-01-01T00:00:00Z'}",
		 STATE_REMOVING, false},
		{"{'Status':'created','Running':false,'StartedAt':'0001-01-01T00:00:00Z'}",
		 STATE_CREATED, false},
		/* podman's words */
		{"{'Status':'configured','Running':false,'StartedAt':'0001-01-01T00:00:00Z'}",
		 STATE_CREATED, false},
		{"{'Status':'initialized','Running':false,'StartedAt':'0001-01-01T00:00:00Z'}",
		 STATE_CREATED, false},
		{"{'Status':'stopped'," STOPPED "}", STATE_EXITED, false},
		/* never started, for a failure: docker says created, podman may say exited */
		{"{'Status':'exited','Running':false,'StartedAt':null,'ExitCode':127}",
		 STATE_CREATED, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *patch = xasprintf("{'State':%s}", rows[i].state);
		struct container_view v = read_view(i % 2 ? docker : podman, patch);

		if (v.state != rows[i].expected || view_is_up(&v) != rows[i].up)
			fail_msg("%s: %d", rows[i].state, v.state);
	}
}

static void test_details(void **state)
{
	struct container_view v;

	v = read_view(docker, "{'State':{'Status':'exited'," STOPPED ",'ExitCode':137,"
			      "'Error':'runc: \\n caf\303\251'}}");
	assert_true(v.exit_code == 137 && v.finished_ns == T + 5 * SECOND);
	assert_string_equal(v.error, "runc: ? caf\xc3\xa9"); /* it goes to journals and terminals */
	v = read_view(docker, "{'Config':{'Labels':{'pullet.target':'" TARGET
			      "','pullet.policy':'unless-stopped'}}}");
	assert_string_equal(v.target.text, TARGET);
	assert_string_equal(v.final_policy, "unless-stopped");
	v = read_view(docker, "{'Config':{'Labels':{'pullet.target':'stable',"
			      "'pullet.policy':'always'}}}");
	assert_false(digest_is_set(&v.target) || v.final_policy[0]);
}

static void test_policies(void **state)
{
	static const char *const rows[][2] = {
		{"{'Name':'no','MaximumRetryCount':0}", "no"},
		{"{'Name':'','MaximumRetryCount':0}", "no"},
		{"null", "no"},
		{"{'Name':'always'}", "always"},
		{"{'Name':'unless-stopped'}", "unless-stopped"},
		{"{'Name':'on-failure','MaximumRetryCount':0}", "on-failure"},
		{"{'Name':'on-failure','MaximumRetryCount':2147483647}", "on-failure:2147483647"},
		{"{'Name':'on-failure','MaximumRetryCount':2147483648}", ""},
		{"{'Name':'sometimes'}", ""},
		{"{'Name':1}", ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *patch =
			xasprintf("{'HostConfig':{'RestartPolicy':%s}}", rows[i][0]);

		assert_string_equal(read_view(docker, patch).policy, rows[i][1]);
	}
}

static void test_healths(void **state)
{
	static const struct {
		const char *patch;
		enum container_health health;
	} rows[] = {
		{"{'State':{'Health':{'Status':'starting'}}}", CONTAINER_HEALTH_STARTING},
		{"{'State':{'Health':{'Status':'healthy'}}}", CONTAINER_HEALTH_HEALTHY},
		{"{'State':{'Health':{'Status':'unhealthy'}}}", CONTAINER_HEALTH_UNHEALTHY},
		{"{'State':{'Health':{'Status':'none'}}}", CONTAINER_HEALTH_NONE},
		{"{'State':{'Health':null}}", CONTAINER_HEALTH_NONE},
		{"{'Config':{'Healthcheck':{'Test':['CMD','x']}}}", CONTAINER_HEALTH_STARTING},
		{"{'Config':{'Healthcheck':{'Test':['CMD-SHELL','x']}},"
		 "'State':{'Health':{'Status':'healthy'}}}",
		 CONTAINER_HEALTH_HEALTHY},
		{"{'Config':{'Healthcheck':{'Test':['NONE']}}}", CONTAINER_HEALTH_NONE},
		{"{'Config':{'Healthcheck':{'Test':['NONE','CMD']}}}", CONTAINER_HEALTH_NONE},
		{"{'Config':{'Healthcheck':{'Test':[]}}}", CONTAINER_HEALTH_NONE},
		{"{'Config':{'Healthcheck':{'Test':null}}}", CONTAINER_HEALTH_NONE},
		{"{'Config':{'Healthcheck':{'Test':[1]}}}", CONTAINER_HEALTH_NONE},
		/* moby, daemon/health.go: there is no check of another kind */
		{"{'Config':{'Healthcheck':{'Test':['']}}}", CONTAINER_HEALTH_NONE},
		{"{'Config':{'Healthcheck':{'Test':['curl','x']}}}", CONTAINER_HEALTH_NONE},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (read_view(docker, rows[i].patch).health != rows[i].health)
			fail_msg("%s", rows[i].patch);
		assert_int_equal(read_view(podman, rows[i].patch).health, rows[i].health);
	}
}

static void test_checks(void **state)
{
	static const struct {
		const char *check;
		struct health_check expected;
	} rows[] = {
		{"null", {0, 5000, 30000, 30000, 3, false}},
		{"{'Test':['CMD','x']}", {0, 5000, 30000, 30000, 3, false}},
		{"{'Interval':0,'Timeout':0,'StartPeriod':0,'Retries':0}",
		 {0, 5000, 30000, 30000, 3, false}},
		{"{'Interval':-1,'Timeout':-1,'StartPeriod':-1,'Retries':-1,'StartInterval':-1}",
		 {0, 5000, 30000, 30000, 3, false}},
		{"{'Interval':1000000,'Timeout':1,'StartPeriod':2000001,'Retries':7,"
		 "'StartInterval':60000000000}",
		 {3, 60000, 1, 1, 7, false}},
		{"{'Interval':9223372036854775807,'Timeout':1e30,'StartPeriod':'1s'}",
		 {0, 5000, 9223372036855, 30000, 3, false}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *patch =
			xasprintf("{'Config':{'Healthcheck':%s}}", rows[i].check);
		struct health_check got = read_view(docker, patch).check, want = rows[i].expected;

		if (got.start_period_ms != want.start_period_ms ||
		    got.start_interval_ms != want.start_interval_ms ||
		    got.interval_ms != want.interval_ms || got.timeout_ms != want.timeout_ms ||
		    got.retries != want.retries || got.has_ended)
			fail_msg("%s", rows[i].check);
	}
	assert_true(read_view(docker, "{'State':{'Health':{'Log':[{}]}}}").check.has_ended);
	assert_false(read_view(docker, "{'State':{'Health':{'Log':[]}}}").check.has_ended);
	assert_false(read_view(docker, "{'State':{'Health':{'Log':null}}}").check.has_ended);
}

static void test_times(void **state)
{
	static const struct {
		const char *text;
		int64_t ns;
	} rows[] = {
		{"2024-05-01T10:00:00Z", T},
		{"2024-05-01T10:00:00.5Z", T + SECOND / 2},
		{"2024-05-01T10:00:00.123456789Z", T + 123456789},
		{"2024-05-01T10:00:00.1234567891234567891234Z", T + 123456789},
		{"2024-05-01T12:00:00+02:00", T},
		{"2024-05-01T12:00:00.000000007+02:00", T + 7},
		{"2024-05-01T15:30:00+05:30", T},
		{"2024-05-01T02:30:00.25-07:30", T + SECOND / 4},
		{"2024-05-02T00:00:00+14:00", T},
		{"2024-02-29T23:59:60Z", ((int64_t)1709251200) * SECOND}, /* a leap second */
		{"1970-01-01T00:00:01Z", SECOND}, /* no clock yet, as a Pi boots */
		{"0001-01-01T00:00:00Z", 0},
		{"1969-12-31T23:59:59Z", 0},
		{"2200-12-31T23:59:59Z", 7289654399 * SECOND},
		{"2262-04-11T23:47:17Z", 0},
		{"9999-12-31T23:59:59Z", 0},
		{"", 0},
		{"yesterday", 0},
		{"2024-05-01", 0},
		{"2024-13-01T10:00:00Z", 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *patch =
			xasprintf("{'State':{'FinishedAt':'%s'}}", rows[i].text);
		int64_t ns = read_view(docker, patch).finished_ns;

		if (ns != rows[i].ns)
			fail_msg("'%s': %jd", rows[i].text, (intmax_t)ns);
	}
}

/* An engine that lies or is none: an error, or a view within its bounds. */
static void test_strangers(void **state)
{
	static const char *const refused[] = {
		"{'Id':null}",	  "{'Id':1}",	  "{'Image':null}",
		"{'State':null}", "{'State':[]}", "{'Id':'" ID "123456789'}",
	};
	static const char *const taken[] = {
		"{'Config':null,'HostConfig':null}",
		"{'State':{'Status':[],'Running':'yes','ExitCode':'0','Error':{},'StartedAt':7}}",
		"{'State':{'ExitCode':99999999999999}}",
		"{'Image':'" IMAGE IMAGE "'}",
		"{'Config':{'Labels':{'pullet.target':'" TARGET "','pullet.policy':'" ID "'}}}",
		"{'Config':{'Labels':{'pullet.target':'" TARGET "','pullet.policy':1}}}",
		"{'Config':{'Labels':[]},'State':{'Health':[]}}",
		"{'State':{'Error':'" ID ID ID ID ID ID ID ID ID "'}}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		_cleanup_json_ json_t *j = inspect_of(docker, refused[i]);
		struct container_view v, untouched;
		struct error e = {0};

		memset(&v, 0xaa, sizeof(v));
		untouched = v;
		assert_int_equal(world_read_container(j, &v, &e), -EPROTO);
		assert_int_equal(e.code, -EPROTO);
		assert_memory_equal(&v, &untouched, sizeof(v));
	}
	for (size_t i = 0; i < ARRAY_SIZE(taken); i++) {
		struct container_view v = read_view(docker, taken[i]);

		assert_true(strlen(v.image) < sizeof(v.image));
		assert_true(strlen(v.error) < sizeof(v.error));
		assert_true(strlen(v.final_policy) < sizeof(v.final_policy));
	}
}

/* An engine of four containers, by id and name, and images, by reference and Id. The linker takes
 * these two for the real ones. */
static struct {
	struct {
		const char *id, *name, *image;
		bool labelled;
	} containers[4];
	struct {
		const char *reference, *id, *label;
	} images[4];
	const char *state; /* of the first container; NULL: it runs */
	enum ending ending;
	const char *broken; /* what cannot be asked for now */
	unsigned int asked;
} engine;

int engine_inspect_container(struct engine *e, const char *name_or_id, json_t **ret,
			     struct error *ret_error)
{
	assert_true(name_or_id[0]);
	engine.asked++;
	if (streq_null(engine.broken, name_or_id))
		return error_set(ret_error, -ECONNREFUSED, "it is broken");
	for (size_t i = 0; i < ARRAY_SIZE(engine.containers) && engine.containers[i].id; i++) {
		_cleanup_free_ char *patch = xasprintf(
			"{'Id':'%s','Name':'%s%s','Image':'%s','Config':{'Labels':{'%s':'" TARGET
			"','pullet.policy':'always'}}}",
			engine.containers[i].id, i % 2 ? "/" : "", engine.containers[i].name,
			engine.containers[i].image ? engine.containers[i].image : IMAGE,
			engine.containers[i].labelled ? "pullet.target" : "other");

		if (!streq(engine.containers[i].id, name_or_id) &&
		    !streq(engine.containers[i].name, name_or_id))
			continue;
		*ret = inspect_of(docker, patch);
		if (i == 0 && engine.state) {
			json_t *more = inspect_of("{}", engine.state);

			merge(*ret, more);
			json_decref(more);
		}
		return 0;
	}
	return error_set(ret_error, -ENOENT, "no such container");
}

enum ending engine_find_ending(struct engine *e, const char *id, int64_t since_ns)
{
	return engine.ending;
}

int engine_inspect_image(struct engine *e, const char *reference, json_t **ret,
			 struct error *ret_error)
{
	engine.asked++;
	if (streq_null(engine.broken, reference))
		return error_set(ret_error, -ECONNREFUSED, "it is broken");
	for (size_t i = 0; i < ARRAY_SIZE(engine.images) && engine.images[i].id; i++) {
		if (streq(engine.images[i].reference, reference)) {
			*ret = json_pack("{s:s, s:{s:{s:s*}}}", "Id", engine.images[i].id, "Config",
					 "Labels", "pullet.target", engine.images[i].label);
			return 0;
		}
	}
	return error_set(ret_error, -ENOENT, "no such image");
}

int engine_inspect_platform(struct engine *e, const char *reference,
			    const struct oci_platform *platform, json_t **ret,
			    struct error *ret_error)
{
	(void)platform;
	return engine_inspect_image(e, reference, ret, ret_error);
}

int engine_identify_image(struct engine *e, const char *reference, json_t **ret,
			  struct error *ret_error)
{
	return engine_inspect_image(e, reference, ret, ret_error);
}

#define PREVIOUS "sha256:4444444444444444444444444444444444444444444444444444444444444444"

static struct record record = {
	.target = {.digest = {TARGET}},
	.previous = {.digest = {PREVIOUS}, .brought = true},
	.old_id = "old-id",
	.new_id = "new-id",
};

static int look(enum phase phase, const char *reference, struct world *ret)
{
	struct record r = record;
	struct ref ref = {0};
	struct context s = {.name = "ab", .ref = &ref};
	struct error e = {0};
	const char *why;
	int q;

	r.phase = phase;
	assert_int_equal(ref_parse(reference, &ref, &why), 0);
	engine.asked = 0;
	q = world_look(&s, &r, WORLD_WHOLE, ret, &e);
	assert_int_equal(e.code, q < 0 ? q : e.code);
	ref_free(&ref);
	return q;
}

static char slot_of(const struct container_view *v)
{
	return view_exists(v) ? "012x"[v->slot] : '-';
}

/* Who stands under NAME, NAME.next, NAME.prev and elsewhere: - nobody, o the record's old, n its new,
 * l labelled with a target but of no record, m labelled by its own image, x a stranger. Expected: under which name the old, the
 * new and the one in the way are found. */
static void test_who_is_who(void **state)
{
	static const struct {
		const char *phases; /* [i]dle, [p]repare, [t]rial, [c]ommit, [r]evert */
		const char *names;
		const char *expected;
	} rows[] = {
		{"iptcr", "----", "---"},
		/* Before the trial names count, and NAME.next is ours only by its label. */
		{"ip", "o---", "0--"},
		{"ip", "x---", "0--"},
		{"ip", "---o", "---"},
		{"ip", "on--", "01-"},
		{"ip", "ol--", "01-"},
		{"ip", "-l--", "-1-"},
		{"ip", "l---", "0--"},
		{"ip", "ox--", "0-1"},
		{"ip", "-x--", "--1"},
		{"ip", "om--", "0-1"},
		{"ip", "m---", "0--"},
		{"ip", "o-x-", "0-2"},
		{"ip", "o-l-", "0-2"},
		{"ip", "olx-", "012"},
		/* From then on ids count, wherever they are. */
		{"tcr", "on--", "01-"},
		{"tcr", "-no-", "21-"},
		{"tcr", "n-o-", "20-"},
		{"tcr", "n---", "-0-"},
		{"tcr", "o---", "0--"},
		{"tcr", "--o-", "2--"},
		{"tcr", "o-n-", "02-"},
		{"tcr", "xlxo", "x-0"},
		{"tcr", "x-on", "2x0"},
		{"tcr", "o-xn", "0x-"},
		{"tcr", "xlx-", "--0"},
	};
	static const char *const names[] = {"ab", "ab.next", "ab.prev", "elsewhere"};
	static const char *const others[] = {"id-0", "id-1", "id-2", "id-3"};
	static const char letters[] = "iptcr";

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		size_t n = 0;

		memset(&engine, 0, sizeof(engine));
		for (size_t k = 0; k < ARRAY_SIZE(names); k++) {
			char who = rows[i].names[k];

			if (who == '-')
				continue;
			engine.containers[n].id = who == 'o'   ? "old-id"
						  : who == 'n' ? "new-id"
							       : others[k];
			engine.containers[n].name = names[k];
			engine.containers[n].image = who == 'm' ? "its-own" : NULL;
			engine.containers[n++].labelled = strchr("nlm", who) != NULL;
		}
		engine.images[0].reference = engine.images[0].id = "its-own";
		engine.images[0].label = TARGET;
		for (const char *p = rows[i].phases; *p; p++) {
			struct world w;
			char got[4] = "";

			assert_int_equal(
				look((enum phase)(strchr(letters, *p) - letters), "reg/a:b", &w),
				0);
			got[0] = slot_of(&w.old);
			got[1] = slot_of(&w.new);
			got[2] = slot_of(&w.blocker);
			if (!streq(got, rows[i].expected))
				fail_msg("%s in %c: %s instead of %s", rows[i].names, *p, got,
					 rows[i].expected);
			assert_int_equal(strlen(w.boot_id), 36);
		}
	}
}

/* Which images are looked at, and that an engine that cannot answer leaves ret as it was. */
static void test_images(void **state)
{
	static const struct {
		enum phase phase;
		const char *reference;
		const char *image, *tag, *kept;
		bool older;
		unsigned int asked;
	} rows[] = {
		{PHASE_IDLE, "reg.x/a:b", "", "", "", false, 3},
		{PHASE_PREPARE, "reg.x/a:b", "target", "tagged", "", false, 5},
		{PHASE_PREPARE, "reg.x/a@" TARGET, "target", "", "", false, 4},
		{PHASE_TRIAL, "reg.x/a:b", "", "", "", false, 2},
		{PHASE_COMMIT, "reg.x/a:b", "", "tagged", "kept", true, 5},
		{PHASE_COMMIT, "reg.x/a@" TARGET, "", "new-image", "kept", true, 4},
		{PHASE_REVERT, "reg.x/a:b", "target", "tagged", "", false, 4},
	};

	memset(&engine, 0, sizeof(engine));
	engine.containers[0].id = "new-id";
	engine.containers[0].name = "ab";
	engine.containers[0].image = "new-image";
	engine.images[0].reference = "reg.x/a@" TARGET;
	engine.images[0].id = "target";
	engine.images[1].reference = "reg.x/a:b";
	engine.images[1].id = "tagged";
	engine.images[2].reference = WORLD_KEEP_REPOSITORY ":ab";
	engine.images[2].id = "kept";
	engine.images[3].reference = "reg.x/a@" PREVIOUS;
	engine.images[3].id = "older";
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct world w;

		assert_int_equal(look(rows[i].phase, rows[i].reference, &w), 0);
		assert_string_equal(w.image, rows[i].image);
		assert_string_equal(w.tag, rows[i].tag);
		assert_string_equal(w.previous_image, rows[i].kept);
		assert_int_equal(w.older_present, rows[i].older);
		assert_int_equal(engine.asked, rows[i].asked);
	}
	for (int i = 0; i < 3; i++) {
		const struct record saved = record;
		struct world w;

		record.previous.brought = i != 0; /* not ours, wanted now, or running */
		if (i == 1)
			record.target = record.previous;
		if (i == 2)
			record.current = record.previous;
		assert_int_equal(look(PHASE_COMMIT, "reg.x/a:b", &w), 0);
		assert_false(w.older_present);
		record = saved;
	}
	engine.images[3].id = "new-image"; /* it is in use again, and then gone */
	for (int i = 0; i < 2; i++) {
		struct world w;

		assert_int_equal(look(PHASE_COMMIT, "reg.x/a:b", &w), 0);
		assert_false(w.older_present);
		engine.images[3].id = NULL;
	}
}

#define HAS_EXITED "'Status':'exited','Running':false,'FinishedAt':'2024-05-01T10:00:05Z'"

/* A container that is down was stopped by an operator, or has failed. Field report 5, audit 5. */
static void test_why_it_is_down(void **state)
{
	static const struct {
		const char *state, *policy;
		enum ending ending;
		bool failed, left_alone;
	} rows[] = {
		/* docker stop, docker kill; also before the engine was restarted */
		{HAS_EXITED ",'ExitCode':0", "always", ENDING_STOPPED, false, true},
		{HAS_EXITED ",'ExitCode':137", "unless-stopped", ENDING_STOPPED, false, true},
		{HAS_EXITED ",'ExitCode':0", "unless-stopped", ENDING_UNKNOWN, false, true},
		{HAS_EXITED ",'ExitCode':137", "unless-stopped", ENDING_UNKNOWN, false, true},
		{HAS_EXITED ",'ExitCode':143", "always", ENDING_UNKNOWN, false, true},
		/* a child was killed for want of memory before */
		{HAS_EXITED ",'ExitCode':137,'OOMKilled':true", "always", ENDING_STOPPED, false,
		 true},
		{HAS_EXITED ",'ExitCode':0,'OOMKilled':true", "always", ENDING_UNKNOWN, false,
		 true},
		/* some programs exit with it when they are stopped */
		{HAS_EXITED ",'ExitCode':255", "always", ENDING_STOPPED, false, true},
		/* the engine gave up */
		{HAS_EXITED ",'ExitCode':1,'RestartCount':9", "always", ENDING_OWN, true, false},
		{HAS_EXITED ",'ExitCode':0", "unless-stopped", ENDING_OWN, true, false},
		{HAS_EXITED ",'ExitCode':137,'OOMKilled':true", "always", ENDING_UNKNOWN, true,
		 false},
		{HAS_EXITED ",'ExitCode':255", "unless-stopped", ENDING_UNKNOWN, true, false},
		/* the engine could not start it */
		{HAS_EXITED ",'ExitCode':137,'Error':'no such device'", "unless-stopped",
		 ENDING_UNKNOWN, true, false},
		{HAS_EXITED ",'ExitCode':128,'Error':'no such device'", "always", ENDING_STOPPED,
		 true, false},
		{HAS_EXITED ",'ExitCode':127,'Error':'not found'", "no", ENDING_UNKNOWN, true,
		 false},
		{"'Status':'created','Running':false,'StartedAt':'0001-01-01T00:00:00Z',"
		 "'Error':'no such device'",
		 "always", ENDING_UNKNOWN, true, false},
		{"'Status':'created','Running':false,'StartedAt':'0001-01-01T00:00:00Z'", "always",
		 ENDING_OWN, false, true},
		/* nobody is to restart them */
		{HAS_EXITED ",'ExitCode':1", "no", ENDING_OWN, false, false},
		{HAS_EXITED ",'ExitCode':0", "on-failure", ENDING_OWN, false, false},
		{HAS_EXITED ",'ExitCode':137", "no", ENDING_UNKNOWN, false, false},
		/* on-failure:3 is over, or the engine gave up */
		{HAS_EXITED ",'ExitCode':1", "on-failure", ENDING_OWN, true, false},
		{HAS_EXITED ",'ExitCode':1", "on-failure", ENDING_UNKNOWN, true, false},
		/* docker stop, whatever the policy */
		{HAS_EXITED ",'ExitCode':0", "no", ENDING_STOPPED, false, true},
		{HAS_EXITED ",'ExitCode':143", "on-failure", ENDING_STOPPED, false, true},
		{HAS_EXITED ",'ExitCode':143", "on-failure", ENDING_UNKNOWN, false, true},
		/* docker rm */
		{"'Status':'removing','Running':false", "always", ENDING_OWN, false, true},
		{"'Status':'dead','Dead':true,'Running':false", "no", ENDING_OWN, false, true},
		/* it does not matter what was before */
		{"'Status':'running','Error':''", "always", ENDING_OWN, false, false},
		{"'Status':'paused','Paused':true", "always", ENDING_OWN, false, true},
	};

	memset(&engine, 0, sizeof(engine));
	engine.containers[0].id = "c1";
	engine.containers[0].name = "ab";
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *text =
			xasprintf("{'State':{%s},'HostConfig':{'RestartPolicy':{'Name':'%s'}}}",
				  rows[i].state, rows[i].policy);
		struct world w = {0};

		engine.state = text;
		engine.ending = rows[i].ending;
		assert_int_equal(look(PHASE_IDLE, "reg.x/a:b", &w), 0);
		if (view_has_failed(&w.old) != rows[i].failed ||
		    !view_left_alone(&w.old) == rows[i].left_alone)
			fail_msg("row %zu: %s", i, text);
	}
}

static void test_engine_fails(void **state)
{
	static const struct {
		enum phase phase;
		const char *broken;
	} rows[] = {
		{PHASE_IDLE, "ab"},
		{PHASE_IDLE, "ab.next"},
		{PHASE_PREPARE, "ab.prev"},
		{PHASE_PREPARE, "reg.x/a@" TARGET},
		{PHASE_PREPARE, "reg.x/a:b"},
		{PHASE_TRIAL, "old-id"},
		{PHASE_TRIAL, "new-id"},
		{PHASE_COMMIT, "reg.x/a:b"},
		{PHASE_COMMIT, WORLD_KEEP_REPOSITORY ":ab"},
		{PHASE_COMMIT, "reg.x/a@" PREVIOUS},
		{PHASE_REVERT, "reg.x/a@" TARGET},
	};

	memset(&engine, 0, sizeof(engine));
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct world w, untouched;

		memset(&w, 0xaa, sizeof(w));
		untouched = w;
		engine.broken = rows[i].broken;
		assert_int_equal(look(rows[i].phase, "reg.x/a:b", &w), -ECONNREFUSED);
		assert_memory_equal(&w, &untouched, sizeof(w));
	}
}

static void test_slot_names(void **state)
{
	static const char *const names[SLOT_MAX] = {"a.b", "a.b.next", "a.b.prev"};

	for (enum slot s = SLOT_MAIN; s < SLOT_MAX; s++) {
		_cleanup_free_ char *name = world_slot_name("a.b", s);

		assert_string_equal(name, names[s]);
	}
	assert_null(world_slot_name("a", SLOT_OTHER));
}

/* A part that is not asked for stays as it was, and costs no request. */
static void test_parts(void **state)
{
	struct record r = record;
	struct error e = {0};
	struct ref ref = {0};
	struct context s = {.name = "ab", .ref = &ref};
	struct world w = {.image = "kept", .old = {.id = "kept"}};
	const char *why;

	memset(&engine, 0, sizeof(engine));
	engine.containers[0].id = "old-id";
	engine.containers[0].name = "ab";
	r.phase = PHASE_REVERT;
	assert_int_equal(ref_parse("reg/a:b", &ref, &why), 0);
	assert_int_equal(world_look(&s, &r, WORLD_IMAGES, &w, &e), 0);
	assert_string_equal(w.old.id, "kept");
	assert_string_equal(w.image, "");
	(void)snprintf(w.image, sizeof(w.image), "kept");
	assert_int_equal(world_look(&s, &r, WORLD_CONTAINERS, &w, &e), 0);
	assert_string_equal(w.old.id, "old-id");
	assert_string_equal(w.image, "kept");
	engine.broken = "old-id";
	assert_int_equal(world_look(&s, &r, WORLD_WHOLE, &w, &e), -ECONNREFUSED);
	assert_string_equal(w.image, "kept");
	ref_free(&ref);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),	       cmocka_unit_test(test_states),
		cmocka_unit_test(test_details),	       cmocka_unit_test(test_policies),
		cmocka_unit_test(test_healths),	       cmocka_unit_test(test_checks),
		cmocka_unit_test(test_why_it_is_down), cmocka_unit_test(test_times),
		cmocka_unit_test(test_strangers),      cmocka_unit_test(test_who_is_who),
		cmocka_unit_test(test_images),	       cmocka_unit_test(test_parts),
		cmocka_unit_test(test_engine_fails),   cmocka_unit_test(test_slot_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
