/* SPDX-License-Identifier: MIT */
#include "protocol.h"

#include <errno.h>
#include <poll.h>
#include <sys/param.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "result.h"

#define ERRNO_MAX	133
#define RETRY_AFTER_MAX (24 * 60 * 60)
#define SLICE_MS	1000 /* between two looks at *cancel, which a signal may set unseen */

int protocol_connect(const char *path, int flags, struct error *ret_error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

	if (strlen(path) >= sizeof(address.sun_path))
		return error_set(ret_error, -ENAMETOOLONG, "%s: path too long for a socket", path);
	memcpy(address.sun_path, path, strlen(path));
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return error_set(ret_error, -errno, "cannot connect to %s: %m", path);
	return steal_fd(&fd);
}

int wait_readable(int fd, uint64_t deadline, const volatile sig_atomic_t *cancel,
		  struct error *ret_error)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	uint64_t now = now_ms();
	int r = 0;

	do {
		if (cancel && *cancel)
			return error_set(ret_error, -ECANCELED, "interrupted");
		r = poll(&p, 1, now < deadline ? (int)MIN(deadline - now, SLICE_MS) : 0);
		/* Without cancel, the programs only catch signals that ask them to exit. */
		if (r < 0 && errno == EINTR && !cancel)
			return error_set(ret_error, -ECANCELED, "interrupted");
		if (r < 0 && errno != EINTR)
			return error_set(ret_error, -errno, "poll: %m");
		now = now_ms();
	} while (r <= 0 && now < deadline);
	return r > 0 ? 0 : error_set(ret_error, -ETIMEDOUT, "no message came in time");
}

/* Room for the descriptors of one message. */
union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(PROTOCOL_FDS_MAX * sizeof(int))];
};

void protocol_close_fds(struct protocol_reader *r)
{
	while (r->n_fds > 0)
		close(r->fds[--r->n_fds]);
}

/* Keeps the descriptors of m, and closes those that are too many. -EBADMSG. */
static int keep_fds(struct protocol_reader *r, struct msghdr *m, struct error *ret_error)
{
	const struct cmsghdr *c = CMSG_FIRSTHDR(m);
	size_t n = c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS
			   ? (c->cmsg_len - CMSG_LEN(0)) / sizeof(int)
			   : 0;
	bool valid = !(m->msg_flags & MSG_CTRUNC) && r->n_fds + n <= PROTOCOL_FDS_MAX;

	for (size_t i = 0; i < n; i++) {
		struct stat st;
		int fd;

		memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
		valid = valid && fstat(fd, &st) == 0 &&
			(S_ISREG(st.st_mode) ||
			 (S_ISFIFO(st.st_mode) && r->n_fds == PROTOCOL_FDS_MAX - 1));
		if (valid)
			r->fds[r->n_fds++] = fd;
		else
			close(fd);
	}
	return valid ? 0
		     : error_set(ret_error, -EBADMSG,
				 "a message may carry %d descriptors of files, the last of "
				 "them maybe of a pipe, and no others",
				 PROTOCOL_FDS_MAX);
}

/* As read(), with the descriptors that came beside the bytes. */
static ssize_t receive(struct protocol_reader *r, char *buf, size_t n, struct error *ret_error)
{
	struct iovec data = {.iov_base = buf, .iov_len = n};
	union control control;
	struct msghdr m = {.msg_iov = &data,
			   .msg_iovlen = 1,
			   .msg_control = &control,
			   .msg_controllen = sizeof(control)};
	ssize_t got = recvmsg(r->fd, &m, MSG_CMSG_CLOEXEC);

	if (got >= 0 && keep_fds(r, &m, ret_error) < 0) {
		errno = EBADMSG;
		return -1;
	}
	return got;
}

/* One or more bytes into buf; waits until deadline. */
static ssize_t read_some(struct protocol_reader *reader, uint64_t deadline, char *buf, size_t n,
			 struct error *ret_error)
{
	int r = wait_readable(reader->fd, deadline, reader->cancel, ret_error);
	ssize_t got;

	if (r < 0)
		return r;
	got = reader->takes_fds ? receive(reader, buf, n, ret_error) : read(reader->fd, buf, n);
	if (got < 0 && errno == EBADMSG)
		return -EBADMSG;
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
		n = read_some(r, deadline, r->buf + r->len, PROTOCOL_LINE_MAX - r->len, ret_error);
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
	protocol_close_fds(r);
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

int protocol_send(int fd, const json_t *j)
{
	return protocol_send_fds(fd, j, NULL, 0);
}

int protocol_send_fds(int fd, const json_t *j, const int *fds, size_t n_fds)
{
	_cleanup_free_ char *line = protocol_line(j);
	size_t len = line ? strlen(line) : 0;
	union control control = {.align = {.cmsg_level = SOL_SOCKET,
					   .cmsg_type = SCM_RIGHTS,
					   .cmsg_len = CMSG_LEN(n_fds * sizeof(*fds))}};

	if (!line || n_fds > PROTOCOL_FDS_MAX)
		return -EFBIG;
	if (n_fds > 0)
		memcpy(CMSG_DATA(&control.align), fds, n_fds * sizeof(*fds));
	for (size_t sent = 0; sent < len;) {
		struct iovec data = {.iov_base = line + sent, .iov_len = len - sent};
		struct msghdr m = {.msg_iov = &data, .msg_iovlen = 1};
		ssize_t n;

		if (sent == 0 && n_fds > 0) {
			m.msg_control = &control;
			m.msg_controllen = CMSG_SPACE(n_fds * sizeof(*fds));
		}
		n = sendmsg(fd, &m, MSG_NOSIGNAL);
		if (n < 0)
			return errno == EINTR ? -ECANCELED : -errno;
		sent += (size_t)n;
	}
	return 0;
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
