/* SPDX-License-Identifier: MIT */
#include "helper.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "fetch.h"
#include "log.h"
#include "program.h"
#include "protocol.h"

#define JOB_LIMIT_US	((uint64_t)24 * 3600 * 1000000) /* a slow link may take hours */
#define SURVEY_LIMIT_US ((uint64_t)120 * 1000000)	/* a client waits for it */
#define LATE_TEXT	"it did not end within its time limit"

/* 1: there may be more; -EAGAIN: none at the moment; -EPIPE: the end. The callback may change errno, so only the
 * return value counts. */
static int read_events(struct helper *h)
{
	struct error e;
	char buf[4096];
	ssize_t n = recv(h->fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return -EAGAIN;
	if (n <= 0)
		return -EPIPE;
	if (json_stream_push(&h->stream, buf, (size_t)n, h->on_object, h->userdata, &e) < 0)
		log_warning("invalid output from %s: %s", h->program, e.text);
	return 1;
}

static void clean_up(struct helper *h)
{
	json_stream_free(&h->stream);
	h->child = sd_event_source_unref(h->child);
	h->output = sd_event_source_unref(h->output);
	h->limit = sd_event_source_unref(h->limit);
	cleanup_close_p(&h->fd);
	h->fd = -1;
	h->pid = 0;
	h->running = false;
}

static void finish(struct helper *h, int exit_status, const char *how)
{
	struct error e;

	if (json_stream_end(&h->stream, h->on_object, h->userdata, &e) < 0)
		log_warning("invalid output from %s: %s", h->program, e.text);
	clean_up(h);
	h->on_end(h->userdata, exit_status, h->late ? LATE_TEXT : how);
}

static int on_output(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
	struct helper *h = userdata;

	if (read_events(h) != -EPIPE)
		return 0;
	(void)sd_event_source_set_enabled(s, SD_EVENT_OFF);
	if (h->pid == 0)
		finish(h, -1, "");
	return 0;
}

static int on_child(sd_event_source *s, const siginfo_t *si, void *userdata)
{
	struct helper *h = userdata;
	bool exited = si->si_code == CLD_EXITED;
	int status = si->si_status;
	_cleanup_free_ char *how =
		xasprintf(exited ? "exit status %d" : "killed by signal %d", status);

	/* All that it wrote is in the socket by now. */
	while (read_events(h) > 0)
		;
	finish(h, exited ? status : -1, how);
	return 0;
}

static int on_limit(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct helper *h = userdata;

	h->late = true;
	if (h->pid)
		(void)kill(h->pid, SIGKILL);
	else
		finish(h, -1, "");
	return 0;
}

/* To the socket's buffer, whole, so that neither end waits for the other. */
static int send_line(const struct helper *h, const char *line, struct error *ret_error)
{
	int size = (int)PROTOCOL_LINE_MAX;
	ssize_t n;

	(void)setsockopt(h->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	n = send(h->fd, line, strlen(line), MSG_NOSIGNAL | MSG_DONTWAIT);
	/* The end of a program that ended at once says more than this error. */
	if (n == (ssize_t)strlen(line) || (n < 0 && errno == EPIPE))
		return 0;
	return error_set(ret_error, -EIO, "%s: cannot send the request: %s", h->program,
			 n < 0 ? strerror(errno) : "the socket is full");
}

static int start_child(struct helper *h, const struct helper_options *o, struct error *ret_error)
{
	const char *argv[20] = {"pullet-update", "--config", o->config_path, "--state-dir",
				o->state_dir};
	size_t n = 5;

	if (o->engine) {
		argv[n++] = "--engine";
		argv[n++] = o->engine;
	}
	if (o->fetch_socket) {
		argv[n++] = "--fetch-socket";
		argv[n++] = o->fetch_socket;
	}
	if (o->unit_socket) {
		argv[n++] = "--unit-socket";
		argv[n++] = o->unit_socket;
	}
	if (o->debug)
		argv[n++] = "--debug";
	return program_spawn(argv, STDIN_FILENO, &h->pid, ret_error);
}

void helper_close(struct helper *h)
{
	if (h->pid) {
		(void)kill(h->pid, SIGKILL);
		(void)waitpid(h->pid, NULL, 0);
	}
	clean_up(h);
}

int helper_follow(struct helper *h, sd_event *event, const char *line, uint64_t limit_us,
		  struct error *ret_error)
{
	int r = send_line(h, line, ret_error);

	if (r < 0) {
		helper_close(h);
		return r;
	}
	h->running = true;
	h->late = false;
	r = sd_event_add_io(event, &h->output, h->fd, EPOLLIN, on_output, h);
	if (r >= 0 && h->pid)
		r = sd_event_add_child(event, &h->child, h->pid, WEXITED, on_child, h);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &h->limit, CLOCK_BOOTTIME, limit_us, 0,
					       on_limit, h);
	if (r >= 0)
		return 0;
	helper_close(h);
	return error_set(ret_error, r, "cannot watch %s: %s", h->program, strerror(-r));
}

int helper_start(struct helper *h, sd_event *event, const struct helper_options *o,
		 const struct job *job, struct error *ret_error)
{
	const struct fetch_options unit = {.socket = o->update_socket};
	json_t *names = json_need(json_array());
	_cleanup_json_ json_t *j = json_need(json_pack("{s:s, s:o, s:O*}", "operation",
						       operations[job->operation].name,
						       "containers", names, "hold", job->hold));
	_cleanup_free_ char *line = NULL;

	for (size_t i = 0; i < job->n; i++)
		json_append(names, json_string(job->members[i].name));
	line = protocol_line(j);
	if (!line)
		return error_set(ret_error, -EFBIG, "the job of %zu containers is too long",
				 job->n);
	h->fd = o->update_socket ? fetch_connect(&unit, &h->pid, ret_error)
				 : start_child(h, o, ret_error);
	return h->fd < 0 ? h->fd
			 : helper_follow(h, event, line,
					 job->operation == OPERATION_SURVEY ? SURVEY_LIMIT_US
									    : JOB_LIMIT_US,
					 ret_error);
}

void helper_stop(const struct helper *h)
{
	if (h->running)
		(void)shutdown(h->fd, SHUT_WR);
}
