/* SPDX-License-Identifier: MIT */
#include "json.h"
#include "podman.h"
#include "test.h"

static json_t *parse(const char *text)
{
	json_t *j = json_loads(text, 0, NULL);

	assert_non_null(j);
	return j;
}

/* State, restart policy and retries so far; who stopped it in podman's own answer. */
static void test_state(void **state)
{
	static const struct {
		const char *container, *own; /* own NULL: not to be asked for */
		bool restarting;
	} rows[] = {
#define CONTAINER(status, code, policy, more)                                                      \
	"{\"State\":{\"Status\":\"" status "\",\"Restarting\":false,\"ExitCode\":" #code "}," more \
	"\"HostConfig\":{\"RestartPolicy\":{" policy "}}}"
#define ALWAYS	   "\"Name\":\"always\""
#define ON_FAILURE "\"Name\":\"on-failure\",\"MaximumRetryCount\":"
#define BY_USER	   "{\"State\":{\"StoppedByUser\":true}}"
#define BY_ITSELF  "{\"State\":{}}"
		{CONTAINER("running", 0, ALWAYS, ""), NULL, false},
		{CONTAINER("paused", 0, ALWAYS, ""), NULL, false},
		{CONTAINER("created", 0, ALWAYS, ""), NULL, false},
		{CONTAINER("stopped", 1, ALWAYS, ""), BY_ITSELF, true},
		{CONTAINER("exited", 0, ALWAYS, ""), BY_ITSELF, true},
		{CONTAINER("exited", 0, ALWAYS, ""), BY_USER, false},
		{CONTAINER("exited", 0, "\"Name\":\"unless-stopped\"", ""), BY_ITSELF, true},
		{CONTAINER("exited", 1, "\"Name\":\"no\"", ""), NULL, false},
		{CONTAINER("exited", 1, "\"Name\":\"\"", ""), NULL, false},
		{CONTAINER("exited", 1, "", ""), NULL, false},
		{CONTAINER("exited", 0, ON_FAILURE "0", ""), NULL, false},
		{CONTAINER("exited", 1, ON_FAILURE "0", "\"RestartCount\":9,"), BY_ITSELF, true},
		{CONTAINER("exited", 1, ON_FAILURE "3", "\"RestartCount\":2,"), BY_ITSELF, true},
		{CONTAINER("exited", 1, ON_FAILURE "3", "\"RestartCount\":3,"), NULL, false},
		{"{}", NULL, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_json_ json_t *container = parse(rows[i].container);
		_cleanup_json_ json_t *own = rows[i].own ? parse(rows[i].own) : NULL;

		assert_int_equal(podman_needs_own_answer(container), own != NULL);
		if (own)
			podman_mend_state(container, own);
		assert_int_equal(
			json_is_true(json_get_path(container, "State", "Restarting", NULL)),
			rows[i].restarting);
	}
}

/* Config and HostConfig as podman 5.4.2 tells them, those of the image, and what is left. */
static void test_config(void **state)
{
	static const struct {
		const char *config, *host, *image, *want_config, *want_host;
	} rows[] = {
		/* Nothing asked for. */
		{"{\"Hostname\":\"e7c5338da24c\",\"Env\":[\"container=podman\",\"PATH=/usr/local/"
		 "sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\",\"HOME=/\",\"HOSTNAME="
		 "e7c5338da24c\"],\"WorkingDir\":\"/\",\"Entrypoint\":[],\"StopSignal\":\"15\"}",
		 "{\"UTSMode\":\"private\",\"PidMode\":\"private\",\"Runtime\":\"oci\","
		 "\"MemorySwappiness\":0,\"Annotations\":{\"io.container.manager\":\"libpod\","
		 "\"org.opencontainers.image.stopSignal\":\"15\",\"org.systemd.property."
		 "KillSignal\":"
		 "\"15\",\"org.systemd.property.TimeoutStopUSec\":\"uint64 10000000\"}}",
		 "{}", "{\"Hostname\":\"e7c5338da24c\",\"Env\":[]}", "{\"Annotations\":{}}"},
		/* All of it asked for. */
		{"{\"Hostname\":\"hen\",\"Env\":[\"container=coop\",\"PATH=/bin\",\"HOME=/home/"
		 "hen\","
		 "\"HOSTNAME=cock\",\"TERM=xterm\"],\"WorkingDir\":\"/w\",\"Entrypoint\":[\"/e\"],"
		 "\"StopSignal\":\"10\"}",
		 "{\"UTSMode\":\"host\",\"PidMode\":\"host\",\"Runtime\":\"crun\","
		 "\"MemorySwappiness\":9,\"Annotations\":{\"mine\":\"1\"}}",
		 "{}",
		 "{\"Hostname\":\"hen\",\"Env\":[\"container=coop\",\"PATH=/bin\",\"HOME=/home/"
		 "hen\","
		 "\"HOSTNAME=cock\",\"TERM=xterm\"],\"WorkingDir\":\"/w\",\"Entrypoint\":[\"/e\"],"
		 "\"StopSignal\":\"10\"}",
		 "{\"UTSMode\":\"host\",\"PidMode\":\"host\",\"Runtime\":\"crun\","
		 "\"MemorySwappiness\":9,\"Annotations\":{\"mine\":\"1\"}}"},
		/* The image's own: what is the same goes with the image's, later. */
		{"{\"Env\":[\"HOME=/root\",\"container=podman\",\"TERM=xterm\"],\"Tty\":true,"
		 "\"WorkingDir\":\"/\",\"StopSignal\":\"3\"}",
		 "{}",
		 "{\"Env\":[\"HOME=/root\",\"container=podman\"],\"WorkingDir\":\"/srv\","
		 "\"StopSignal\":\"SIGQUIT\"}",
		 "{\"Env\":[\"HOME=/root\",\"container=podman\"],\"Tty\":true,\"WorkingDir\":\"/"
		 "\"}",
		 "{}"},
		/* Another than the image's. */
		{"{\"StopSignal\":\"15\"}", "{}", "{\"StopSignal\":\"SIGQUIT\"}",
		 "{\"StopSignal\":\"15\"}", "{}"},
		{"{\"StopSignal\":\"10\"}", "{}", "{\"StopSignal\":\"USR1\"}", "{}", "{}"},
		{"{\"StopSignal\":\"37\"}", "{}", "{\"StopSignal\":\"37\"}", "{}", "{}"},
		/* HOME is the working directory's where the image has no such user. */
		{"{\"Env\":[\"HOME=/w\"],\"WorkingDir\":\"/w\"}", "{}", "{\"WorkingDir\":\"/w\"}",
		 "{\"Env\":[],\"WorkingDir\":\"/w\"}", "{}"},
		/* What conflicts with itself. */
		{"{}",
		 "{\"NanoCpus\":5,\"CpuPeriod\":1,\"CpuQuota\":2,\"IpcMode\":\"host\",\"ShmSize\":"
		 "3}",
		 "{}", "{}", "{\"CpuPeriod\":1,\"CpuQuota\":2,\"IpcMode\":\"host\"}"},
		{"{}", "{\"NanoCpus\":5,\"IpcMode\":\"container:x\",\"ShmSize\":3}", "{}", "{}",
		 "{\"NanoCpus\":5,\"IpcMode\":\"container:x\"}"},
		{"{}", "{\"IpcMode\":\"shareable\",\"ShmSize\":3}", "{}", "{}",
		 "{\"IpcMode\":\"shareable\",\"ShmSize\":3}"},
		/* In no order: the image's last, and in its order, as Docker has them. */
		{"{\"Env\":[\"C=3\",\"MINE=1\",\"A=1\",\"B=mine\"]}", "{}",
		 "{\"Env\":[\"A=1\",\"B=2\",\"C=3\"]}",
		 "{\"Env\":[\"MINE=1\",\"B=mine\",\"A=1\",\"C=3\"]}", "{}"},
		/* Odd answers. */
		{"{\"Env\":[1,null],\"StopSignal\":9}", "{}", "null",
		 "{\"Env\":[1,null],\"StopSignal\":9}", "{}"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_json_ json_t *container =
			json_pack("{s:o,s:o}", "Config", parse(rows[i].config), "HostConfig",
				  parse(rows[i].host));
		_cleanup_json_ json_t *image = json_pack(
			"{s:o}", "Config", json_loads(rows[i].image, JSON_DECODE_ANY, NULL));
		_cleanup_json_ json_t *want =
			json_pack("{s:o,s:o}", "Config", parse(rows[i].want_config), "HostConfig",
				  parse(rows[i].want_host));

		podman_mend_config(container, image);
		if (!json_equal(container, want))
			fail_msg("row %zu: %s", i, json_text(container, JSON_INDENT(1)));
	}
}

/* A name that everyone has by podman's own doing would be one more in each generation. */
static void test_aliases(void **state)
{
	_cleanup_json_ json_t *container =
		parse("{\"Config\":{\"Hostname\":\"box\"},\"NetworkSettings\":{\"Networks\":{"
		      "\"a\":{\"Aliases\":[\"box\",\"web\",\"box\"]},\"b\":{\"Aliases\":null}}}}");
	_cleanup_json_ json_t *want =
		parse("{\"a\":{\"Aliases\":[\"web\"]},\"b\":{\"Aliases\":null}}");

	podman_mend_config(container, NULL);
	assert_true(
		json_equal(json_get_path(container, "NetworkSettings", "Networks", NULL), want));
}

static void test_image(void **state)
{
	_cleanup_json_ json_t *image = parse("{\"Config\":{\"User\":\"1\"}}");
	_cleanup_json_ json_t *without = parse("{\"Config\":{\"User\":\"2\"}}");
	_cleanup_json_ json_t *with = parse("{\"Healthcheck\":{\"Retries\":3}}");
	_cleanup_json_ json_t *want =
		parse("{\"Config\":{\"User\":\"1\",\"Healthcheck\":{\"Retries\":3}}}");

	podman_mend_image(image, without);
	assert_null(json_get_path(image, "Config", "Healthcheck", NULL));
	podman_mend_image(image, with);
	assert_true(json_equal(image, want));
}

static void test_own_options(void **state)
{
	static const struct {
		const char *own, *option;
	} cases[] = {
		{"{}", NULL},
		{"{\"Pod\":\"\",\"Rootfs\":\"\",\"Config\":{\"Umask\":\"0022\",\"Timeout\":0,"
		 "\"Timezone\":\"\","
		 "\"HealthcheckOnFailureAction\":\"none\",\"Secrets\":[]},"
		 "\"HostConfig\":{\"LogConfig\":{\"Size\":\"0B\",\"Tag\":\"\",\"Config\":null}}}",
		 NULL},
		{"{\"Config\":{\"Umask\":\"0000\"}}", NULL},
		{"{\"Config\":{\"Secrets\":[{\"Name\":\"tok\"}]}}", "--secret"},
		{"{\"Config\":{\"Umask\":\"0077\"}}", "--umask"},
		{"{\"Config\":{\"Timeout\":3600}}", "--timeout"},
		{"{\"Config\":{\"Timezone\":\"local\"}}", "--tz"},
		{"{\"Config\":{\"HealthcheckOnFailureAction\":\"kill\"}}", "--health-on-failure"},
		{"{\"Config\":{\"StartupHealthCheck\":{\"Test\":[\"CMD\"]}}}",
		 "--health-startup-cmd"},
		{"{\"HostConfig\":{\"IDMappings\":{\"UidMap\":[\"0:1:1\"]}}}", "--uidmap"},
		{"{\"HostConfig\":{\"LogConfig\":{\"Size\":\"1MB\"}}}", "--log-opt"},
		{"{\"HostConfig\":{\"LogConfig\":{\"Tag\":\"x\"}}}", "--log-opt"},
		{"{\"Pod\":\"6d92\"}", "--pod"},
		{"{\"Mounts\":[{\"Type\":\"bind\"},{\"Type\":\"image\"}]}", "--mount type=image"},
		{"{\"ImageName\":\"docker.io/library/web:latest\",\"Config\":{\"CreateCommand\":"
		 "[\"podman\",\"run\",\"-d\",\"--sysctl\",\"a=1\",\"web\"]}}",
		 "--sysctl"},
		{"{\"Config\":{\"CreateCommand\":[\"podman\",\"run\",\"--secret=tok,type=env\"]}}",
		 "--secret"},
		/* Behind the image stand the arguments of its program. */
		{"{\"ImageName\":\"docker.io/library/web:latest\",\"Config\":{\"CreateCommand\":"
		 "[\"podman\",\"run\",\"--name\",\"a\",\"web\",\"--sysctl\",\"a=1\"]}}",
		 NULL},
		{"{\"ImageName\":\"reg:5000/web:1\",\"Config\":{\"CreateCommand\":"
		 "[\"podman\",\"run\",\"reg:5000/web:1\",\"--secret\",\"x\"]}}",
		 NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ json_t *own = parse(cases[i].own);
		const char *option = podman_find_own_option(own);

		if (option ? !streq_null(cases[i].option, option) : cases[i].option != NULL)
			fail_msg("%s: %s", cases[i].own, option ? option : "none");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_state),	    cmocka_unit_test(test_config),
		cmocka_unit_test(test_aliases),	    cmocka_unit_test(test_image),
		cmocka_unit_test(test_own_options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
