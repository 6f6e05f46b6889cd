/* SPDX-License-Identifier: MIT */
/* The Engine API against answers that a real engine does not give on demand. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "engine.h"
#include "test-socket.h"

#define ID "aaaaaaaaaaaaaaaa"

/* libc's, which this program has before it. */
static unsigned int n_sync, n_syncfs;
static dev_t synced[2];

void sync(void)
{
	n_sync++;
}

int syncfs(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	synced[n_syncfs++ % 2] = st.st_dev;
	return 0;
}

/* An answer to each request that has part in its first line. */
struct answer {
	const char *part;
	int status;
	const char *body;
};

static void serve_one(int fd, const struct answer *answers)
{
	static const struct answer version = {
		"/version", 200, "{\"ApiVersion\":\"1.44\",\"Arch\":\"amd64\",\"Os\":\"linux\"}"};
	static const struct answer unknown = {"", 500, "{\"message\":\"not in this test\"}"};
	const struct answer *a = answers;
	_cleanup_free_ char *head = NULL;
	char request[8192] = "";
	size_t len = 0;

	while (len < sizeof(request) - 1 && !strstr(request, "\r\n\r\n")) {
		ssize_t n = read(fd, request + len, sizeof(request) - 1 - len);

		if (n <= 0)
			return;
		request[len += (size_t)n] = '\0';
	}
	while (a->part && !strstr(request, a->part))
		a++;
	if (!a->part)
		a = strstr(request, "GET /version ") ? &version : &unknown;
	head = xasprintf("HTTP/1.1 %d x\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n",
			 a->status, strlen(a->body));
	(void)!write_all(fd, head, strlen(head));
	(void)!write_all(fd, a->body, strlen(a->body));
}

static pid_t serve(const struct answer *answers)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid > 0)
		return pid;
	(void)signal(SIGPIPE, SIG_IGN);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			_exit(0);
		serve_one(fd, answers);
		close(fd);
	}
}

static struct engine *open_engine(void)
{
	struct engine *e = NULL;
	struct error error;

	if (engine_open(path, NULL, &e, &error) < 0)
		fail_msg("%s", error.text);
	return e;
}

static void end(pid_t pid)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void test_ended_by_itself(void **state)
{
	static const char event[] = "{\"Type\":\"container\",\"Action\":\"die\"}\n";
	static const struct {
		struct answer answers[5];
		bool want;
	} cases[] = {
		{{{"stop", 200, ""}, {"die", 200, event}}, true},
		{{{"stop", 200, event}, {"label", 200, ""}, {"die", 200, event}}, false},
		/* docker kill --signal HUP, and a crash afterwards */
		{{{"stop", 200, event},
		  {"signal%3D1%22", 200, event},
		  {"label", 200, ""},
		  {"die", 200, event}},
		 true},
		{{{"stop", 200, ""}, {"die", 200, ""}, {"events", 200, ""}}, false},
		/* What is not known is not held against the release. */
		{{{"stop", 500, "{}"}, {"die", 200, event}}, false},
		{{{"stop", 200, ""}, {"die", 500, "{}"}, {"events", 500, "{}"}}, false},
	};

	static const enum ending endings[] = {ENDING_OWN,     ENDING_STOPPED, ENDING_OWN,
					      ENDING_UNKNOWN, ENDING_UNKNOWN, ENDING_UNKNOWN};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		pid_t pid = serve(cases[i].answers);
		_cleanup_engine_ struct engine *e = open_engine();

		if (engine_find_ending(e, ID, 1) != endings[i] ||
		    engine_ended_by_itself(e, ID, 1) != cases[i].want)
			fail_msg("case %zu", i);
		end(pid);
	}
}

/* An event carries the container's labels, and those are as large as anybody makes them. */
static void test_an_event_of_any_size(void **state)
{
	_cleanup_free_ char *labels = xcalloc(300001, 1);
	_cleanup_free_ char *event = NULL, *after = NULL;
	struct answer answers[] = {{"label", 200, ""}, {"/events", 200, NULL}, {0}};
	struct error error = {0};

	memset(labels, 'x', 300000);
	event = xasprintf("{\"Type\":\"container\",\"Action\":\"die\",\"Actor\":{\"ID\":\"" ID "\","
			  "\"Attributes\":{\"a\":\"%s\"}}}\n",
			  labels);
	after = xasprintf("%s{\"Type\":\"container\",\"Action\":\"start\"}\n", event);
	for (int i = 0; i < 2; i++) {
		struct engine *e;
		pid_t pid;

		answers[1].body = i ? after : event;
		pid = serve(answers);
		e = open_engine();
		if (engine_wait_event(e, ID, 1, 10000, &error) < 0)
			fail_msg("%s", error.text);
		assert_true(engine_ended_by_itself(e, ID, 1) == false);
		engine_close(e);
		end(pid);
	}
}

static void test_events_say_what_is_wrong(void **state)
{
	static const struct answer answers[] = {{"/events", 500, "{\"message\":\"no journal\"}"},
						{0}};
	pid_t pid = serve(answers);
	_cleanup_engine_ struct engine *e = open_engine();
	struct error error = {0};

	assert_int_equal(engine_wait_event(e, ID, 1, 10000, &error), -EIO);
	if (!strstr(error.text, "no journal"))
		fail_msg("%s", error.text);
	end(pid);
}

/* As the service's user, who may not read the engine's directory. */
static void sync_as_nobody(const struct answer *answers, unsigned int times)
{
	pid_t pid = serve(answers);
	_cleanup_engine_ struct engine *e = open_engine();

	n_sync = n_syncfs = 0;
	assert_true(geteuid() != 0 || seteuid(65534) == 0);
	while (times-- > 0)
		engine_sync(e);
	assert_true(getuid() != 0 || seteuid(0) == 0);
	end(pid);
}

static void test_sync_waits_for_the_engines_disk_alone(void **state)
{
	_cleanup_free_ char *root = xasprintf("%s/docker", scratch_path);
	_cleanup_free_ char *ours = xasprintf("{\"DockerRootDir\":\"%s\"}", root);
	struct answer answers[] = {{"/info", 200, ours}, {0}};
	struct stat st;

	assert_int_equal(chmod(scratch_path, 0755) | chmod(path, 0777) | mkdir(root, 0700), 0);
	sync_as_nobody(answers, 2);
	assert_int_equal(stat(scratch_path, &st), 0);
	assert_true(n_sync == 0 && n_syncfs == 4 && synced[0] == st.st_dev &&
		    synced[1] == st.st_dev);
	/* containerd's own directory is not known: nothing less than everything will do. */
	answers[0].body = "{\"DockerRootDir\":\"/\",\"DriverStatus\":"
			  "[[\"driver-type\",\"io.containerd.snapshotter.v1\"]]}";
	sync_as_nobody(answers, 1);
	assert_int_equal(n_sync, 1);
	answers[0].body = "{\"DockerRootDir\":\"/nowhere/docker\"}";
	sync_as_nobody(answers, 1);
	assert_int_equal(n_sync, 1);
	answers[0] = (struct answer){"/info", 500, "{}"};
	sync_as_nobody(answers, 1);
	assert_int_equal(n_sync, 1);
	assert_int_equal(rmdir(root), 0);
}

static void assert_log(const struct answer *answers, int expected, const char *lines,
		       const char *last)
{
	pid_t pid = serve(answers);
	_cleanup_engine_ struct engine *e = open_engine();
	_cleanup_json_ json_t *found = NULL;
	_cleanup_free_ char *text = NULL;
	char line[16] = "";

	assert_int_equal(engine_log(e, ID, &found, line, sizeof(line)), expected);
	text = json_text(found, JSON_COMPACT);
	assert_true(streq_null(text, lines));
	assert_string_equal(line, last);
	end(pid);
}

/* Lines of one stream may come behind later ones of the other; a tab is a space, other control characters are shown. */
static void test_the_last_lines_by_time(void **state)
{
	static const char mixed[] =
		"2026-01-01T00:00:02Z \ttwo \x1b[2J \xe2\x82\r\n2026-01-01T00:00:01Z one\n"
		"2026-01-01T00:00:04.5Z  \n\n2026-01-01T00:00:03Z three \"3\"";
	_cleanup_free_ char *large = xcalloc(1200001, 1);
	struct answer answers[] = {{"tail=50", 200, mixed}, {"tail=5 ", 200, "x y"}, {0}};

	assert_log(answers, 0, "[\"one\",\" two ?[2J ??\",\"three \\\"3\\\"\"]", "three \"3\"");
	/* Too large: fewer lines. */
	memset(large, 'x', 1200000);
	answers[0].body = large;
	assert_log(answers, 0, "[\"x y\"]", "x y");
	answers[0].body = "";
	assert_log(answers, 0, "[]", "");
	/* The driver cannot be read. */
	answers[0] = (struct answer){"tail=50", 501, "{\"message\":\"not supported\"}"};
	assert_log(answers, -EIO, NULL, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ended_by_itself),
		cmocka_unit_test(test_an_event_of_any_size),
		cmocka_unit_test(test_the_last_lines_by_time),
		cmocka_unit_test(test_sync_waits_for_the_engines_disk_alone),
		cmocka_unit_test(test_events_say_what_is_wrong),
	};

	return cmocka_run_group_tests(tests, open_listener, close_listener);
}
