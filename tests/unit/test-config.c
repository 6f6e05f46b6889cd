/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "config.h"
#include "test.h"

/* PATH below scratch_path, which outlives the call. */
static const char *in_dir(const char *path)
{
	static char text[200];

	(void)snprintf(text, sizeof(text), "%s/%s", scratch_path, path);
	return text;
}

static int make_dir(void **state)
{
	unsetenv("CREDENTIALS_DIRECTORY");
	return open_scratch(state);
}

static int empty_dir(void **state)
{
	static const char *const names[] = {"main.conf",
					    "conf.d/10-a.conf",
					    "conf.d/9-b.conf",
					    "conf.d/a.conf",
					    "conf.d/b.txt",
					    "conf.d/.c.conf",
					    "conf.d/d.conf.bak",
					    "conf.d/z.conf",
					    "conf.d/dir.conf",
					    "keys/prod.pub",
					    "keys/gone.txt",
					    "keys/copy.pub",
					    "keys",
					    "own.pub",
					    "registry-auth",
					    "conf.d"};

	unsetenv("CREDENTIALS_DIRECTORY");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		(void)remove(in_dir(names[i]));
	return 0;
}

static void put_bytes(const char *name, const char *data, size_t n)
{
	int fd = open(in_dir(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write_all(fd, data, n), 0);
	close(fd);
}

static void put(const char *name, const char *text)
{
	put_bytes(name, text, strlen(text));
}

static struct config *load(void)
{
	struct config *c = NULL;
	struct error e = {0};

	if (config_load(in_dir("main.conf"), &c, &e) < 0)
		fail_msg("%s", e.text);
	return c;
}

/* text: behind DIR/. */
/* A file or directory below scratch_path that other users may write to; the fault names it twice. */
static void expect_untrusted(const char *name, mode_t mode)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", scratch_path, name);
	_cleanup_free_ char *text =
		xasprintf("%s: other users may write to it (mode %03o): run chmod go-w %s", path,
			  (unsigned int)mode & 0777, path);
	struct stat st;
	struct config *c;
	struct error e = {0};

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(chmod(path, mode), 0);
	assert_int_equal(config_load(in_dir("main.conf"), &c, &e), -EPERM);
	assert_string_equal(e.text, text);
	assert_int_equal(chmod(path, st.st_mode & 07777), 0);
}

static void expect_refusal(int code, const char *text)
{
	struct config *c = (struct config *)scratch_path, *const before = c;
	struct error e = {0};
	int r = config_load(in_dir("main.conf"), &c, &e);

	if (r != code || e.code != code || c != before || !after_prefix(e.text, in_dir(text)) ||
	    strlen(e.text) != strlen(in_dir(text)))
		fail_msg("%d '%s' instead of '%s'", r, e.text, text);
}

static void test_defaults(void **state)
{
	struct config *c;

	put("main.conf", "");
	c = load();
	assert_true(c->interval_ms == 900000 && c->jitter_percent == 10);
	assert_true(!c->ring && !c->device_id);
	assert_true(!c->speed && !c->budget_day && !c->budget_month);
	assert_int_equal(c->download, DOWNLOAD_SPOOL);
	assert_true(c->deltas);
	assert_true(!c->report.url && !c->report.ca && !c->report.textfile);
	assert_int_equal(c->report.interval_ms, 0);
	assert_string_equal(c->engine, "/run/docker.sock");
	assert_true(c->n_registries == 0 && c->n_containers == 0);
	assert_null(config_container(c, "hello"));
	assert_null(config_registry(c, "docker.io"));
	config_free(c);
	config_free(NULL);

	put("main.conf", "[registry a]\n[container hello]\nimage=a/b:c");
	c = load();
	assert_true(c->n_registries == 1 && c->n_containers == 1);
	assert_false(c->registries[0].insecure || c->registries[0].insecure_set);
	assert_null(c->registries[0].ca);
	assert_null(c->registries[0].credentials);
	assert_string_equal(c->containers[0].image, "a/b:c");
	assert_true(c->containers[0].health == HEALTH_AUTO);
	assert_true(c->containers[0].health_period_ms == 30000);
	assert_true(c->containers[0].stop_timeout_s == -1 && !c->containers[0].hold);
	assert_true(!c->containers[0].create && !c->containers[0].keys);
	assert_int_equal(c->containers[0].windows.n, 0);
	config_free(c);
}

static const char everything[] = "# comment\n"
				 "; another\n"
				 "\n"
				 "  [ agent ]  \r\n"
				 "interval = 1h 30min\r\n"
				 "jitter=0%\n"
				 "ring = canary\n"
				 "device-id = kiosk-7/\"a\"\n"
				 "\tengine\t=\tunix:///run/podman/podman.sock\t\n"
				 "[registry registry.example:5000]\n"
				 "insecure = yes\n"
				 "ca = sub/ca.pem\n"
				 "credentials = registry-auth\n"
				 "token-server = https://gitlab.example/\n"
				 "mirror = http://mirror.example:5000//\n"
				 "[registry [::1]:5000]\n"
				 "insecure = no\n"
				 "[registry registry.example:5000]\n"
				 "insecure = true\n"
				 "[registry   [::1]:5000]\n"
				 "insecure = off\n"
				 "ca = /abs ; no comment # none\n"
				 "[container hello]\n"
				 "image = registry.example:5000/hello:stable\n"
				 "health = exit\n"
				 "health-period = 45s\n"
				 "stop-timeout = 1500ms\n"
				 "create = he=llo.json\n"
				 "key = prod.pub\n"
				 "key = ./own.pub\n"
				 "key = " TEST_DATA "/cosign/keys/rsa.pub\n"
				 "key-threshold = 3\n"
				 "revoked = gone.txt\n"
				 "window = Mon..Fri 02:00-04:00\n"
				 "window = Sun 22:00-06:00\n"
				 "download-window = 00:00-05:00\n"
				 "min-age = 2d\n"
				 "rollout = required\n"
				 "hold = on\n"
				 "[container\tw.o_r-ld]\n"
				 "image = hello\n"
				 "health = healthcheck\n"
				 "[agent]\n"
				 "jitter = 100%\n"
				 "[container hello]\n"
				 "health = running\n"
				 "[ report ]\n"
				 "url = http://collector:4318/api/v1/otlp//\n"
				 "ca = ca.pem\n"
				 "credentials = collector.json\n"
				 "interval = 1min\n"
				 "textfile = /run/pullet/metrics/pullet.prom";

#define KEY(body)                      \
	"-----BEGIN PUBLIC KEY-----\n" \
	"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE" body "-----END PUBLIC KEY-----\n"
#define PROD                                 \
	KEY("07ZvbJdZE1RfVg59U3AEKcTwt2PB\n" \
	    "M4J4HKWXkF/UqUZfpqvlRBmop7SWwWdNFWgjAJ7thHXmqMzFYSG2L33DHA==\n")
#define OWN                                  \
	KEY("oco3VqOrlg5oE9zfyX+s54QmTYVA\n" \
	    "L+Yzjn9oruW5Y/LijpBONh6DQ6gY/b181cltAeZs1OrFy1FNSlZPv1tikw==\n")

static void put_keys(void)
{
	assert_int_equal(mkdir(in_dir("keys"), 0700), 0);
	put("keys/prod.pub", PROD);
	put("keys/copy.pub", PROD);
	put("keys/gone.txt", "# none yet\n");
	put("own.pub", OWN);
}

static void expect_path(const char *path, const char *expected)
{
	assert_string_equal(path, in_dir(expected));
}

static void test_everything(void **state)
{
	const struct container_config *hello, *world;
	const struct registry_config *v4, *v6;
	struct config *c;

	put("main.conf", everything);
	put_keys();
	c = load();
	assert_true(c->interval_ms == 5400000 && c->jitter_percent == 100);
	assert_string_equal(c->engine, "/run/podman/podman.sock");
	assert_true(c->n_registries == 2 && c->n_containers == 2);
	v4 = config_registry(c, "registry.example:5000");
	v6 = config_registry(c, "[::1]:5000");
	assert_true(v4 && v4->insecure && v4->insecure_set);
	expect_path(v4->ca, "sub/ca.pem");
	assert_string_equal(v4->credentials, CREDENTIAL_STORE "/registry-auth"); /* not there */
	assert_string_equal(v4->token_server, "https://gitlab.example");
	assert_string_equal(v4->mirror, "http://mirror.example:5000");
	assert_true(v6 && !v6->insecure && v6->insecure_set);
	assert_string_equal(v6->ca, "/abs ; no comment # none");
	hello = config_container(c, "hello");
	world = config_container(c, "w.o_r-ld");
	assert_true(hello && hello->health == HEALTH_RUNNING && hello->hold);
	assert_string_equal(hello->image, "registry.example:5000/hello:stable");
	assert_string_equal(c->ring, "canary");
	assert_string_equal(c->device_id, "kiosk-7/\"a\"");
	assert_string_equal(c->report.url, "http://collector:4318/api/v1/otlp");
	expect_path(c->report.ca, "ca.pem");
	expect_path(c->report.credentials, "collector.json");
	assert_int_equal(c->report.interval_ms, 60000);
	assert_string_equal(c->report.textfile, "/run/pullet/metrics/pullet.prom");
	expect_path(hello->origin, "main.conf:23");
	assert_true(hello->health_period_ms == 45000 && hello->stop_timeout_s == 2);
	expect_path(hello->create, "he=llo.json");
	expect_path(hello->keys[0], "keys/prod.pub");
	expect_path(hello->keys[1], "./own.pub");
	assert_string_equal(hello->keys[2], TEST_DATA "/cosign/keys/rsa.pub");
	assert_null(hello->keys[3]);
	assert_true(hello->key_threshold == 3 && world->key_threshold == 1 && !world->keys);
	expect_path(hello->revoked[0], "keys/gone.txt");
	assert_null(hello->revoked[1]);
	assert_int_equal(hello->windows.n, 2);
	assert_true(hello->windows.items[0].weekdays == 0x1f &&
		    hello->windows.items[1].weekdays == 0x40);
	assert_int_equal(hello->download_windows.n, 1);
	assert_true(hello->download_windows.items[0].end == 300 && hello->min_age_ms == 172800000);
	assert_true(hello->rollout == ROLLOUT_REQUIRED && world->rollout == ROLLOUT_AUTO);
	assert_true(world && world->health == HEALTH_HEALTHCHECK && !world->hold);
	config_free(c);
}

static void test_link(void **state)
{
	static const struct {
		const char *text;
		uint64_t speed;
	} rows[] = {
		{"8000", 8000},	     {"48k", 48000},	 {"48kB", 48000},
		{"64kbit", 8000},    {"8000bit", 1000},	 {"1M", 1000000},
		{"10Mbit", 1250000}, {"1G", 1000000000}, {"9223372036G", 9223372036000000000},
	};
	struct config *c;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *file = xasprintf("[agent]\nspeed = %s\n", rows[i].text);

		put("main.conf", file);
		c = load();
		assert_true(c->speed == rows[i].speed);
		config_free(c);
	}
	put("main.conf", "[agent]\nbudget = 20M/day\nbudget = 300MB/month\ndownload = engine\n");
	c = load();
	assert_true(c->budget_day == 20000000 && c->budget_month == 300000000);
	assert_int_equal(c->download, DOWNLOAD_ENGINE);
	config_free(c);
}

#define NAME_120                                                       \
	"a123456789b123456789c123456789d123456789e123456789f123456789" \
	"a123456789b123456789c123456789d123456789e123456789f123456789"

#define BARE "; write it without quotes, and a comment on a line of its own"

/* Each refusal: the file, and what is said of it. */
static const struct {
	const char *file, *text;
} refusals[] = {
	{"interval = 5min", "1: key 'interval' appears before any [section]"},
	{"\n\n# x\n[agent]\nfoo = 1", "5: unknown key 'foo' in [agent]"},
	{"[agent]\nInterval = 1h",
	 "2: unknown key 'Interval' in [agent]; did you mean 'interval'?"},
	{"[agent]\nimage = a",
	 "2: unknown key 'image' in [agent]; it is a key of [container NAME]"},
	{"[agent]\n = 1h", "2: unknown key '' in [agent]"},
	{"[registry a]\nfoo = 1", "2: unknown key 'foo' in [registry a]"},
	{"[container ab]\nfoo = 1", "2: unknown key 'foo' in [container ab]"},
	{"[agents]", "1: unknown section [agents]; did you mean 'agent'?"},
	{"[Agent]", "1: unknown section [Agent]; did you mean 'agent'?"},
	{"[agent x]", "1: unknown section [agent x]"},
	{"[]", "1: unknown section []"},
	{"[ ]", "1: unknown section []"},
	{"[container:ab]", "1: unknown section [container:ab]; did you mean 'container'?"},
	{"[agent", "1: '[agent': a section ends with ']'"},
	{"[", "1: '[': a section ends with ']'"},
	{"[agent] # comment", "1: '[agent] # comment': a section ends with ']'"},
	{"[agent]\ninterval", "2: 'interval': neither [section] nor key = value"},
	{"[agent]\ninterval =", "2: interval: no value"},
	{"[agent]\ninterval = \t", "2: interval: no value"},
	{"[agent]\ninterval = soon",
	 "2: interval: 'soon' is not a time span (15min, 1h 30min, 45s)"},
	{"[agent]\ninterval = 0", "2: interval: '0' is too short"},
	{"[agent]\ninterval = 15min # daily",
	 "2: interval: '15min # daily' is not a time span (15min, 1h 30min, 45s)" BARE},
	{"[agent]\ninterval = 11w 99999d",
	 "2: interval: '11w 99999d' is not a time span (15min, 1h 30min, 45s)"},
	{"[agent]\njitter = 101%", "2: jitter: '101%' is not a percentage from 0% to 100%"},
	{"[agent]\njitter = 10", "2: jitter: '10' is not a percentage from 0% to 100%"},
	{"[agent]\njitter = -1%", "2: jitter: '-1%' is not a percentage from 0% to 100%"},
	{"[agent]\njitter = %", "2: jitter: '%' is not a percentage from 0% to 100%"},
	{"[agent]\njitter = 99999999999999999999%",
	 "2: jitter: '99999999999999999999%' is not a percentage from 0% to 100%"},
	{"[agent]\nengine = /run/docker.sock",
	 "2: engine: '/run/docker.sock' is not of the form unix:///PATH"},
	{"[agent]\nengine = unix://run", "2: engine: 'unix://run' is not of the form unix:///PATH"},
	{"[agent]\nengine = tcp://h:1", "2: engine: 'tcp://h:1' is not of the form unix:///PATH"},
	{"[agent]\nring = a b",
	 "2: ring: 'a b' is not a ring name (letters, digits, '.', '_', '-')"},
	{"[agent]\ndevice-id = a b",
	 "2: device-id: 'a b' may hold printable ASCII without spaces only"},
	{"[agent]\ndevice-id = " NAME_120, "2: device-id: longer than 64 bytes"},
	{"[report]\nfoo = 1", "2: unknown key 'foo' in [report]"},
	{"[report x]", "1: unknown section [report x]"},
	{"[report]\nurl = collector:4318",
	 "2: url: 'collector:4318' is not of the form https://HOST[:PORT][/PATH]"},
	{"[report]\nurl = http://u:p@h/",
	 "2: url: 'http://u:p@h/' is not of the form https://HOST[:PORT][/PATH]"},
	{"[report]\nurl = https:///v1",
	 "2: url: 'https:///v1' is not of the form https://HOST[:PORT][/PATH]"},
	{"[report]\nurl = http://h/a b",
	 "2: url: 'http://h/a b' is not of the form https://HOST[:PORT][/PATH]"},
	{"[report]\nurl = http://h/?a=b",
	 "2: url: 'http://h/?a=b' is not of the form https://HOST[:PORT][/PATH]"},
	{"[report]\ninterval = 0", "2: interval: '0' is too short"},
	{"[report]\ntextfile = /run/x", "2: textfile: '/run/x' does not end in .prom"},
	{"[registry]", "1: [registry ]: not a host such as registry.example:5000"},
	{"[registry a/b]", "1: [registry a/b]: not a host such as registry.example:5000"},
	{"[registry a b]", "1: [registry a b]: not a host such as registry.example:5000"},
	{"[registry u@a]", "1: [registry u@a]: not a host such as registry.example:5000"},
	{"[registry a]\nmirror = mirror.example",
	 "2: mirror: 'mirror.example' is not of the form https://HOST[:PORT][/PATH]"},
	{"[registry a]\nmirror = https://mirror.example/v2",
	 "2: mirror: 'https://mirror.example/v2' is not of the form https://HOST[:PORT], without a "
	 "path"},
	{"[registry a]\ntoken-server = gitlab.example/jwt",
	 "2: token-server: 'gitlab.example/jwt' is not of the form https://HOST[:PORT][/PATH]"},
	{"[registry a]\ninsecure = maybe", "2: insecure: 'maybe' is neither yes nor no"},
	{"[registry a]\ninsecure = Yes", "2: insecure: 'Yes' is neither yes nor no"},
	{"[registry a]\ninsecure = yes ; lab",
	 "2: insecure: 'yes ; lab' is neither yes nor no" BARE},
	{"[container]", "1: [container ]: not a valid container name"},
	{"[container a]", "1: [container a]: not a valid container name"},
	{"[container -ab]", "1: [container -ab]: not a valid container name"},
	{"[container ../ab]", "1: [container ../ab]: not a valid container name"},
	{"[container a b]", "1: [container a b]: not a valid container name"},
	{"[container h\303\251]", "1: [container h\303\251]: not a valid container name"},
	{"[container " NAME_120 "x]", "1: [container " NAME_120 "x]: not a valid container name"},
	{"[container ab.next]",
	 "1: [container ab.next]: names that end in .next or .prev are reserved"},
	{"[container ab.prev]",
	 "1: [container ab.prev]: names that end in .next or .prev are reserved"},
	{"\n[container ab]\nhold = no", "2: [container ab] has no image ="},
	{"[container ab]\nbefore-unit = lock",
	 "2: before-unit: 'lock' is not the name of a service (app-lock.service, dump@.service)"},
	{"[container ab]\nhealth-unit = /bin/true",
	 "2: health-unit: '/bin/true' is not the name of a service (app-lock.service, "
	 "dump@.service)"},
	{"[container ab]\nafter-unit = a.socket", "2: after-unit: 'a.socket' is not the name of a "
						  "service (app-lock.service, dump@.service)"},
	{"[container ab]\nbefore-unit = .service", "2: before-unit: '.service' is not the name of "
						   "a service (app-lock.service, dump@.service)"},
	{"[container ab]\nbefore-unit = @.service",
	 "2: before-unit: '@.service' is not the name of a service (app-lock.service, "
	 "dump@.service)"},
	{"[container ab]\nbefore-unit = a@b@.service",
	 "2: before-unit: 'a@b@.service' is not the name of a service (app-lock.service, "
	 "dump@.service)"},
	{"[container ab]\nbefore-unit = a b.service",
	 "2: before-unit: 'a b.service' is not the name of a service (app-lock.service, "
	 "dump@.service)"},
	{"[agent]\nnotify = tell",
	 "2: notify: 'tell' is not the name of a service (app-lock.service, dump@.service)"},
	{"[container ab]\nbefore-unit-deferrals = 1001",
	 "2: before-unit-deferrals: '1001' is not a number from 0 to 1000"},
	{"[container ab]\nbefore-unit-deferrals = -1",
	 "2: before-unit-deferrals: '-1' is not a number from 0 to 1000"},
	{"[container ab]\nbefore-unit-deferrals = many",
	 "2: before-unit-deferrals: 'many' is not a number from 0 to 1000"},
	{"[container ab]\nbefore-unit-deferrals = 1x",
	 "2: before-unit-deferrals: '1x' is not a number from 0 to 1000"},
	{"[container ab]\nbefore-unit-deferrals = 00001",
	 "2: before-unit-deferrals: '00001' is not a number from 0 to 1000"},
	{"[container ab]\nbefore-unit-then = stop",
	 "2: before-unit-then: 'stop' is not one of go-on, give-up"},
	{"[container ab]\nhealth-unit-timeout = 2h", "2: health-unit-timeout: '2h' is too long"},
	{"[container ab]\nhold = 2", "2: hold: '2' is neither yes nor no"},
	{"[container ab]\nhelth = auto",
	 "2: unknown key 'helth' in [container ab]; did you mean 'health'?"},
	{"[container ab]\nhealth = runing", "2: health: 'runing' is not one of auto, healthcheck, "
					    "running, exit; did you mean 'running'?"},
	{"[container ab]\ninsecure = yes",
	 "2: unknown key 'insecure' in [container ab]; it is a key of [registry HOST]"},
	{"[container ab]\nimage = \"a/b:c\"",
	 "2: image: '\"a/b:c\"': the repository name may hold a-z, 0-9 and "
	 "single separators . _ __ - only" BARE},
	{"[container ab]\nimage = a/b:c # x",
	 "2: image: 'a/b:c # x': the tag may hold letters, "
	 "digits and _ . - only, and starts with none of . -" BARE},
	{"[container ab]\nhealth = 'auto'",
	 "2: health: ''auto'' is not one of auto, healthcheck, running, exit" BARE},
	{"[container ab]\nhealth = none",
	 "2: health: 'none' is not one of auto, healthcheck, running, exit"},
	{"[container ab]\nhealth-period = 0s", "2: health-period: '0s' is too short"},
	{"[container ab]\nhealth-period = 7h", "2: health-period: '7h' is too long"},
	{"[container ab]\nstop-timeout = x",
	 "2: stop-timeout: 'x' is not a time span (15min, 1h 30min, 45s)"},
	{"[container ab]\nstop-timeout = 3601s", "2: stop-timeout: '3601s' is more than an hour"},
	{"[container ab]\nimage = Ab", "2: image: 'Ab': the repository name must be lower case"},
	{"[container ab]\nwindow = 25:00-26:00",
	 "2: window: '25:00-26:00' is not of the form Mon..Fri 02:00-04:00"},
	{"[container ab]\nwindow = 02:00-04:00, 05:00-06:00",
	 "2: window: '02:00-04:00, 05:00-06:00' is not of the form Mon..Fri 02:00-04:00"},
	{"[container ab]\ndownload-window = night",
	 "2: download-window: 'night' is not of the form Mon..Fri 02:00-04:00"},
	{"[container ab]\nmin-age = old",
	 "2: min-age: 'old' is not a time span (15min, 1h 30min, 45s)"},
	{"[container ab]\nupdate = no", "2: update: 'no' is not one of take, tell"},
	{"[container ab]\nrollout = yes", "2: rollout: 'yes' is not one of auto, required, no"},
	{"[agent]\nspeed = fast",
	 "2: speed: 'fast' is not a number of bytes a second (48k, 1M) or of bits (64kbit)"},
	{"[agent]\nspeed = 1.5M",
	 "2: speed: '1.5M' is not a number of bytes a second (48k, 1M) or of bits (64kbit)"},
	{"[agent]\nspeed = 48kb",
	 "2: speed: '48kb' is not a number of bytes a second (48k, 1M) or of bits (64kbit)"},
	{"[agent]\nspeed = -1k",
	 "2: speed: '-1k' is not a number of bytes a second (48k, 1M) or of bits (64kbit)"},
	{"[agent]\nspeed = 48",
	 "2: speed: '48' is too slow: at least 1k, which is 1000 bytes a second"},
	{"[agent]\nspeed = 0",
	 "2: speed: '0' is too slow: at least 1k, which is 1000 bytes a second"},
	{"[agent]\nspeed = 9223372037G", "2: speed: '9223372037G' is too large"},
	{"[agent]\nspeed = 99999999999999999999", "2: speed: '99999999999999999999' is too large"},
	{"[agent]\nbudget = 20M", "2: budget: '20M' is not of the form 20M/day or 300M/month"},
	{"[agent]\nbudget = 20M/week",
	 "2: budget: '20M/week' is not of the form 20M/day or 300M/month"},
	{"[agent]\nbudget = /day", "2: budget: '/day' is not of the form 20M/day or 300M/month"},
	{"[agent]\nbudget = 20/day",
	 "2: budget: '20/day' is too small: at least 10k, which is 10000 bytes"},
	{"[agent]\nbudget = 0M/month",
	 "2: budget: '0M/month' is too small: at least 10k, which is 10000 bytes"},
	{"[agent]\nbudget = 9223372036855M/day", "2: budget: '9223372036855M/day' is too large"},
	{"[agent]\nbudget = 1M/day\nbudget = 1G/month\nbudget = 2M/day",
	 "4: budget: '2M/day' is a second budget of the day; remove one of the two"},
	{"[agent]\nbudget = 1G/month\nbudget = 1G/month",
	 "3: budget: '1G/month' is a second budget of the month; remove one of the two"},
	{"[agent]\ndownload = pull", "2: download: 'pull' is not one of spool, engine"},
	{"\357\273\277[agent]\n", "1: '???[agent]': neither [section] nor key = value"},
};

struct faults {
	size_t n;
	char *first, *last;
};

static void note_fault(void *userdata, const char *fault)
{
	struct faults *f = userdata;

	if (f->n++ == 0)
		replace_string(&f->first, fault);
	replace_string(&f->last, fault);
}

/* All faults are told, the same one first, and no other comes of it. */
static void expect_faults(size_t n, const char *first, const char *last)
{
	struct faults f = {0};

	config_free(config_read(in_dir("main.conf"), note_fault, &f));
	assert_int_equal(f.n, n);
	if (first)
		assert_string_equal(f.first, in_dir(first));
	if (last)
		assert_string_equal(f.last, in_dir(last));
	free(f.first);
	free(f.last);
}

static void test_all_faults(void **state)
{
	put("main.conf", "[agent]\njitter = 5%\n[container ab]\nimage = a\n");
	expect_faults(0, NULL, NULL);
	put("main.conf", "[agent]\njitter = 5\nfoo = 1\n[what]\nkeys = none\n[container a]\n"
			 "image = X\n[container ab]\nimage = X\n[container bc]\n");
	expect_faults(6, "main.conf:2: jitter: '5' is not a percentage from 0% to 100%",
		      "main.conf:10: [container bc] has no image =");
}

static void test_refusals(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		_cleanup_free_ char *text = xasprintf("main.conf:%s", refusals[i].text);

		put("main.conf", refusals[i].file);
		expect_refusal(-EINVAL, text);
		expect_faults(1 + (strstr(refusals[i].file, "[container ab]") &&
				   !strstr(refusals[i].file, "image") &&
				   !strstr(refusals[i].text, "no image")),
			      text, NULL);
	}
}

/* Longest names and lines are taken whole, one byte more is refused, and nothing is ever cut. */
static void test_lengths(void **state)
{
	static const size_t lengths[] = {100, 1023, 1024, 4095, 4096, 4097, 5000, 100000};
	static char text[300 * 1024];

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		struct config *c;
		size_t n = (size_t)snprintf(text, sizeof(text), "[registry a]\nca = /");

		memset(text + n, 'x', lengths[i] - 6);
		memcpy(text + n + lengths[i] - 6, "\n", 2);
		put("main.conf", text);
		if (lengths[i] > 4096) {
			expect_refusal(-EINVAL, "main.conf:2: line longer than 4096 bytes");
			continue;
		}
		c = load();
		assert_int_equal(strlen(c->registries[0].ca), lengths[i] - 5);
		config_free(c);
	}
	memset(text, '#', 4097); /* a comment is a line too */
	text[4097] = '\0';
	put("main.conf", text);
	expect_refusal(-EINVAL, "main.conf:1: line longer than 4096 bytes");
	memset(text, '\n', sizeof(text));
	put_bytes("main.conf", text, (size_t)256 * 1024);
	config_free(load());
	put_bytes("main.conf", text, (size_t)256 * 1024 + 1);
	expect_refusal(-EFBIG, "main.conf: File too large");
	put("main.conf", "[container " NAME_120 "]\nimage = a");
	config_free(load());
	put_bytes("main.conf", "[agent]\n\0jitter = 3%", 20);
	expect_refusal(-EINVAL, "main.conf:1: not a text file: it contains a NUL byte");
}

static void test_files(void **state)
{
	expect_refusal(-ENOENT, "main.conf: No such file or directory");
	put("main.conf", "");
	expect_untrusted("main.conf", 0666);
	expect_untrusted("main.conf", 0664);
	/* What is not there any more demands nothing any more. */
	expect_untrusted("", 0770);
	assert_int_equal(chmod(scratch_path, 01777), 0);
	config_free(load());
	assert_int_equal(chmod(scratch_path, 0700), 0);
	put("conf.d", "no directory");
	expect_refusal(-ENOTDIR, "conf.d: Not a directory");
	(void)remove(in_dir("conf.d"));
	assert_int_equal(mkdir(in_dir("conf.d"), 0755), 0);
	assert_int_equal(mkdir(in_dir("conf.d/dir.conf"), 0755), 0);
	expect_refusal(-EISDIR, "conf.d/dir.conf: Is a directory");
	(void)remove(in_dir("conf.d/dir.conf"));
	put("conf.d/a.conf", "");
	expect_untrusted("conf.d/a.conf", 0602);
	(void)remove(in_dir("conf.d/a.conf"));
	expect_untrusted("conf.d", 0777);
}

/* After the main file, by name, each beginning outside of any section; other names are not read. */
static void test_drop_ins(void **state)
{
	_cleanup_free_ char *main_conf = xstrdup(in_dir("main.conf"));
	const struct container_config *k;
	struct error e;
	struct config *c;

	assert_int_equal(mkdir(in_dir("conf.d"), 0755), 0);
	put("main.conf", "[agent]\njitter = 1%\ninterval = 1s\n"
			 "[container ab]\nimage = a:main\nwindow = 01:00-02:00\ncreate = c.json\n");
	put("conf.d/9-b.conf", "[agent]\njitter = 9%\n[container ab]\nimage = a:nine\n");
	put("conf.d/10-a.conf", "[agent]\njitter = 10%\n[container ab]\nimage = a:ten\n");
	put("conf.d/a.conf", "[container ab]\nwindow = 03:00-04:00\ncreate = c.json\n"
			     "[container cd]\nimage = b\n");
	put("conf.d/b.txt", "nonsense");
	put("conf.d/.c.conf", "nonsense");
	put("conf.d/d.conf.bak", "nonsense");
	c = load();
	assert_true(c->jitter_percent == 9 && c->interval_ms == 1000);
	assert_int_equal(c->n_containers, 2);
	k = config_container(c, "ab");
	assert_string_equal(k->image, "a:nine");
	expect_path(k->origin, "main.conf:4");
	expect_path(k->create, "conf.d/c.json"); /* relative to the file that says it */
	assert_int_equal(k->windows.n, 2);
	assert_int_equal(k->windows.items[1].start, 180);
	expect_path(config_container(c, "cd")->origin, "conf.d/a.conf:4");
	config_free(c);
	/* One that is not in place yet. */
	put("conf.d/b.txt", "[container ef]\nimage = e\n");
	assert_int_equal(config_load_with(main_conf, in_dir("conf.d/b.txt"), &c, &e), 0);
	assert_non_null(config_container(c, "ef"));
	config_free(c);
	put("conf.d/b.txt", "[container ef]\nimag = e\n");
	assert_int_equal(config_load_with(main_conf, in_dir("conf.d/b.txt"), &c, &e), -EINVAL);
	assert_non_null(strstr(e.text, "conf.d/b.txt:2: unknown key 'imag'"));
	put("conf.d/z.conf", "\njitter = 3%");
	expect_refusal(-EINVAL, "conf.d/z.conf:2: key 'jitter' appears before any [section]");
	put("conf.d/z.conf", "[container ef]");
	expect_refusal(-EINVAL, "conf.d/z.conf:1: [container ef] has no image =");
	put("main.conf", "[agent]\njitter = x"); /* the first fault is told */
	expect_refusal(-EINVAL, "main.conf:2: jitter: 'x' is not a percentage from 0% to 100%");
}

static void test_credentials(void **state)
{
	struct config *c;

	put("main.conf", "[registry a]\ncredentials = registry-auth\n"
			 "[registry b]\ncredentials = ./registry-auth\n"
			 "[registry c]\ncredentials = none\n"
			 "[registry d]\ncredentials = none.json\n");
	put("registry-auth", "{}");
	assert_int_equal(mkdir(in_dir("conf.d"), 0755), 0);
	put("conf.d/b.txt", "{ }");
	put("conf.d/d.conf.bak", "{}"); /* as the units set what is not there */
	setenv("CREDENTIALS_DIRECTORY", scratch_path, 1);
	c = load();
	expect_path(c->registries[0].credentials, "registry-auth");
	expect_path(c->registries[1].credentials, "./registry-auth");
	assert_string_equal(c->registries[2].credentials, CREDENTIAL_STORE "/none");
	expect_path(c->registries[3].credentials, "none.json");
	config_free(c);
	setenv("CREDENTIALS_DIRECTORY", in_dir("conf.d"), 1);
	put("main.conf", "[registry a]\ncredentials = x\ncredentials = b.txt\n"
			 "[registry b]\ncredentials = ./b.txt\n"
			 "[registry c]\ncredentials = d.conf.bak\n");
	c = load();
	expect_path(c->registries[0].credentials, "conf.d/b.txt");
	expect_path(c->registries[1].credentials, "./b.txt"); /* a path is no name */
	expect_path(c->registries[2].credentials, "d.conf.bak");
	config_free(c);
}

/* A key that cannot be used is found when the configuration is read. */
static void test_keys(void **state)
{
	static const struct {
		const char *lines, *fault;
	} rows[] = {
		{"key = no.pub", "main.conf:3: key: %s/keys/no.pub: No such file or directory"},
		{"key = ./main.conf",
		 "main.conf:3: key: %s/./main.conf: it is no PEM file of a public key"},
		{"key = " TEST_DATA "/cosign/keys/ed.pub", "/ed.pub: Ed25519 is not supported"},
		{"key = " TEST_DATA "/cosign/keys/p384.pub", "/p384.pub: P-384 is not supported"},
		{"key = " TEST_DATA "/cosign/keys/sigstore.private",
		 "private: it is cosign's private key"},
		{"revoked = no.txt",
		 "main.conf:3: revoked: %s/keys/no.txt: No such file or directory"},
		{"revoked = ./main.conf",
		 "main.conf:3: revoked: %s/./main.conf: '[container ab]' is neither"},
		{"key-threshold = 0",
		 "main.conf:3: key-threshold: '0' is not a number of keys from 1 to 8"},
		{"key-threshold = 9",
		 "main.conf:3: key-threshold: '9' is not a number of keys from 1 to 8"},
		{"key-threshold = 2x", "main.conf:3: key-threshold: '2x' is not"},
		{"key-threshold = 2", "main.conf:1: [container ab] has key-threshold = 2 and 0 "
				      "different keys: add a line key = for each"},
		{"key = prod.pub\nkey-threshold = 2",
		 "has key-threshold = 2 and 1 different key: add"},
		{"key = prod.pub\nkey = copy.pub\nkey = prod.pub\nkey-threshold = 2",
		 "has key-threshold = 2 and 1 different key: add"},
		{"key = prod.pub\nkey = prod.pub\nkey = prod.pub\nkey = prod.pub\nkey = "
		 "prod.pub\nkey = prod.pub\n"
		 "key = prod.pub\nkey = prod.pub\nkey = prod.pub",
		 "main.conf:11: key: more than 8 keys; retire one"},
	};

	put_keys();
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *text =
			xasprintf("[container ab]\nimage = a\n%s\n", rows[i].lines);
		const char *path = strstr(rows[i].fault, "%s");
		_cleanup_free_ char *fault =
			path ? xasprintf("%.*s%s%s", (int)(path - rows[i].fault), rows[i].fault,
					 scratch_path, path + 2)
			     : xstrdup(rows[i].fault);

		struct config *c = NULL;
		struct error e = {0};

		put("main.conf", text);
		if (config_load(in_dir("main.conf"), &c, &e) != -EINVAL || !strstr(e.text, fault))
			fail_msg("'%s' instead of '%s'", e.text, fault);
	}
}

/* A package brings a drop-in and a key: the key is where those of the main file are. */
static void test_key_of_a_drop_in(void **state)
{
	struct config *c;

	put_keys();
	put("main.conf", "[container ab]\nimage = a\n");
	assert_int_equal(mkdir(in_dir("conf.d"), 0700), 0);
	put("conf.d/a.conf", "[container ab]\nkey = prod.pub\nrevoked = gone.txt\n");
	c = load();
	expect_path(c->containers[0].keys[0], "keys/prod.pub");
	expect_path(c->containers[0].revoked[0], "keys/gone.txt");
	config_free(c);
}

/* A key that is replaced in its file makes another configuration: what it refused is asked again. */
static void test_keys_and_fingerprint(void **state)
{
	uint64_t prints[4];

	put_keys();
	put("main.conf", "[container ab]\nimage = a\nkey = prod.pub\nkey = copy.pub\n"
			 "key = ./own.pub\nkey-threshold = 2\nrevoked = gone.txt\n");
	for (size_t i = 0; i < ARRAY_SIZE(prints); i++) {
		struct config *c = load();

		prints[i] = c->fingerprint;
		config_free(c);
		if (i == 1)
			put("keys/copy.pub", OWN);
		else if (i == 2)
			put("keys/gone.txt", PROD);
	}
	assert_true(prints[0] == prints[1] && prints[1] != prints[2] && prints[2] != prints[3]);
}

/* Docker Hub has two names in image references. */
static void test_hub(void **state)
{
	struct config *c;

	put("main.conf",
	    "[registry index.docker.io]\ninsecure = no\n[registry docker.io]\nca = /x\n");
	c = load();
	assert_int_equal(c->n_registries, 1);
	assert_string_equal(config_registry(c, "docker.io")->ca, "/x");
	config_free(c);
}

/* More than 1024 of anything is no configuration. */
static void test_lists(void **state)
{
	static const struct {
		const char *head, *each, *text;
	} lists[] = {
		{"", "[registry r%d]\n", "main.conf:1025: more than 1024 registries"},
		{"", "[container c%d]\n", "main.conf:1025: more than 1024 containers"},
		{"[container ab]\n", "after=k%d\n", "main.conf:1026: after: more than 1024 values"},
		{"[container ab]\n", "window=1:0-%d:0\n",
		 "main.conf:1026: window: more than 1024 values"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		_cleanup_free_ char *text = xstrdup(lists[i].head);

		for (int n = 0; n < 1025; n++) {
			const char *percent = strstr(lists[i].each, "%d");
			char *more = xasprintf("%s%.*s%d%s", text, (int)(percent - lists[i].each),
					       lists[i].each, i == 3 ? n % 24 : n, percent + 2);

			free(text);
			text = more;
		}
		put("main.conf", text);
		expect_refusal(-EINVAL, lists[i].text);
	}
}

/* Words and their meaning, in [container ab]. */
static void test_words(void **state)
{
	static const struct {
		const char *line;
		enum health_kind health;
		int stop_timeout_s;
		bool hold;
	} rows[] = {
		{"health = auto", HEALTH_AUTO, -1, false},
		{"health = healthcheck", HEALTH_HEALTHCHECK, -1, false},
		{"health = running", HEALTH_RUNNING, -1, false},
		{"health = exit", HEALTH_EXIT, -1, false},
		{"stop-timeout = 1ms", HEALTH_AUTO, 1, false},
		{"stop-timeout = 1s", HEALTH_AUTO, 1, false},
		{"stop-timeout = 1001ms", HEALTH_AUTO, 2, false},
		{"stop-timeout = 1h", HEALTH_AUTO, 3600, false},
		{"hold = yes", HEALTH_AUTO, -1, true},
		{"hold = true", HEALTH_AUTO, -1, true},
		{"hold = on", HEALTH_AUTO, -1, true},
		{"hold = 1", HEALTH_AUTO, -1, true},
		{"hold = 1\nhold = no", HEALTH_AUTO, -1, false},
		{"hold = 1\nhold = false", HEALTH_AUTO, -1, false},
		{"hold = 1\nhold = off", HEALTH_AUTO, -1, false},
		{"hold = 1\nhold = 0", HEALTH_AUTO, -1, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *text =
			xasprintf("[container ab]\nimage = a\n%s\n", rows[i].line);
		struct config *c;

		put("main.conf", text);
		c = load();
		assert_int_equal(c->containers[0].health, rows[i].health);
		assert_int_equal(c->containers[0].stop_timeout_s, rows[i].stop_timeout_s);
		assert_int_equal(c->containers[0].hold, rows[i].hold);
		config_free(c);
	}
}

static void test_engine_path(void **state)
{
	assert_string_equal(config_engine_path("unix:///run/x"), "/run/x");
	assert_null(config_engine_path("unix://"));
	assert_null(config_engine_path("unix:/run/x"));
	assert_null(config_engine_path("/run/x"));
	assert_null(config_engine_path(""));
}

#define in_empty_dir(test) cmocka_unit_test_teardown(test, empty_dir)

static const char shop[] = "[container web]\nimage = r/web\nafter = api\nafter = db\n"
			   "[container api]\nimage = r/api\n"
			   "[container db]\nimage = r/db\n";

static void expect_order_fault(const char *more, const char *fault)
{
	_cleanup_free_ char *text = xasprintf("%s%s", shop, more);
	_cleanup_free_ char *expected = xasprintf("%s%s", in_dir("main.conf"), fault);
	struct config *c;
	struct error e;

	put("main.conf", text);
	assert_true(config_load(in_dir("main.conf"), &c, &e) < 0);
	assert_string_equal(e.text, expected);
}

static void test_after(void **state)
{
	struct dependency *d;
	struct config *c;

	put("main.conf", shop);
	c = load();
	assert_int_equal(config_dependencies(c, &d), 2);
	assert_true(d[0].node == 0 && d[0].before == 1 && d[1].node == 0 && d[1].before == 2);
	free(d);
	config_free(c);
	expect_order_fault("after = dbs\n", ":9: after: there is no [container dbs]");
	expect_order_fault("after = db\n", ":9: after: a circle: db, db");
	/* The line is of the first that is found in it, whichever closed it. */
	expect_order_fault("after = web\n", ":4: after: a circle: web, db, web");
	expect_order_fault("after = api\n[container api]\nafter = web\n",
			   ":3: after: a circle: web, api, web");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_empty_dir(test_defaults),
		in_empty_dir(test_everything),
		in_empty_dir(test_link),
		in_empty_dir(test_all_faults),
		in_empty_dir(test_refusals),
		in_empty_dir(test_lengths),
		in_empty_dir(test_files),
		in_empty_dir(test_drop_ins),
		in_empty_dir(test_credentials),
		in_empty_dir(test_drop_ins),
		in_empty_dir(test_keys),
		in_empty_dir(test_key_of_a_drop_in),
		in_empty_dir(test_keys_and_fingerprint),
		in_empty_dir(test_hub),
		in_empty_dir(test_lists),
		in_empty_dir(test_words),
		in_empty_dir(test_after),
		cmocka_unit_test(test_engine_path),
	};

	return cmocka_run_group_tests(tests, make_dir, close_scratch);
}
