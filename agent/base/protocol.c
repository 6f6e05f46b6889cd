/* SPDX-License-Identifier: MIT */
#include "protocol.h"

#include <errno.h>
#include <poll.h>

#include "result.h"

#define ERRNO_MAX	133
#define RETRY_AFTER_MAX (24 * 60 * 60)

/* One or more bytes into buf; waits until deadline. */
static ssize_t read_some(int fd, uint64_t deadline, char *buf, size_t n, struct error *ret_error)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	uint64_t now = now_ms();
	ssize_t got;
	int r;

	r = poll(&p, 1, now < deadline ? (int)(deadline - now) : 0);
	if (r == 0)
		return error_set(ret_error, -ETIMEDOUT, "no message came in time");
	got = r < 0 ? r : read(fd, buf, n);
	/* The programs only catch signals that ask them to exit. */
	if (got < 0 && errno == EINTR)
		return error_set(ret_error, -ECANCELED, "interrupted");
	if (got < 0 && errno != ECONNRESET)
		return error_set(ret_error, -errno, "cannot read a message: %m");
	if (got <= 0)
		return error_set(ret_error, -EPIPE, "the other side closed the connection");
	return got;
}

/* Reads until a line is whole; its length, newline included. */
static int read_line(struct protocol_reader *r, uint64_t deadline, size_t *ret,
		     struct error *ret_error)
{
	char *newline;
	ssize_t n;

	if (!r->buf)
		r->buf = xmalloc(PROTOCOL_LINE_MAX);
	newline = memchr(r->buf, '\n', r->len);
	while (!newline) {
		if (r->len == PROTOCOL_LINE_MAX)
			return error_set(ret_error, -EFBIG, "the message is over %zu bytes",
					 PROTOCOL_LINE_MAX);
		n = read_some(r->fd, deadline, r->buf + r->len, PROTOCOL_LINE_MAX - r->len,
			      ret_error);
		if (n < 0)
			return (int)n;
		newline = memchr(r->buf + r->len, '\n', (size_t)n);
		r->len += (size_t)n;
	}
	*ret = (size_t)(newline - r->buf) + 1;
	return 0;
}

int protocol_read(struct protocol_reader *r, uint64_t deadline, json_t **ret,
		  struct error *ret_error)
{
	_cleanup_json_ json_t *j = NULL;
	size_t n;
	int q = read_line(r, deadline, &n, ret_error);

	if (q < 0)
		return q;
	q = json_parse(r->buf, n, "message", &j, ret_error);
	r->len -= n;
	memmove(r->buf, r->buf + n, r->len);
	if (q < 0)
		return q;
	if (!json_is_object(j))
		return error_set(ret_error, -EBADMSG, "the message is not a JSON object");
	*ret = steal(j);
	return 0;
}

void protocol_reader_free(struct protocol_reader *r)
{
	free(r->buf);
	*r = (struct protocol_reader){.fd = r->fd};
}

char *protocol_line(const json_t *j)
{
	_cleanup_free_ char *text = json_text(j, JSON_COMPACT);

	return text && strlen(text) < PROTOCOL_LINE_MAX ? xasprintf("%s\n", text) : NULL;
}

int protocol_write(int fd, const json_t *j)
{
	_cleanup_free_ char *line = protocol_line(j);

	return line ? write_all(fd, line, strlen(line)) : -EFBIG;
}

json_t *protocol_error_to_json(const struct error *e, unsigned int retry_after_s)
{
	const char *name = strerrorname_np(-e->code);
	json_t *wait = retry_after_s > 0 ? json_need(json_integer(retry_after_s)) : NULL;

	return json_need(json_pack("{s:{s:s, s:o, s:o*}}", "error", "code", name ? name : "EIO",
				   "text", json_string_lossy(e->text), "retry-after", wait));
}

/* Only this process knows that it was stopped, which is no failure and is told nowhere. */
static int code_from_name(const char *name)
{
	for (int e = 1; name && e <= ERRNO_MAX; e++) {
		const char *known = strerrorname_np(e);

		if (known && streq(known, name))
			return e == ECANCELED ? -EIO : -e;
	}
	return -EIO;
}

/* A compromised network half can choose a code and a text, and nothing else: it knows nothing of the engine's store. */
int protocol_get_error(const json_t *j, unsigned int *ret_retry_after_s, struct error *ret_error)
{
	const json_t *error = json_object_get(j, "error");
	const char *text = json_get_string(error, "text");
	json_int_t wait = json_integer_value(json_object_get(error, "retry-after"));

	if (ret_retry_after_s)
		*ret_retry_after_s = wait <= 0		      ? 0
				     : wait < RETRY_AFTER_MAX ? (unsigned int)wait
							      : RETRY_AFTER_MAX;
	if (!error)
		return 0;
	return error_set(ret_error, code_from_name(json_get_string(error, "code")), "%s%s",
			 text && after_prefix(text, RESULT_STORE_DAMAGED) ? "pullet-fetch says: "
									  : "",
			 text ? text : "the network half failed without a reason");
}
