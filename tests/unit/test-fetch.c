/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "fetch.h"
#include "json.h"
#include "protocol.h"
#include "test.h"

#define N 40

static char path[64];
static pid_t server;

static bool twice; /* each answer */

/* Both lines in one piece: the reader has the second when it has the first. */
static int write_twice(int fd, const json_t *j)
{
	_cleanup_free_ char *line = protocol_line(j), *both = xasprintf("%s%s", line, line);
	size_t n = strlen(both);

	return send(fd, both, n, MSG_NOSIGNAL) == (ssize_t)n ? 0 : -1;
}

/* Answers a batch of resolves with a digest that ends in the number of the image; "busy" is. */
static int answer_batch(struct protocol_reader *reader)
{
	char numbers[PROTOCOL_BATCH_MAX + 1][8];
	size_t n = 0;
	bool more = true;

	while (more) {
		json_t *j = NULL;
		struct error e;

		if (protocol_read(reader, now_ms() + 20000, &j, &e) < 0 || n == PROTOCOL_BATCH_MAX)
			return -1;
		copy_text(numbers[n++], sizeof(*numbers),
			  strchr(json_get_string(j, "image"), '/') + 1);
		more = json_is_true(json_object_get(j, "more"));
		json_decref(j);
	}
	for (size_t i = 0; i < n; i++) {
		struct error busy = {.code = -EBUSY, .text = "busy"};
		struct digest d = {"sha256:"};
		_cleanup_json_ json_t *j = NULL;

		(void)snprintf(d.text + 7, sizeof(d.text) - 7, "%064d", atoi(numbers[i]));
		j = streq(numbers[i], "busy") ? protocol_error_to_json(&busy, 7)
					      : message_resolved_to_json(&d);
		if ((twice ? write_twice(reader->fd, j) : protocol_write(reader->fd, j)) < 0)
			return -1;
	}
	return 0;
}

/* A server that hangs up after that many batches, and takes that many connections. */
static void serve(int batches, int connections)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(path, sizeof(path), "/tmp/pullet-test-fetch.%d", getpid());
	copy_text(address.sun_path, sizeof(address.sun_path), path);
	(void)unlink(path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 5), 0);
	server = fork();
	if (server > 0) {
		close(fd);
		return;
	}
	for (int c = 0; c < connections; c++) {
		struct protocol_reader reader = {.fd = accept(fd, NULL, NULL)};

		for (int b = 0; b < batches; b++) {
			if (answer_batch(&reader) < 0)
				_exit(1);
		}
		protocol_reader_free(&reader);
		close(reader.fd);
	}
	_exit(0);
}

static void assert_served(void)
{
	int status;

	assert_int_equal(waitpid(server, &status, 0), server);
	assert_int_equal(status, 0);
	(void)unlink(path);
}

static void assert_number(const struct fetch_resolved *r, int number)
{
	assert_int_equal(r->error.code, 0);
	assert_int_equal(atoi(r->digest.text + 7), number);
}

static void test_resolve_in_batches(void **state)
{
	struct fetch_options o = {.socket = path};
	struct fetch *f = fetch_new(&o, "r.io");
	char images[N][16];
	const char *list[N];
	struct fetch_resolved ret[N];
	struct error e = {0};

	serve(2, 1);
	for (int i = 0; i < N; i++) {
		(void)snprintf(images[i], sizeof(images[i]), i == 35 ? "r.io/busy" : "r.io/%d", i);
		list[i] = images[i];
	}
	assert_int_equal(fetch_resolve(f, list, N, ret, &e), 0);
	for (int i = 0; i < N; i++) {
		if (i != 35)
			assert_number(&ret[i], i);
	}
	assert_int_equal(ret[35].error.code, -EBUSY);
	assert_int_equal(ret[35].retry_after_s, 7);
	assert_string_equal(ret[35].error.text, "busy");
	fetch_free(f);
	assert_served();
}

/* The network half ends when nothing is asked for a while. */
static void test_connection_opened_again(void **state)
{
	struct fetch_options o = {.socket = path};
	struct fetch *f = fetch_new(&o, "r.io");
	struct fetch_resolved ret;
	struct error e = {0};

	serve(1, 3);
	for (int i = 1; i <= 3; i++) {
		const char *image = (const char *[]){"r.io/1", "r.io/2", "r.io/3"}[i - 1];

		assert_int_equal(fetch_resolve(f, &image, 1, &ret, &e), 0);
		assert_number(&ret, i);
	}
	fetch_free(f);
	assert_served();
}

/* The second answer to the first question is not taken for the answer to the second. */
static void test_an_answer_that_nobody_asked_for(void **state)
{
	struct fetch_options o = {.socket = path};
	struct fetch *f = fetch_new(&o, "r.io");
	const char *first = "r.io/1", *second = "r.io/2";
	struct fetch_resolved ret;
	struct error e = {0};

	twice = true;
	serve(1, 2);
	twice = false;
	assert_int_equal(fetch_resolve(f, &first, 1, &ret, &e), 0);
	assert_number(&ret, 1);
	assert_int_equal(fetch_resolve(f, &second, 1, &ret, &e), -EBADMSG);
	/* A new connection has nothing left of the old one. */
	assert_int_equal(fetch_resolve(f, &second, 1, &ret, &e), 0);
	assert_number(&ret, 2);
	fetch_free(f);
	assert_served();
}

static void test_pinned(void **state)
{
	static const char *const images[] = {
		"r.io/app@sha256:0000000000000000000000000000000000000000000000000000000000000001",
		"r.io/7"};
	struct fetch_options o = {.socket = path};
	struct fetch *f = fetch_new(&o, "r.io");
	struct fetch_resolved ret[2];
	struct error e = {0};

	serve(1, 1);
	assert_int_equal(fetch_resolve(f, images, 2, ret, &e), 0);
	assert_int_equal(ret[0].error.code, -EBADMSG); /* the server says 0 */
	assert_number(&ret[1], 7);
	fetch_free(f);
	assert_served();
}

static void test_no_answer(void **state)
{
	struct fetch_options o = {.socket = path};
	struct fetch *f = fetch_new(&o, "r.io");
	const char *image = "r.io/1";
	struct fetch_resolved ret;
	struct error e = {0};

	serve(0, 1);
	assert_int_equal(fetch_resolve(f, &image, 1, &ret, &e), -EPIPE);
	fetch_free(f);
	assert_served();
}

/* The programs find each other beside themselves: this one finds a pullet-fetch that never ends. */
static void test_child_that_hangs(void **state)
{
	static const char script[] =
		"#!/bin/sh\n"
		"trap '' TERM\n"
		"read -r line <&3\n"
		"echo '{\"digest\": \"sha256:0000000000000000000000000000000000"
		"000000000000000000000000000009\"}' >&3\n"
		"exec sleep 600 3>&-\n";
	struct fetch_options o = {.config = "/dev/null"};
	struct fetch *f = fetch_new(&o, "r.io");
	_cleanup_free_ char *program = NULL;
	const char *image = "r.io/9";
	struct fetch_resolved ret;
	struct error e = {0};
	char self[PATH_MAX] = "";
	FILE *file;

	assert_true(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
	*strrchr(self, '/') = '\0';
	program = xasprintf("%s/pullet-fetch", self);
	file = fopen(program, "we");
	assert_non_null(file);
	assert_true(fputs(script, file) >= 0);
	assert_int_equal(fchmod(fileno(file), 0700), 0);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(fetch_resolve(f, &image, 1, &ret, &e), 0);
	assert_number(&ret, 9);
	fetch_free(f); /* used to wait until the child ended */
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	(void)unlink(program);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_resolve_in_batches),
		cmocka_unit_test(test_connection_opened_again),
		cmocka_unit_test(test_an_answer_that_nobody_asked_for),
		cmocka_unit_test(test_pinned),
		cmocka_unit_test(test_no_answer),
		cmocka_unit_test(test_child_that_hangs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
