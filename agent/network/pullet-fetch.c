/* SPDX-License-Identifier: MIT */
/* pullet-fetch: the network half. Answers one caller's questions to one registry, until the caller hangs up. Reaches no
 * Docker socket; every byte of a registry is parsed here. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>

#include "answer.h"
#include "log.h"
#include "options.h"
#include "privilege.h"
#include "protocol.h"

#define REQUEST_TIMEOUT_MS 10000u
#define CACHE_DIR	   "/run/pullet-fetch"
/* With libcurl's 12 MB and a document it stays under the 16 MB that a helper may take. */
#define JSON_BUDGET ((size_t)1536 * 1024)

static volatile sig_atomic_t cancel;
static int caller = STDIN_FILENO; /* the socket */

static const char usage[] =
	"usage: pullet-fetch [--config FILE] [--cache-dir DIR] [--fd N [--registry HOST] "
	"[--publish]]\n"
	"Reads requests to one registry from a socket (descriptor N, default 0) and writes a "
	"reply\n"
	"to each, until the other side hangs up. Started by systemd or by pullet-update; not "
	"meant\n"
	"for people.\n"
	"  --config FILE    default " CONFIG_PATH_DEFAULT "\n"
	"  --cache-dir DIR  keeps tokens and TLS sessions there, a directory in memory that no "
	"other\n"
	"                   user may enter; default $RUNTIME_DIRECTORY; as a child of root\n"
	"                   " CACHE_DIR "; else they are not kept\n"
	"  --fd N           the socket, inherited from a parent; ends when the parent ends. Root\n"
	"                   becomes the user pullet-fetch, or nobody, before the first request\n"
	"  --registry HOST  the only registry to ask; without it: the collector of reports\n"
	"  --publish        also writes rollout policies; asked for by pullet rollout\n"
	"  --help, --version\n";

static bool is_hung_up(void)
{
	struct pollfd p = {.fd = caller, .events = POLLRDHUP};

	return poll(&p, 1, 0) > 0;
}

/* More questions may come while one is answered, and raise SIGIO as well as the end of the caller does. */
static void on_signal(int signal)
{
	int e = errno;

	if (signal != SIGIO || is_hung_up())
		cancel = 1;
	errno = e;
}

static void catch_signals(void)
{
	struct sigaction end = {.sa_handler = on_signal}; /* no SA_RESTART: waiting must stop */
	struct sigaction ignore = {.sa_handler = SIG_IGN};

	(void)sigaction(SIGTERM, &end, NULL);
	(void)sigaction(SIGINT, &end, NULL);
	(void)sigaction(SIGIO, &end, NULL);
	(void)sigaction(SIGPIPE, &ignore, NULL);
}

/* Once the caller has hung up nothing needs its answer. While requests are read, it is read that tells. */
static void cancel_on_hangup(bool on)
{
	(void)fcntl(caller, F_SETOWN, getpid());
	(void)fcntl(caller, F_SETFL, on ? O_ASYNC : 0);
	if (on && is_hung_up())
		cancel = 1;
}

/* The requests of a batch, the number of them; 0: the caller is done. */
static int read_batch(struct protocol_reader *reader, json_t **ret, struct error *ret_error)
{
	int n = 0, r;

	for (;;) {
		r = protocol_read(reader, REQUEST_TIMEOUT_MS, &ret[n], ret_error);
		if (r < 0)
			break;
		n++;
		if (!json_is_true(json_object_get(ret[n - 1], "more")))
			return n;
		if (n == PROTOCOL_BATCH_MAX) {
			r = error_set(ret_error, -E2BIG, "a batch has %d requests at most", n);
			break;
		}
	}
	/* The end, or a silence, between two batches. */
	if (n == 0 && reader->len == 0 && (r == -EPIPE || r == -ETIMEDOUT || r == -ECANCELED))
		return 0;
	for (int i = 0; i < n; i++)
		json_decref(ret[i]);
	return r;
}

/* What is no request gets one answer, and the connection ends. */
static int refuse(const struct error *e)
{
	_cleanup_json_ json_t *answer = protocol_error_to_json(e, 0);

	return protocol_write(caller, answer);
}

/* Answers batch after batch. -errno: an answer could not be sent. */
static int answer_all(struct session *s, struct protocol_reader *reader)
{
	for (;;) {
		json_t *questions[PROTOCOL_BATCH_MAX], *answers[PROTOCOL_BATCH_MAX];
		struct error error;
		int n = read_batch(reader, questions, &error), r = 0;

		if (n <= 0)
			return n < 0 ? refuse(&error) : 0;
		cancel_on_hangup(true);
		answer_batch(s, questions, (size_t)n, answers);
		cancel_on_hangup(false);
		for (int i = 0; i < n; i++) {
			if (r == 0)
				r = protocol_write(caller, answers[i]);
			json_decref(questions[i]);
			json_decref(answers[i]);
		}
		if (r < 0 || cancel)
			return r;
	}
}

/* The descriptor that a parent handed down; without that parent nobody wants the answer. */
static int take_fd(const char *text)
{
	char *end;
	long fd = strtol(text, &end, 10);

	if (!*text || *end || fd < 0 || fd > INT_MAX || fcntl((int)fd, F_GETFD) < 0) {
		log_error("--fd %s: not an open descriptor", text);
		return -EBADF;
	}
	caller = (int)fd;
	return 0;
}

/* All that needs the rights of the parent comes first. What failed is said when something is asked. */
static int become_child(struct session *s, const char *registry, pid_t parent)
{
	struct error e;
	bool root = geteuid() == 0;
	int r;

	/* $RUNTIME_DIRECTORY is the parent's. */
	if (!s->cache_path && root)
		s->cache_path = CACHE_DIR;
	if (s->cache_path && root)
		privilege_make_dir(s->cache_path);
	(void)!session_bind(s, registry ? registry : "", root, &e);
	r = privilege_drop(parent, &e);
	if (r < 0)
		(void)refuse(&e);
	return r;
}

int main(int argc, char **argv)
{
	struct session session = {.config_path = CONFIG_PATH_DEFAULT, .cancel = &cancel};
	const char *fd_text = NULL, *registry = NULL;
	const struct option_row rows[] = {{"config", &session.config_path, NULL},
					  {"cache-dir", &session.cache_path, NULL},
					  {"fd", &fd_text, NULL},
					  {"registry", &registry, NULL},
					  {"publish", NULL, &session.publishing},
					  {0}};
	struct protocol_reader reader = {0};
	pid_t parent = getppid();
	int first = options_parse(argc, argv, rows, usage), r = 0;

	if (first < 0)
		return -1 - first;
	if (first != argc) {
		(void)fputs(usage, stderr);
		return 2;
	}
	if (fd_text && take_fd(fd_text) < 0)
		return 2;
	privilege_close_others(caller);
	catch_signals();
	json_budget(JSON_BUDGET);
	if (fd_text)
		r = become_child(&session, registry, parent);
	else if (!session.cache_path)
		session.cache_path = getenv("RUNTIME_DIRECTORY");
	reader.fd = caller;
	if (r == 0)
		r = answer_all(&session, &reader);
	/* After a cancelled request the caller is gone. */
	if (r < 0 && !cancel)
		log_error("the answer could not be sent: %s", strerror(-r));
	protocol_reader_free(&reader);
	session_close(&session);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
