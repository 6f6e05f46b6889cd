/* SPDX-License-Identifier: MIT */
#include "fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "program.h"

#define FETCH_FD	 3
#define FETCH_TIMEOUT_MS (5u * 60 * 1000) /* its own limits are shorter */

struct fetch {
	const struct fetch_options *options;
	char *host;
};

struct fetch *fetch_new(const struct fetch_options *o, const char *host)
{
	struct fetch *f = xcalloc(1, sizeof(*f));

	f->options = o;
	f->host = xstrdup(host);
	return f;
}

void fetch_free(struct fetch *f)
{
	if (f)
		free(f->host);
	free(f);
}

static int connect_to(const char *path, int flags, struct error *ret_error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

	if (strlen(path) >= sizeof(address.sun_path))
		return error_set(ret_error, -ENAMETOOLONG, "%s: path too long for a socket", path);
	memcpy(address.sun_path, path, strlen(path));
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return error_set(ret_error, -errno, "cannot connect to %s: %s", path,
				 strerror(errno));
	return steal_fd(&fd);
}

static int start_child(const struct fetch_options *o, pid_t *ret_pid, struct error *ret_error)
{
	const char *argv[] = {"pullet-fetch",
			      "--config",
			      o->config,
			      "--fd",
			      "3",
			      o->publish ? "--publish" : NULL,
			      NULL};
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return error_set(ret_error, -errno, "socketpair: %s", strerror(errno));
	/* dup2 onto itself would leave close-on-exec set. */
	if (pair[1] == FETCH_FD) {
		int swap = pair[0];

		pair[0] = pair[1];
		pair[1] = swap;
	}
	r = program_spawn("pullet-fetch", argv, pair[1], FETCH_FD, ret_pid, ret_error);
	close(pair[1]);
	if (r < 0) {
		close(pair[0]);
		return r;
	}
	return pair[0];
}

int fetch_connect(const struct fetch_options *o, pid_t *ret_pid, struct error *ret_error)
{
	int fd;

	*ret_pid = 0;
	if (o->socket)
		return connect_to(o->socket, SOCK_NONBLOCK, ret_error);
	fd = start_child(o, ret_pid, ret_error);
	if (fd >= 0)
		(void)fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

static int exchange(int fd, const json_t *question, json_t **ret_answer, struct error *ret_error)
{
	int r = protocol_write(fd, question);

	if (r < 0)
		return error_set(ret_error, r, "pullet-fetch: %s", strerror(-r));
	r = protocol_read(fd, FETCH_TIMEOUT_MS, ret_answer, ret_error);
	return r < 0 ? error_prefix(ret_error, "pullet-fetch") : 0;
}

static int ask(const struct fetch_options *o, const json_t *question, json_t **ret_answer,
	       struct error *ret_error)
{
	pid_t pid = -1;
	int fd = o->socket ? connect_to(o->socket, 0, ret_error) : start_child(o, &pid, ret_error);
	int r;

	if (fd < 0)
		return fd;
	r = exchange(fd, question, ret_answer, ret_error);
	close(fd);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return r;
}

int fetch_ask(struct fetch *f, const struct fetch_request *request, struct fetch_reply *ret,
	      struct error *ret_error)
{
	_cleanup_json_ json_t *question = protocol_request_to_json(request), *answer = NULL;
	int r = ask(f->options, question, &answer, ret_error);

	return r < 0 ? r : protocol_reply_from_json(answer, ret, ret_error);
}

int fetch_ask_rollout(struct fetch *f, const struct rollout_request *request,
		      struct rollout_reply *ret, struct error *ret_error)
{
	_cleanup_json_ json_t *question = protocol_rollout_request_to_json(request), *answer = NULL;
	int r = ask(f->options, question, &answer, ret_error);

	return r < 0 ? r : protocol_rollout_reply_from_json(answer, ret, ret_error);
}

int fetch_ask_publish(struct fetch *f, const json_t *question, json_t **ret,
		      struct error *ret_error)
{
	_cleanup_json_ json_t *answer = NULL;
	int r = ask(f->options, question, &answer, ret_error);

	if (r == 0)
		r = protocol_check_error(answer, ret_error);
	if (r == 0)
		*ret = steal(answer);
	return r;
}
