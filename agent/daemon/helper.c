/* SPDX-License-Identifier: MIT */
#include "helper.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>

#include "log.h"
#include "program.h"

#define PASS_LIMIT_US ((uint64_t)24 * 3600 * 1000000) /* a stuck pass; a slow link may take hours */

/* False at the end of the stream. */
static bool read_pipe(struct helper *h)
{
	struct error e;
	char buf[4096];
	ssize_t n = read(h->pipe, buf, sizeof(buf));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	if (n <= 0)
		return false;
	if (json_stream_push(&h->stream, buf, (size_t)n, h->on_object, h->userdata, &e) < 0)
		log_warning("pullet-update said what cannot be understood: %s", e.text);
	return true;
}

static int on_output(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
	struct helper *h = userdata;

	(void)fd, (void)revents;
	if (!read_pipe(h))
		(void)sd_event_source_set_enabled(s, SD_EVENT_OFF);
	return 0;
}

static int on_limit(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct helper *h = userdata;

	(void)s, (void)usec;
	log_error("%s: the pass takes more than a day, ending it", h->name);
	(void)kill(h->pid, SIGKILL);
	return 0;
}

static void clean_up(struct helper *h)
{
	json_stream_free(&h->stream);
	h->child = sd_event_source_unref(h->child);
	h->output = sd_event_source_unref(h->output);
	h->limit = sd_event_source_unref(h->limit);
	close(h->pipe);
	h->pid = 0;
}

static int on_child(sd_event_source *s, const siginfo_t *si, void *userdata)
{
	struct helper *h = userdata;
	siginfo_t end = *si;
	struct error e;

	(void)s;
	/* All it wrote is in the pipe by now. */
	(void)fcntl(h->pipe, F_SETFL, O_NONBLOCK);
	while (errno = 0, read_pipe(h) && errno != EAGAIN)
		;
	(void)!json_stream_end(&h->stream, h->on_object, h->userdata, &e);
	clean_up(h);
	h->on_end(h->userdata, &end);
	return 0;
}

static int spawn(struct helper *h, const struct helper_options *o, const char *name,
		 enum operation operation, struct error *ret_error)
{
	_cleanup_free_ char *order = xasprintf("--%s", operation_name(operation));
	const char *argv[16] = {"pullet-update"};
	size_t n = 1;
	int fds[2], r;

	argv[n++] = "--config";
	argv[n++] = o->config_path;
	argv[n++] = "--state-dir";
	argv[n++] = o->state_dir;
	if (o->engine) {
		argv[n++] = "--engine";
		argv[n++] = o->engine;
	}
	if (o->fetch_socket) {
		argv[n++] = "--fetch-socket";
		argv[n++] = o->fetch_socket;
	}
	if (o->debug)
		argv[n++] = "--debug";
	argv[n++] = order;
	argv[n++] = name;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return error_set(ret_error, -errno, "pipe: %s", strerror(errno));
	r = program_spawn("pullet-update", argv, fds[1], STDOUT_FILENO, &h->pid, ret_error);
	close(fds[1]);
	if (r < 0) {
		close(fds[0]);
		h->pid = 0;
		return r;
	}
	h->pipe = fds[0];
	h->name = name;
	return 0;
}

int helper_start(struct helper *h, sd_event *event, const struct helper_options *o,
		 const char *name, enum operation operation, struct error *ret_error)
{
	int r = spawn(h, o, name, operation, ret_error);

	if (r < 0)
		return r;
	r = sd_event_add_child(event, &h->child, h->pid, WEXITED, on_child, h);
	if (r >= 0)
		r = sd_event_add_io(event, &h->output, h->pipe, EPOLLIN, on_output, h);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &h->limit, CLOCK_BOOTTIME, PASS_LIMIT_US, 0,
					       on_limit, h);
	if (r >= 0)
		return 0;
	(void)kill(h->pid, SIGKILL);
	(void)waitpid(h->pid, NULL, 0);
	clean_up(h);
	return error_set(ret_error, r, "cannot watch pullet-update: %s", strerror(-r));
}

void helper_stop(const struct helper *h)
{
	if (h->pid > 0)
		(void)kill(h->pid, SIGTERM);
}
