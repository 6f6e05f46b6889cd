/* SPDX-License-Identifier: MIT */
/* What goes over the wire, and what the answers become. Misbehaviour of whole registries is in
 * tests/system/test_fetch.py. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "http.h"
#include "test-socket.h"

/* Answers one connection in a child and hands what it was asked into *ret_pipe. */
static pid_t serve(const char *answer, const char *until, bool hold, int *ret_pipe)
{
	char request[8192];
	size_t len = 0;
	int fd, ends[2];
	pid_t pid;

	assert_int_equal(pipe(ends), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid > 0) {
		close(ends[1]);
		*ret_pipe = ends[0];
		return pid;
	}
	fd = accept(listener, NULL, NULL);
	while (len < sizeof(request) - 1) {
		ssize_t n = read(fd, request + len, sizeof(request) - 1 - len);

		if (n <= 0)
			break;
		len += (size_t)n;
		request[len] = '\0';
		if (strstr(request, until))
			break;
	}
	(void)!write(ends[1], request, len);
	close(ends[1]);
	if (answer)
		(void)!write_all(fd, answer, strlen(answer));
	if (hold)
		(void)!read(fd, request, 1);
	_exit(0);
}

static struct http *open_socket(const volatile sig_atomic_t *cancel)
{
	struct http_options options = {.unix_socket = path, .cancel = cancel};
	struct http *h = NULL;
	struct error e;

	assert_int_equal(http_new(&options, &h, &e), 0);
	return h;
}

#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

static void test_requests(void **state)
{
	static const char *const headers[] = {"Accept: text/x", "X-A: b", NULL};
	static const struct {
		struct http_request request;
		const char *until, *text;
	} cases[] = {
		{{.method = "GET", .url = "http://engine/v1.41/_ping"},
		 "\r\n\r\n",
		 "GET /v1.41/_ping HTTP/1.1\r\nHost: engine\r\nUser-Agent: pullet/" PULLET_VERSION
		 "\r\n\r\n"},
		{{.method = "GET", .url = "http://engine/x", .headers = headers},
		 "\r\n\r\n",
		 "GET /x HTTP/1.1\r\nHost: engine\r\nUser-Agent: pullet/" PULLET_VERSION
		 "\r\nAccept: text/x\r\nX-A: b\r\n\r\n"},
		{{.method = "POST", .url = "http://engine/x"},
		 "\r\n\r\n",
		 "POST /x HTTP/1.1\r\nHost: engine\r\nUser-Agent: pullet/" PULLET_VERSION
		 "\r\nContent-Length: 0\r\n\r\n"},
		{{.method = "POST", .url = "http://engine/x", .body = "{\"a\":1}"},
		 "{\"a\":1}",
		 "POST /x HTTP/1.1\r\nHost: engine\r\nUser-Agent: pullet/" PULLET_VERSION
		 "\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n{\"a\":1}"},
		{{.method = "POST",
		  .url = "http://engine/x",
		  .body = "a=b",
		  .content_type = "application/x-www-form-urlencoded"},
		 "a=b",
		 "POST /x HTTP/1.1\r\nHost: engine\r\nUser-Agent: pullet/" PULLET_VERSION
		 "\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\n\r\n"
		 "a=b"},
		{{.method = "DELETE", .url = "http://engine/x?force=1"},
		 "\r\n\r\n",
		 "DELETE /x?force=1 HTTP/1.1\r\nHost: engine\r\nUser-Agent: pullet/" PULLET_VERSION
		 "\r\n\r\n"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_http_ struct http *h = open_socket(NULL);
		_cleanup_http_response_ struct http_response r = {0};
		struct http_request request = cases[i].request;
		char seen[8192] = "";
		struct error e = {0};
		int from;
		pid_t pid = serve(OK, cases[i].until, false, &from);

		request.body_max = 2;
		if (http_perform(h, &request, &r, &e) < 0)
			fail_msg("%s", e.text);
		assert_int_equal(r.status, 200);
		assert_string_equal(r.body, "{}");
		assert_int_equal(r.body_len, 2);
		assert_true(read(from, seen, sizeof(seen) - 1) > 0);
		assert_string_equal(seen, cases[i].text);
		close(from);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
	}
}

static int collect(void *userdata, const char *data, size_t n)
{
	char *text = userdata;

	strncat(text, data, n);
	return strstr(text, "STOP") ? -EDOM : 0;
}

/* One GET against a canned answer. */
static int get(const char *answer, bool hold, struct http_request *request,
	       const volatile sig_atomic_t *cancel, struct http_response *ret, struct error *e)
{
	_cleanup_http_ struct http *h = open_socket(cancel);
	int from, r;
	pid_t pid = serve(answer, "\r\n\r\n", hold, &from);

	request->method = "GET";
	request->url = "http://engine/x";
	r = http_perform(h, request, ret, e);
	http_free(steal(h));
	close(from);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	return r;
}

static void test_answers(void **state)
{
	static const struct {
		const char *answer;
		int result;
		long status;
		const char *body;
	} cases[] = {
		{"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n12345678", 0, 200, "12345678"},
		{"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno", 0, 404, "no"},
		{"HTTP/1.1 204 Nothing\r\n\r\n", 0, 204, ""},
		{"HTTP/1.1 302 Go\r\nLocation: http://engine/y\r\nContent-Length: 0\r\n\r\n", 0,
		 302, ""},
		{"HTTP/1.1 100 Go on\r\n\r\n" OK, 0, 200, "{}"},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 0,
		 200, "{}"},
		{"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123456789", -EFBIG, 0, NULL},
		{"HTTP/1.1 200 OK\r\n\r\n123456789", -EFBIG, 0, NULL},
		{"HTTP/1.1 500 No\r\n\r\n123456789", -EFBIG, 0, NULL},
		{"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n1234", -ECONNRESET, 0, NULL},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", -ECONNRESET, 0,
		 NULL},
		{NULL, -ECONNRESET, 0, NULL},
		{"hello\r\n", -EPROTO, 0, NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct http_response r = {.status = 4711};
		struct http_request request = {.body_max = 8};
		struct error e = {0};
		int q = get(cases[i].answer, false, &request, NULL, &r, &e);

		if (q != cases[i].result)
			fail_msg("case %zu: %d %s", i, q, e.text);
		if (q < 0) {
			assert_int_equal(r.status, 4711);
			assert_non_null(strstr(e.text, path));
			continue;
		}
		assert_int_equal(r.status, cases[i].status);
		assert_string_equal(r.body, cases[i].body);
		http_response_free(&r);
	}
}

static void test_stream(void **state)
{
	char text[64] = "";
	struct http_request request = {.on_data = collect, .userdata = text, .body_max = 4};
	struct http_response r = {0};
	struct error e = {0};

	assert_int_equal(get("HTTP/1.1 200 OK\r\n\r\n123456789", false, &request, NULL, &r, &e), 0);
	assert_string_equal(text, "123456789");
	assert_string_equal(r.body, "");
	http_response_free(&r);
	/* An error's answer is collected, and bounded. */
	text[0] = '\0';
	assert_int_equal(get("HTTP/1.1 500 No\r\n\r\n1234", false, &request, NULL, &r, &e), 0);
	assert_string_equal(text, "");
	assert_string_equal(r.body, "1234");
	http_response_free(&r);
	assert_int_equal(get("HTTP/1.1 200 OK\r\n\r\n..STOP", true, &request, NULL, &r, &e), -EDOM);
}

static void test_headers(void **state)
{
	struct http_request request = {.body_max = 8};
	struct http_response r = {0};
	struct error e = {0};
	char *value;

	assert_int_equal(get("HTTP/1.1 103 Hints\r\nX-Old: 1\r\n\r\n"
			     "HTTP/1.1 200 OK\r\nX-A: \t one \r\nx-a:two\r\nX-Empty:\r\n"
			     "X-A-B: no\r\nContent-Length: 0\r\n\r\n",
			     false, &request, NULL, &r, &e),
			 0);
	assert_null(http_header(&r, "X-Old"));
	assert_null(http_header(&r, "X"));
	assert_null(http_header_all(&r, "X-Old"));
	value = http_header(&r, "x-A");
	assert_string_equal(value, "one");
	free(value);
	value = http_header_all(&r, "x-A");
	assert_string_equal(value, "one, two");
	free(value);
	value = http_header(&r, "X-Empty");
	assert_string_equal(value, "");
	free(value);
	http_response_free(&r);
}

static void test_retry_after(void **state)
{
	static const struct {
		const char *header;
		unsigned int low, high;
	} cases[] = {
		{"", 0, 0},
		{"Retry-After: 5\r\n", 5, 5},
		{"retry-after:\t 5 \r\n", 5, 5},
		{"Retry-After: 86401\r\n", 86400, 86400},
		{"Retry-After: -1\r\n", 0, 0},
		{"Retry-After:\r\n", 0, 0},
		{"Retry-After: soon\r\n", 0, 0},
		{"Retry-After: Fri, 31 Dec 2010 23:59:59 GMT\r\n", 0, 0},
		{"Retry-After: Thu, 31 Dec 2099 23:59:59 GMT\r\n", 86400, 86400},
		/* libcurl 7.88 reads 0, newer ones the largest number. */
		{"Retry-After: 99999999999999999999999999\r\n", 0, 86400},
		{"X-Retry-After: 5\r\n", 0, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *answer = xasprintf(
			"HTTP/1.1 429 Wait\r\nContent-Length: 0\r\n%s\r\n", cases[i].header);
		_cleanup_http_response_ struct http_response r = {0};
		struct http_request request = {.body_max = 8};
		struct error e = {0};

		assert_int_equal(get(answer, false, &request, NULL, &r, &e), 0);
		if (r.retry_after_s < cases[i].low || r.retry_after_s > cases[i].high)
			fail_msg("%s: %u", cases[i].header, r.retry_after_s);
	}
}

static void test_limits_of_time(void **state)
{
	struct http_request total = {.body_max = 8, .timeout_ms = 200};
	struct http_request stall = {.body_max = 8, .stall_s = 1, .stall_rate = 1};
	struct http_response r = {0};
	struct error e = {0};
	uint64_t start = now_ms();

	assert_int_equal(get(NULL, true, &total, NULL, &r, &e), -ETIMEDOUT);
	assert_true(now_ms() - start >= 190);
	assert_non_null(strstr(e.text, "timed out"));
	start = now_ms();
	assert_int_equal(get("HTTP/1.1 200 OK\r\n\r\n", true, &stall, NULL, &r, &e), -ETIMEDOUT);
	assert_true(now_ms() - start >= 900);
	assert_non_null(strstr(e.text, "Less than 1 bytes/sec transferred the last 1 seconds"));
}

static volatile sig_atomic_t cancel;

static void on_alarm(int signal)
{
	cancel = 1;
}

static void test_cancel(void **state)
{
	struct sigaction action = {.sa_handler = on_alarm}, old;
	struct http_request request = {.body_max = 8}; /* without an end of its own */
	struct http_response r = {0};
	struct error e = {0};

	assert_int_equal(sigaction(SIGALRM, &action, &old), 0);
	(void)alarm(1);
	assert_int_equal(get(NULL, true, &request, &cancel, &r, &e), -ECANCELED);
	assert_int_equal(sigaction(SIGALRM, &old, NULL), 0);
	cancel = 0;
}

static void test_nobody_there(void **state)
{
	struct http_options options = {.unix_socket = "/nonexistent/docker.sock"};
	struct http_request request = {.method = "GET", .url = "http://engine/", .body_max = 1};
	_cleanup_http_ struct http *h = NULL;
	struct http_response r;
	struct error e = {0};

	assert_int_equal(http_new(&options, &h, &e), 0);
	assert_int_equal(http_perform(h, &request, &r, &e), -ECONNREFUSED);
	assert_string_equal(e.text, "cannot connect to /nonexistent/docker.sock: No such file or "
				    "directory");
}

/* The same failure is the same text: told once, it is not written down again. */
static void test_no_times(void **state)
{
	struct http_options options = {.allow_plain = true};
	struct http_request request = {
		.method = "GET", .url = "http://127.0.0.1:1/", .body_max = 1};
	_cleanup_http_ struct http *h = NULL;
	struct http_response r;
	struct error e = {0};

	assert_int_equal(http_new(&options, &h, &e), 0);
	assert_true(http_perform(h, &request, &r, &e) < 0);
	assert_string_equal(e.text, "127.0.0.1:1: Failed to connect to 127.0.0.1 port 1: Couldn't "
				    "connect to server");
}

static void test_schemes(void **state)
{
	static const char *const urls[] = {"http://127.0.0.1:1/", "file:///etc/passwd",
					   "ftp://127.0.0.1:1/", "https://user:pw@127.0.0.1:1/",
					   "gopher://127.0.0.1:1/"};
	struct http_options options = {0};
	_cleanup_http_ struct http *h = NULL;
	struct error e = {0};

	assert_int_equal(http_new(&options, &h, &e), 0);
	for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
		struct http_request request = {.method = "GET", .url = urls[i], .body_max = 1};
		struct http_response r;

		if (http_perform(h, &request, &r, &e) != -EPROTO)
			fail_msg("%s: %s", urls[i], e.text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),     cmocka_unit_test(test_answers),
		cmocka_unit_test(test_stream),	     cmocka_unit_test(test_headers),
		cmocka_unit_test(test_retry_after),  cmocka_unit_test(test_limits_of_time),
		cmocka_unit_test(test_cancel),	     cmocka_unit_test(test_no_times),
		cmocka_unit_test(test_nobody_there), cmocka_unit_test(test_schemes),
	};

	return cmocka_run_group_tests(tests, open_listener, close_listener);
}
