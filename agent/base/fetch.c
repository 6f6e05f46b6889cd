/* SPDX-License-Identifier: MIT */
#include "fetch-internal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "program.h"
#include "protocol.h"

#define FETCH_FD       3
#define SEND_TIMEOUT_S 10
#define END_MS	       1000

static int start_child(const struct fetch_options *o, const char *host, pid_t *ret_pid,
		       struct error *ret_error)
{
	const char *argv[9] = {"pullet-fetch", "--config", o->config, "--fd", "3"};
	size_t n = 5;

	if (o->role)
		argv[n++] = o->role;
	if (host) {
		argv[n++] = "--registry";
		argv[n++] = host;
	}
	return program_spawn(argv, FETCH_FD, ret_pid, ret_error);
}

int fetch_connect(const struct fetch_options *o, pid_t *ret_pid, struct error *ret_error)
{
	*ret_pid = 0;
	return o->socket ? protocol_connect(o->socket, SOCK_NONBLOCK, ret_error)
			 : start_child(o, NULL, ret_pid, ret_error);
}

struct fetch *fetch_new(const struct fetch_options *o, const char *host)
{
	struct fetch *f = xcalloc(1, sizeof(*f));

	f->options = o;
	f->host = xstrdup(host);
	f->reader.fd = -1;
	return f;
}

/* A child that hangs must not block the caller. A signal ends the wait, as it asks the caller to exit. */
static void end_child(pid_t pid)
{
	_cleanup_close_ int fd = pidfd_open(pid, 0);
	struct pollfd p = {.fd = fd, .events = POLLIN};

	if (fd < 0 || poll(&p, 1, END_MS) <= 0) {
		(void)kill(pid, SIGKILL);
		(void)poll(&p, 1, END_MS);
	}
	(void)waitpid(pid, NULL, WNOHANG);
}

void fetch_hang_up(struct fetch *f)
{
	protocol_reader_free(&f->reader);
	cleanup_close_p(&f->reader.fd);
	f->reader.fd = -1;
	if (f->pid > 0)
		end_child(f->pid);
	f->pid = 0;
}

void fetch_free(struct fetch *f)
{
	if (!f)
		return;
	fetch_hang_up(f);
	free(f->host);
	free(f);
}

int fetch_open_session(struct fetch *f, struct error *ret_error)
{
	const struct timeval limit = {.tv_sec = SEND_TIMEOUT_S};

	f->reader.fd = f->options->socket ? protocol_connect(f->options->socket, 0, ret_error)
					  : start_child(f->options, f->host, &f->pid, ret_error);
	if (f->reader.fd < 0)
		return f->reader.fd;
	f->reader.cancel = f->options->cancel;
	(void)setsockopt(f->reader.fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	return 0;
}

bool fetch_has_more(const struct fetch *f)
{
	char byte;

	return f->reader.len > 0 ||
	       recv(f->reader.fd, &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT) > 0;
}

int fetch_read_reply(struct fetch *f, uint64_t deadline, json_t **ret, struct error *ret_error)
{
	int r = protocol_read(&f->reader, deadline, ret, ret_error);

	if (r == 0)
		message_get_traffic(*ret, &f->traffic);
	return r;
}

static int exchange(struct fetch *f, json_t *const *questions, size_t n, json_t **ret_answers,
		    struct error *ret_error)
{
	uint64_t deadline = now_ms() + FETCH_TIMEOUT_MS;
	int r = 0;

	/* It would be taken for the answer to another question. */
	if (fetch_has_more(f))
		return error_set(ret_error, -EBADMSG, "an answer came that nobody asked for");
	for (size_t i = 0; r == 0 && i < n; i++)
		r = protocol_send(f->reader.fd, questions[i]);
	if (r < 0)
		return error_set(ret_error, r, "%s", strerror(-r));
	for (size_t i = 0; r == 0 && i < n; i++)
		r = fetch_read_reply(f, deadline, &ret_answers[i], ret_error);
	return r;
}

/* One batch and its answers, which are NULL before; the caller owns them. */
static int ask(struct fetch *f, json_t *const *questions, size_t n, json_t **ret_answers,
	       struct error *ret_error)
{
	bool used = f->reader.fd >= 0;
	int r = used ? 0 : fetch_open_session(f, ret_error);

	if (r < 0)
		return r;
	r = exchange(f, questions, n, ret_answers, ret_error);
	if (r == 0)
		return 0;
	fetch_hang_up(f);
	for (size_t i = 0; i < n; i++)
		json_decref(steal(ret_answers[i]));
	/* The network half closes a connection that was idle: try once more, with a new one. */
	if (r == -EPIPE && used)
		return ask(f, questions, n, ret_answers, ret_error);
	return error_prefix(ret_error, "pullet-fetch");
}

static void take_resolved(const char *image, const json_t *answer, struct fetch_resolved *ret)
{
	if (message_resolved_from_json(answer, &ret->digest, &ret->retry_after_s, &ret->error) == 0)
		(void)!message_check_pinned(image, &ret->digest, &ret->error);
}

static int resolve_batch(struct fetch *f, const char *const *images, size_t n,
			 struct fetch_resolved *ret, struct error *ret_error)
{
	json_t *questions[PROTOCOL_BATCH_MAX], *answers[PROTOCOL_BATCH_MAX] = {NULL};
	int r;

	for (size_t i = 0; i < n; i++) {
		questions[i] = message_resolve_to_json(images[i]);
		if (i + 1 < n)
			json_put(questions[i], "more", json_true());
	}
	r = ask(f, questions, n, answers, ret_error);
	for (size_t i = 0; i < n; i++) {
		ret[i] = (struct fetch_resolved){0};
		if (r == 0)
			take_resolved(images[i], answers[i], &ret[i]);
		json_decref(questions[i]);
		json_decref(answers[i]);
	}
	return r;
}

int fetch_resolve(struct fetch *f, const char *const *images, size_t n, struct fetch_resolved *ret,
		  struct error *ret_error)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i += PROTOCOL_BATCH_MAX)
		r = resolve_batch(f, images + i,
				  n - i < PROTOCOL_BATCH_MAX ? n - i : PROTOCOL_BATCH_MAX, ret + i,
				  ret_error);
	return r;
}

int fetch_ask(struct fetch *f, const struct fetch_request *request, struct fetch_reply *ret,
	      struct error *ret_error)
{
	_cleanup_json_ json_t *question = message_request_to_json(request), *answer = NULL;
	int r = ask(f, &question, 1, &answer, ret_error);

	return r < 0 ? r : message_reply_from_json(answer, request, ret, ret_error);
}

void fetch_traffic(const struct fetch *f, struct traffic *ret)
{
	*ret = f->traffic;
}

int fetch_ask_rollout(struct fetch *f, const char *image, const char *ring, bool with_text,
		      struct rollout_reply *ret, struct error *ret_error)
{
	_cleanup_json_ json_t *question = message_rollout_request_to_json(image, ring, with_text),
			      *answer = NULL;
	int r = ask(f, &question, 1, &answer, ret_error);

	*ret = (struct rollout_reply){0};
	return r < 0 ? r : message_rollout_reply_from_json(answer, with_text, ret, ret_error);
}

int fetch_ask_signatures(struct fetch *f, const char *image, const struct digest *d,
			 enum signature_place place, struct signatures *ret,
			 struct error *ret_error)
{
	_cleanup_json_ json_t *question = message_signatures_request_to_json(image, d, place),
			      *answer = NULL;
	int r = ask(f, &question, 1, &answer, ret_error);

	*ret = (struct signatures){0};
	return r < 0 ? r : message_signatures_from_json(answer, ret, ret_error);
}

int fetch_ask_delta(struct fetch *f, const char *image, const struct digest *from,
		    const struct digest *to, struct fetch_delta *ret, struct error *ret_error)
{
	_cleanup_json_ json_t *question = message_delta_request_to_json(image, from, to),
			      *answer = NULL;
	int r = ask(f, &question, 1, &answer, ret_error);

	return r < 0 ? r : message_delta_from_json(answer, ret, ret_error);
}

int fetch_ask_publish(struct fetch *f, json_t *question, json_t **ret, struct error *ret_error)
{
	_cleanup_json_ json_t *answer = NULL;
	int r = ask(f, &question, 1, &answer, ret_error);

	if (r == 0)
		r = protocol_get_error(answer, NULL, ret_error);
	if (r == 0)
		*ret = steal(answer);
	return r;
}
