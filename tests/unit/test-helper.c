/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "helper.h"
#include "test.h"

#define EVENTS 400 /* more than the reader takes at once, less than a socket's buffer */

struct seen {
	struct helper helper;
	sd_event *event;
	struct job_queue queue;
	int events, status;
	char last[64], how[64];
};

/* As a full bus does it to the caller. */
static int on_object(void *userdata, json_t *object)
{
	struct seen *s = userdata;

	s->events++;
	copy_text(s->last, sizeof(s->last), json_get_string(object, "event"));
	errno = EAGAIN;
	return 0;
}

static void on_end(void *userdata, int exit_status, const char *how)
{
	struct seen *s = userdata;

	s->status = exit_status;
	copy_text(s->how, sizeof(s->how), how);
	(void)sd_event_exit(s->event, 0);
}

static int set_up(void **state)
{
	struct seen *s = xcalloc(1, sizeof(*s));
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	s->helper = (struct helper){.program = "pullet-update",
				    .on_object = on_object,
				    .on_end = on_end,
				    .userdata = s,
				    .fd = -1};
	assert_true(sd_event_new(&s->event) >= 0);
	job_append(&s->queue, OPERATION_POLL, false, "app");
	job_add(s->queue.first, "db");
	*state = s;
	return 0;
}

static int tear_down(void **state)
{
	struct seen *s = *state;

	job_drop_first(&s->queue);
	sd_event_unref(s->event);
	free(s);
	return 0;
}

/* --- as a child: the program stands beside this one --- */

static void start_script(struct seen *s, const char *script)
{
	const struct helper_options o = {.config_path = "none", .state_dir = "none"};
	char self[PATH_MAX], *path;
	siginfo_t end;
	struct error e;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	FILE *f;

	assert_true(n > 0);
	self[n] = '\0';
	*strrchr(self, '/') = '\0';
	path = xasprintf("%s/pullet-update", self);
	f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f, "#!/bin/sh\nread -r job\n%s\n", script);
	assert_int_equal(fchmod(fileno(f), 0755), 0);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(helper_start(&s->helper, s->event, &o, s->queue.first, &e), 0);
	/* It has ended when the loop begins, and all it wrote is still in the socket. */
	assert_int_equal(waitid(P_PID, (id_t)s->helper.pid, &end, WEXITED | WNOWAIT), 0);
	unlink(path);
	free(path);
	assert_true(sd_event_loop(s->event) >= 0);
}

static void test_all_events_of_a_child_that_ended_are_read(void **state)
{
	struct seen *s = *state;

	/* In one piece: a full socket would keep the child waiting. */
	start_script(s, "i=0; out=; while [ $i -lt 399 ]; do "
			"out=\"$out{\\\"event\\\":\\\"progress\\\"}\n\";"
			" i=$((i + 1)); done; printf '%b{\"event\":\"result\"}\\n' \"$out\" >&0");
	assert_int_equal(s->events, EVENTS);
	assert_string_equal(s->last, "result");
	assert_int_equal(s->status, 0);
	assert_string_equal(s->how, "exit status 0");
}

static void test_the_end_of_a_child_is_told(void **state)
{
	struct seen *s = *state;

	start_script(s, "kill -9 $$");
	assert_int_equal(s->events, 0);
	assert_int_equal(s->status, -1);
	assert_string_equal(s->how, "killed by signal 9");
}

static void test_an_invalid_line_is_no_end(void **state)
{
	struct seen *s = *state;

	start_script(s, "echo nonsense >&0; exit 2");
	assert_int_equal(s->events, 0);
	assert_int_equal(s->status, 2);
}

static void test_the_job_is_one_line(void **state)
{
	struct seen *s = *state;

	start_script(s,
		     "[ \"$job\" = '{\"operation\":\"poll\",\"containers\":[\"app\",\"db\"]}' ]");
	assert_string_equal(s->how, "exit status 0");
}

/* --- as a unit behind a socket --- */

static int accept_job(struct seen *s, int *ret_listener)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct helper_options o = {.update_socket = address.sun_path};
	struct error e;
	char line[256];
	int fd, listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/test-helper-%d", getpid());
	(void)unlink(address.sun_path);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(helper_start(&s->helper, s->event, &o, s->queue.first, &e), 0);
	(void)unlink(address.sun_path);
	fd = accept(listener, NULL, NULL);
	assert_true(fd >= 0 && read(fd, line, sizeof(line)) > 0);
	*ret_listener = listener;
	return fd;
}

static void test_the_end_of_a_unit_is_the_end_of_its_stream(void **state)
{
	struct seen *s = *state;
	int listener, fd = accept_job(s, &listener);
	char text[EVENTS * 16] = "";

	assert_int_equal(s->helper.pid, 0);
	for (int i = 0; i < EVENTS; i++)
		strcat(text, "{\"event\":\"n\"}\n");
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	assert_true(sd_event_loop(s->event) >= 0);
	assert_int_equal(s->events, EVENTS);
	assert_int_equal(s->status, -1);
	assert_string_equal(s->how, "");
	assert_false(s->helper.running);
	close(listener);
}

static void test_stopping_closes_one_direction(void **state)
{
	struct seen *s = *state;
	char c;
	int listener, fd = accept_job(s, &listener);

	helper_stop(&s->helper);
	assert_int_equal(read(fd, &c, 1), 0);
	/* The other one is open for the result. */
	dprintf(fd, "{\"event\":\"result\"}\n");
	close(fd);
	assert_true(sd_event_loop(s->event) >= 0);
	assert_string_equal(s->last, "result");
	close(listener);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_all_events_of_a_child_that_ended_are_read),
		TEST(test_the_end_of_a_child_is_told),
		TEST(test_an_invalid_line_is_no_end),
		TEST(test_the_job_is_one_line),
		TEST(test_the_end_of_a_unit_is_the_end_of_its_stream),
		TEST(test_stopping_closes_one_direction),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
