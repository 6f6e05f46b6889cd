/* SPDX-License-Identifier: MIT */
#include "answers.h"

#include <errno.h>
#include <stdio.h>
#include <strings.h>
#include <sys/param.h>

#include "crypto.h"
#include "tls-session.h"

struct http {
	struct tls_session *session;
};

static struct {
	const uint8_t *data, *next;
	size_t n, requests;
	bool again;
	void (*on_request)(const struct http_request *request);
} answers;

/* One answer; it and its parts are NUL-terminated. */
struct answer {
	char *text, *headers, *body;
	size_t body_len, piece;
	int code;
	long status;
};

void answers_begin(const uint8_t *data, size_t n, bool again,
		   void (*on_request)(const struct http_request *request))
{
	answers.data = answers.next = data;
	answers.n = n;
	answers.requests = 0;
	answers.again = again;
	answers.on_request = on_request;
}

int answers_open_engine(char letter, const uint8_t *data, size_t n, struct engine **ret,
			struct error *ret_error)
{
	static const char docker[] =
		"200\n\n{\"ApiVersion\":\"1.41\",\"Version\":\"20.10.24\","
		"\"MinAPIVersion\":\"1.12\",\"Os\":\"linux\",\"Arch\":\"arm\"}",
			  newest[] =
				  "200\n\n{\"ApiVersion\":\"1.51\",\"Version\":\"28.5.1\","
				  "\"MinAPIVersion\":\"1.24\",\"Os\":\"linux\",\"Arch\":\"arm64\"}",
			  podman[] = "200\n\n{\"ApiVersion\":\"1.41\",\"Version\":\"5.4.2\",\"Os\":"
				     "\"linux\",\"Arch\":\"arm64\",\"Components\":[{\"Name\":"
				     "\"Podman Engine\",\"Version\":\"5.4.2\"}]}";
	const char *version = letter == 'd'   ? docker
			      : letter == 'm' ? newest
			      : letter == 'p' ? podman
					      : NULL;
	int r;

	answers_begin(version ? (const uint8_t *)version : data, version ? strlen(version) : n,
		      false, NULL);
	r = engine_open("/run/docker.sock", NULL, ret, ret_error);
	if (version)
		answers_begin(data, n, false, NULL);
	return r;
}

char *answers_take_line(const uint8_t **data, size_t *n)
{
	const uint8_t *end = memchr(*data, '\n', *n);
	size_t len = end ? (size_t)(end - *data) : *n;
	char *line = xstrndup((const char *)*data, len);

	len += end != NULL;
	*data += len;
	*n -= len;
	return line;
}

void answers_check_text(const char *text)
{
	_cleanup_free_ char *printable = text_printable(xstrdup(text));

	if (!streq(printable, text))
		abort();
}

void answers_check_error(const struct error *e, int code)
{
	if (code >= 0 || e->code != code || !e->text[0])
		abort();
	answers_check_text(e->text);
}

/* Cuts text behind its first line that ends with separator, and returns what follows. */
static char *cut(char *text, const char *separator)
{
	char *end = strstr(text, separator);

	if (!end)
		return text + strlen(text);
	*end = '\0';
	return end + strlen(separator);
}

/* The text up to the next form feed, which *at is moved behind. */
static char *take_text(const uint8_t **at, size_t *ret_n)
{
	const uint8_t *end = answers.data + answers.n;
	const uint8_t *feed = memchr(*at, '\f', (size_t)(end - *at));
	size_t n = (size_t)((feed ? feed : end) - *at);
	char *text = xmalloc(n + 1);

	memcpy(text, *at, n);
	text[n] = '\0';
	*at = feed ? feed + 1 : end;
	*ret_n = n;
	return text;
}

static struct answer next_answer(void)
{
	const uint8_t *end = answers.data + answers.n, *at = answers.data;
	struct answer a = {0};
	size_t n;

	if (answers.next == end && answers.again)
		answers.next = answers.data;
	a.text = take_text(&answers.next, &n);
	for (unsigned long i = a.text[0] == '=' ? strtoul(a.text + 1, NULL, 10) + 1 : 0;
	     i > 0 && at < end; i--) {
		free(a.text);
		a.text = take_text(&at, &n);
	}
	(void)sscanf(a.text, "%5ld %6zu %5d", &a.status, &a.piece, &a.code);
	/* The empty line is the first one or follows the headers. */
	a.headers = cut(a.text, "\n");
	a.body = a.headers[0] == '\n' ? a.headers + 1 : cut(a.headers, "\n\n");
	if (a.body == a.headers + 1)
		a.headers[0] = '\0';
	a.body_len = n - (size_t)(a.body - a.text);
	return a;
}

struct digest answers_next_digest(void)
{
	const uint8_t *next = answers.next;
	struct answer a = next_answer();
	struct digest d = hash_bytes(a.body, a.body_len);

	answers.next = next;
	free(a.text);
	return d;
}

int answers_next_json(json_t **ret, struct error *ret_error)
{
	struct answer a = next_answer();
	int r = a.status >= 200 ? json_parse(a.body, a.body_len, "answer", ret, ret_error)
				: error_set(ret_error, -EPIPE, "no answer");

	free(a.text);
	return r;
}

int http_new(const struct http_options *options, struct http **ret, struct error *ret_error)
{
	*ret = xcalloc(1, sizeof(**ret));
	(*ret)->session = options->session;
	return 0;
}

void http_free(struct http *h)
{
	if (h && h->session)
		tls_session_close(h->session, false);
	free(h);
}

void http_cap(struct http *h, uint64_t speed)
{
}

static int stream(const struct http_request *req, const struct answer *a)
{
	const struct http_response head = {.status = a->status, .handle = a->headers};
	size_t piece = a->piece ? a->piece : a->body_len;
	int r = req->on_begin && a->body_len > 0 ? req->on_begin(req->userdata, &head) : 0;

	for (size_t i = 0; r >= 0 && i < a->body_len; i += piece) {
		size_t n = MIN(piece, a->body_len - i);
		/* Nothing behind it, so that a sanitizer sees one byte too far. */
		_cleanup_free_ char *exact = xmalloc(n);

		memcpy(exact, a->body + i, n);
		r = req->on_data(req->userdata, exact, n);
	}
	return r < 0 ? r : 0;
}

/* As libcurl reads a body that is streamed. */
static int take_body(const struct http_request *req)
{
	char piece[700];
	uint64_t at = 0;
	ssize_t n = 1;

	while (n > 0 && at <= req->send_size) {
		n = req->on_send(req->userdata, at, piece, sizeof(piece));
		at += n > 0 ? (uint64_t)n : 0;
	}
	if (n == 0 && at != req->send_size)
		abort();
	return n < 0 ? (int)n : 0;
}

/* What no request may have, whatever the caller was told before. */
static void check_request(const struct http_request *req)
{
	answers.requests += answers.again || answers.next == answers.data + answers.n;
	if (answers.requests > ANSWERS_REQUESTS_MAX)
		abort();
	if (!req->to == !req->url || (req->url && strpbrk(req->url, " \r\n\t#")))
		abort();
	for (const char *const *h = req->headers; h && *h; h++) {
		if (strpbrk(*h, "\r\n"))
			abort();
	}
	if (answers.on_request)
		answers.on_request(req);
}

int http_perform(struct http *h, const struct http_request *req, struct http_response *ret,
		 struct error *ret_error)
{
	_cleanup_free_ char *text = NULL, *wait = NULL;
	struct http_response r = {0};
	struct answer a;
	int code = 0;

	check_request(req);
	*ret = r;
	a = next_answer();
	text = a.text;
	if (a.status < 200 || a.status > 599)
		return error_set(ret_error, -ECONNREFUSED, "no server");
	if (req->on_send)
		code = take_body(req);
	if (code == 0 && req->on_data && a.status < 300)
		code = stream(req, &a);
	else if (!streq(req->method, "HEAD"))
		r.body_len = a.body_len;
	if (code == 0 && r.body_len > req->body_max)
		code = -EFBIG;
	if (code == 0 && a.code < 0 && a.code > -134)
		code = a.code;
	if (code < 0)
		return error_set(ret_error, code, "the transfer failed");
	r.status = a.status;
	r.handle = xstrdup(a.headers);
	r.body = xmalloc(r.body_len + 1);
	memcpy(r.body, a.body, r.body_len);
	r.body[r.body_len] = '\0';
	wait = http_header(&r, "Retry-After");
	r.retry_after_s = wait ? (unsigned int)(strtoul(wait, NULL, 10) % 86401) : 0;
	*ret = r;
	return 0;
}

void http_perform_all(struct http *h, const struct http_request *reqs, size_t n,
		      struct http_result *ret)
{
	for (size_t i = 0; i < n; i++) {
		ret[i] = (struct http_result){0};
		(void)!http_perform(h, &reqs[i], &ret[i].response, &ret[i].error);
	}
}

void http_response_free(struct http_response *r)
{
	free(r->body);
	free(r->handle);
	*r = (struct http_response){0};
}

/* The value of the header in the line; NULL: it is another's. */
static char *value_of(const char *line, size_t n, const char *name)
{
	size_t len = strlen(name);

	if (n <= len || line[len] != ':' || strncasecmp(line, name, len) != 0)
		return NULL;
	for (len++; len < n && (line[len] == ' ' || line[len] == '\t'); len++)
		;
	while (n > len && strchr(" \t\r", line[n - 1]))
		n--;
	return xstrndup(line + len, n - len);
}

static char *find_header(const struct http_response *r, const char *name, bool all)
{
	const char *line = r->handle ? r->handle : "";
	char *found = NULL;

	for (size_t n = strcspn(line, "\n"); *line && (all || !found); n = strcspn(line, "\n")) {
		_cleanup_free_ char *value = value_of(line, n, name);

		if (value && found) {
			_cleanup_free_ char *before = found;

			found = xasprintf("%s, %s", before, value);
		} else if (value) {
			found = steal(value);
		}
		line += n + (line[n] == '\n');
	}
	return found;
}

char *http_header(const struct http_response *r, const char *name)
{
	return find_header(r, name, false);
}

char *http_header_all(const struct http_response *r, const char *name)
{
	return find_header(r, name, true);
}
