/* SPDX-License-Identifier: MIT */
/* pullet-fetch: the network half. Answers the requests of one caller to one registry until the caller hangs up. It has
 * no access to the engine, and it alone parses the bytes of a registry. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "log.h"
#include "options.h"
#include "protocol.h"
#include "session.h"

#define REQUEST_TIMEOUT_MS 10000u
#define USER		   "pullet-fetch"
#define CALLER		   STDIN_FILENO /* the socket */
#define CACHE_DIR	   "/run/pullet-fetch"
/* Keeps the process below 16 MB: libcurl takes 12, and a document 1. */
#define JSON_BUDGET ((size_t)1536 * 1024)

static volatile sig_atomic_t cancel;

static const char usage[] =
	"Usage: pullet-fetch [--config FILE] [--cache-dir DIR] [--fd N [--registry HOST] "
	"[--publish | --login | --operator]]\n"
	"Reads requests to one registry from a socket and writes a reply to each, until the\n"
	"other side closes it. systemd or another program of Pullet starts it.\n"
	"  --config FILE    default " CONFIG_PATH_DEFAULT "\n"
	"  --cache-dir DIR  a private directory in memory for tokens, TLS sessions and the "
	"traffic\n"
	"                   counter; default $RUNTIME_DIRECTORY, for a child of root\n"
	"                   " CACHE_DIR "\n"
	"  --fd N           use descriptor N, inherited from a parent, instead of 0; exit when\n"
	"                   the parent does; root becomes the user pullet-fetch, or nobody\n"
	"  --registry HOST  with --fd: the only registry; without it, that of the first\n"
	"                   request, or the collector of reports\n"
	"  --operator       may use the credentials of docker login; for pullet verify\n"
	"  --publish        the same, and may write rollout policies and deltas; for pullet\n"
	"                   rollout and pullet delta\n"
	"  --login          reads no credentials, and tries some; for pullet login\n"
	"  --help, --version\n";

static bool is_hung_up(void)
{
	struct pollfd p = {.fd = CALLER, .events = POLLRDHUP};

	return poll(&p, 1, 0) > 0;
}

/* SIGIO comes for a further request too, not only when the caller hangs up. */
static void on_signal(int signal)
{
	int e = errno;

	if (signal != SIGIO || is_hung_up()) {
		cancel = 1;
		/* A read that is about to begin would not see that. */
		(void)shutdown(CALLER, SHUT_RD);
	}
	errno = e;
}

static void catch_signals(void)
{
	struct sigaction end = {.sa_handler = on_signal}; /* no SA_RESTART: waiting must stop */

	(void)sigaction(SIGTERM, &end, NULL);
	(void)sigaction(SIGINT, &end, NULL);
	(void)sigaction(SIGIO, &end, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
}

/* Cancels the requests of a caller that has hung up. While requests are read, read() returns that. */
static void cancel_on_hangup(bool on)
{
	(void)fcntl(CALLER, F_SETOWN, getpid());
	(void)fcntl(CALLER, F_SETFL, on ? O_ASYNC : 0);
	if (on && is_hung_up())
		cancel = 1;
}

/* Reads the requests of a batch and returns their number; 0: the caller is done. */
static int read_batch(struct protocol_reader *reader, json_t **ret, struct error *ret_error)
{
	int n = 0, r;

	do {
		r = n < PROTOCOL_BATCH_MAX
			    ? protocol_read(reader, now_ms() + REQUEST_TIMEOUT_MS, &ret[n],
					    ret_error)
			    : error_set(ret_error, -E2BIG, "a batch has more than %d requests", n);
		n += r == 0;
	} while (r == 0 && json_is_true(json_object_get(ret[n - 1], "more")));
	if (r == 0)
		return n;
	/* Between two batches, an end or a timeout is no error. */
	if (n == 0 && reader->len == 0 && (r == -EPIPE || r == -ETIMEDOUT || r == -ECANCELED))
		return 0;
	for (int i = 0; i < n; i++)
		json_decref(ret[i]);
	return r;
}

/* Answers an invalid request; the connection ends then. */
static int refuse(const struct error *e)
{
	_cleanup_json_ json_t *answer = protocol_error_to_json(e, 0);

	return protocol_write(CALLER, answer);
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
		if (!s->sealed)
			cancel_on_hangup(false);
		protocol_close_fds(reader);
		for (int i = 0; i < n; i++) {
			if (r == 0)
				r = protocol_write(CALLER, answers[i]);
			json_decref(questions[i]);
			json_decref(answers[i]);
		}
		if (s->sealed)
			_exit(r < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
		if (r < 0 || cancel)
			return r;
	}
}

/* Makes the descriptor that a parent passed standard input. */
static int take_fd(const char *text)
{
	char *end;
	long fd = strtol(text, &end, 10);

	if (*text && !*end && fd >= 0 && fd <= INT_MAX && dup2((int)fd, CALLER) >= 0)
		return 0;
	log_error("--fd %s: not an open descriptor", text);
	return -EBADF;
}

static int change_user(const struct passwd *pw, struct error *ret_error)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};

	if (!pw)
		return error_set(ret_error, -ENOENT, "there is no user " USER " or nobody");
	if (setgroups(0, NULL) < 0 || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) < 0 ||
	    setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) < 0)
		return error_set(ret_error, -errno, "cannot become the user %s: %s", pw->pw_name,
				 strerror(errno));
	if (syscall(SYS_capset, &header, none) < 0)
		return error_set(ret_error, -errno, "cannot drop capabilities: %s",
				 strerror(errno));
	return 0;
}

/* Root becomes the user pullet-fetch, or nobody, without groups and capabilities. Sets no_new_privs, and makes the
 * process end with its parent. -ESRCH: parent has ended. */
static int drop_privileges(const struct passwd *pw, pid_t parent, struct error *ret_error)
{
	int r = geteuid() == 0 || getuid() == 0 ? change_user(pw, ret_error) : 0;

	if (r < 0)
		return r;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return error_set(ret_error, -errno, "no_new_privs: %s", strerror(errno));
	/* A change of the user clears this. */
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	return getppid() == parent ? 0 : error_set(ret_error, -ESRCH, "the parent has ended");
}

/* Reads the files with the privileges of the parent, then drops them. An error becomes the answer to a request. */
static int become_child(struct session *s, const char *registry, pid_t parent)
{
	struct error e;
	const struct passwd *pw = getpwnam(USER) ?: getpwnam("nobody");
	bool root = geteuid() == 0;
	int r;

	/* $RUNTIME_DIRECTORY is the parent's. */
	if (!s->cache_path && root)
		s->cache_path = CACHE_DIR;
	/* session.c does not use a directory of another user. An existing one is not changed. */
	if (s->cache_path && root && mkdir(s->cache_path, 0700) == 0 && pw)
		(void)!chown(s->cache_path, pw->pw_uid, pw->pw_gid);
	(void)!session_bind(s, registry ? registry : "", &e);
	s->asked = false;
	r = drop_privileges(pw, parent, &e);
	if (r < 0)
		(void)refuse(&e);
	return r;
}

int main(int argc, char **argv)
{
	struct session session = {.config_path = CONFIG_PATH_DEFAULT, .options.cancel = &cancel};
	const char *fd_text = NULL, *registry = NULL;
	const struct option_row rows[] = {{"config", &session.config_path, NULL},
					  {"cache-dir", &session.cache_path, NULL},
					  {"fd", &fd_text, NULL}, {"registry", &registry, NULL},
					  {"operator", NULL, &session.operator},
					   {"publish", NULL, &session.publishing},
					   {"login", NULL, &session.login},
					   {0}};
	struct protocol_reader reader = {.fd = CALLER, .takes_fds = true};
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
	(void)close_range(3, ~0U, 0);
	catch_signals();
	json_budget(JSON_BUDGET);
	session.caller = &reader;
	session.operator|= session.publishing || session.login;
	if (fd_text)
		r = become_child(&session, registry, parent);
	else if (!session.cache_path)
		session.cache_path = getenv("RUNTIME_DIRECTORY");
	if (r == 0)
		r = answer_all(&session, &reader);
	/* A cancelled request has no reader. */
	if (r < 0 && !cancel)
		log_error("cannot send the answer: %s", strerror(-r));
	protocol_reader_free(&reader);
	session_close(&session);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
