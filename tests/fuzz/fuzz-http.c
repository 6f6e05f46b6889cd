/* SPDX-License-Identifier: MIT */
/* Answers of an untrusted server, through the real libcurl. An input is a byte of flags and one answer, or two that
 * a NUL separates: what the first leaves behind must not change how the second is read. */
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "challenge.h"
#include "http.h"
#include "registry.h"

#define INPUT_MAX ((size_t)128 * 1024)
#define BODY_MAX  ((size_t)64 * 1024)

enum { FLAG_HEAD = 1, FLAG_STREAM = 2, FLAG_POST = 4 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint8_t answer[INPUT_MAX];
static size_t answer_len;
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static int listener = -1;

static void serve_one(int fd)
{
	static uint8_t copy[INPUT_MAX];
	char request[4096];
	size_t len = 0, left;
	const uint8_t *p = copy;
	ssize_t n;

	while (len < sizeof(request) - 1 &&
	       (n = read(fd, request + len, sizeof(request) - 1 - len)) > 0) {
		len += (size_t)n;
		request[len] = '\0';
		if (strstr(request, "\r\n\r\n"))
			break;
	}
	(void)pthread_mutex_lock(&lock);
	left = answer_len;
	memcpy(copy, answer, left);
	(void)pthread_mutex_unlock(&lock);
	for (; left > 0 && (n = send(fd, p, left, MSG_NOSIGNAL)) > 0; p += n)
		left -= (size_t)n;
	(void)shutdown(fd, SHUT_WR);
	close(fd);
}

static void *serve(void *userdata)
{
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd >= 0)
			serve_one(fd);
	}
	return userdata;
}

static void remove_socket(void)
{
	(void)unlink(address.sun_path);
}

static struct http *set_up(void)
{
	struct http_options options = {.unix_socket = address.sun_path};
	struct http *h = NULL;
	struct error e;
	pthread_t thread;

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/pullet-fuzz-http-%d",
		       (int)getpid());
	remove_socket();
	(void)atexit(remove_socket);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(listener, 16) < 0 || pthread_create(&thread, NULL, serve, NULL) != 0 ||
	    http_new(&options, &h, &e) < 0)
		abort();
	return h;
}

static int on_data(void *userdata, const char *data, size_t n)
{
	size_t *total = userdata;

	*total += n;
	return n > 0 && data[n - 1] == '!' ? -1 : 0;
}

static void check_response(const struct http_response *r)
{
	_cleanup_free_ char *asked = http_header_all(r, "WWW-Authenticate");
	_cleanup_free_ char *location = http_header(r, "Location"),
			    *message = token_error_message(r);
	struct challenge c;

	if (r->body_len > BODY_MAX || r->body[r->body_len] != '\0' || r->retry_after_s > 86400)
		abort();
	if ((asked && strlen(asked) > HTTP_HEADER_BYTES_MAX) ||
	    (location && strchr(location, '\n')))
		abort();
	challenge_parse(asked ? asked : "", &c);
	challenge_free(&c);
}

static void check_error(const struct error *e)
{
	if (e->code >= 0 || !e->text[0])
		abort();
	for (const char *p = e->text; *p; p++) {
		if (*p < 0x20 || *p > 0x7e)
			abort();
	}
}

static void request(struct http *h, uint8_t flags, const uint8_t *data, size_t n)
{
	size_t total = 0;
	struct http_request req = {
		.method = flags & FLAG_HEAD   ? "HEAD"
			  : flags & FLAG_POST ? "POST"
					      : "GET",
		.url = "http://engine/x",
		.body = flags & FLAG_POST ? "{}" : NULL,
		.body_max = BODY_MAX,
		.timeout_ms = 3000,
		.on_data = flags & FLAG_STREAM ? on_data : NULL,
		.userdata = &total,
	};
	struct http_response r = {0};
	struct error e = {0};

	(void)pthread_mutex_lock(&lock);
	memcpy(answer, data, n);
	answer_len = n;
	(void)pthread_mutex_unlock(&lock);
	if (http_perform(h, &req, &r, &e) < 0)
		check_error(&e);
	else
		check_response(&r);
	http_response_free(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct http *h;
	const uint8_t *middle;

	if (n < 2 || n > INPUT_MAX)
		return 0;
	if (!h)
		h = set_up();
	middle = memchr(data + 1, '\0', n - 1);
	if (middle)
		request(h, data[0], data + 1, (size_t)(middle - data - 1));
	else
		middle = data;
	request(h, data[0], middle + 1, (size_t)(data + n - middle - 1));
	return 0;
}
