/* SPDX-License-Identifier: MIT */
/* pullet-update: the engine half. Does one job, for one container or a poll for many; reaches Docker, never the
 * network. The job is on the command line, or one line on standard input:
 *   {"operation":"update","containers":["NAME",...]}
 * and for a hold "hold":{"until":UNIX TIME,"reason":TEXT,"by":TEXT,"uid":NUMBER}, the sender, if "by" does not name it.
 * Events go to standard output, or back over standard input where that is a socket, one JSON object a line:
 *   {"event":"phase","container":NAME,"phase":PHASE,"digest":DIGEST,"version":TEXT}
 *   {"event":"step","container":NAME,"step":TEXT,"began_ms":TIME,"ms":N}   operation.h; of now_ms(), or 0
 *   {"event":"progress","container":NAME,"current":BYTES,"total":BYTES}
 *   {"event":"log","container":NAME,"digest":DIGEST,"lines":[LINE,...]}   the last ones of a version that failed
 *   {"event":"retry-after","registry":HOST,"seconds":N}    or "container":NAME, of that registry
 *   {"event":"unfollowed",...}                             of a poll: survey.h, as the events of a survey
 * and for each container of the job one of
 *   {"event":"result",...}                                 result.h
 *   {"event":"candidate","container":NAME}                 of several: needs a pass of its own, by
 *                                                          "operation":"update", or "look" or "check";
 *                                                          "to":DIGEST, as far as it is known; "after":[NAME,...],
 *                                                          the candidates whose updates come before
 *   {"event":"order","fault":TEXT}                         labels are ignored, since they make a circle
 *   {"event":"nothing","container":NAME}                   there was nothing to finish
 * The job doctor is of no container; doctor.h has its events. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/time.h>

#include "bulk-poll.h"
#include "doctor.h"
#include "forget.h"
#include "log.h"
#include "options.h"
#include "pass.h"
#include "survey.h"
#include "unit-start.h"
#include "verify-image.h"

/* Create bodies are copies beside it; the program itself takes 11 MB. */
#define JSON_BUDGET	((size_t)3 * 1024 * 1024)
#define JOB_TIMEOUT_MS	10000
#define JOB_NAMES_MAX	1024
#define LOCK_TIMEOUT_MS ((uint64_t)10 * 60 * 1000)

static volatile sig_atomic_t cancelled;
static int events = STDOUT_FILENO; /* a socket, if the job came over one */
static bool failed;

static void on_signal(int number)
{
	cancelled = 1;
}

/* poll(2) is safe in a handler. */
static void on_socket(int number)
{
	struct pollfd p = {.fd = events, .events = POLLRDHUP};
	int before = errno;

	if (poll(&p, 1, 0) > 0)
		cancelled = 1;
	errno = before;
}

static void catch_signals(void)
{
	struct sigaction action = {.sa_handler = on_signal};

	(void)sigaction(SIGTERM, &action, NULL);
	(void)sigaction(SIGINT, &action, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
}

/* From here on, a peer that hangs up or shuts down its direction cancels the job. The socket moves to another
 * descriptor, which children do not inherit. */
static int take_socket(struct error *ret_error)
{
	struct sigaction action = {.sa_handler = on_socket};
	int fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (fd < 0 || null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
		return error_set(ret_error, -errno, "job: cannot take over the socket: %s",
				 strerror(errno));
	events = fd;
	(void)sigaction(SIGIO, &action, NULL);
	(void)fcntl(fd, F_SETOWN, getpid());
	(void)fcntl(fd, F_SETFL, O_ASYNC);
	on_socket(SIGIO); /* for a hang-up before the handler was set */
	return 0;
}

static void print_event(json_t *event)
{
	/* The job goes on without a reader. */
	(void)!protocol_write(events, event);
	json_decref(event);
}

static void print_result(const struct result *r)
{
	json_t *event = result_to_json(r);

	json_put(event, "event", json_string("result"));
	failed |= result_is_bad(event);
	print_event(event);
}

static const char usage[] =
	"Usage: pullet-update [OPTION]... NAME\n"
	"       pullet-update [OPTION]... --poll|--check NAME...\n"
	"       pullet-update [OPTION]... --verify IMAGE\n"
	"       pullet-update [OPTION]... < JOB\n"
	"Updates the container NAME; pulletd starts it.\n\n"
	"  --config FILE        configuration (" CONFIG_PATH_DEFAULT ")\n"
	"  --state-dir DIR      records (" CONFIG_STATE_DIR_DEFAULT ")\n"
	"  --engine URL         Docker socket, unix:///PATH\n"
	"  --fetch-socket PATH  connect to pullet-fetch there, do not start it\n"
	"  --unit-socket PATH   ask for units of hooks there (" UNIT_SOCKET_DEFAULT ")\n"
	"An update that is under way is finished first. Instead of an update:\n"
	"  --finish             nothing more\n"
	"  --now                the same past windows, min-age, speed and budget\n"
	"  --check              look for a new image and take nothing\n"
	"  --poll               find the containers whose image may be new\n"
	"  --survey             find the containers that are not followed\n"
	"  --rollback           back to the previous image\n"
	"  --hold, --release    take no updates until released\n"
	"  --retry              forget the rejected digests\n"
	"  --doctor             ask all that an update needs, of no NAME\n"
	"  --forget             forget containers that are not configured\n"
	"  --verify IMAGE       who has signed it, and whether it may run here\n"
	"  --platform PLATFORM  with --verify: on another machine\n\n"
	"  --debug              log each action\n"
	"  --help, --version\n";

struct arguments {
	struct fetch_options fetch; /* its config is ours, too */
	const char *state_dir, *engine, *unit_socket, *verify, *platform;
	bool wanted[OPERATION_MAX], debug;
};

struct job {
	enum operation operation;
	const char *names[JOB_NAMES_MAX];
	size_t n;
	struct hold hold;
	json_t *line; /* has the names, or NULL */
};

/* --- the lock --- */

/* The process that holds the lock; 0: unknown. The line of a process that waits has another form. */
static int find_holder_pid(const struct stat *st)
{
	FILE *f = fopen("/proc/locks", "re");
	unsigned int dev_major, dev_minor;
	unsigned long long inode;
	char line[256];
	int pid = 0, found = 0;

	while (f && !found && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%*d: FLOCK %*s %*s %d %x:%x:%llu", &pid, &dev_major, &dev_minor,
			   &inode) == 4 &&
		    dev_major == major(st->st_dev) && dev_minor == minor(st->st_dev) &&
		    inode == st->st_ino)
			found = pid;
	}
	if (f)
		(void)fclose(f);
	return found;
}

/* "process 123 (pulletd)", as far as /proc tells. Caller frees. */
static char *find_holder(int fd)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int comm = -1;
	char name[32] = "";
	struct stat st;
	int pid = fstat(fd, &st) == 0 ? find_holder_pid(&st) : 0;

	if (pid <= 0)
		return xstrdup("another process");
	path = xasprintf("/proc/%d/comm", pid);
	comm = open(path, O_RDONLY | O_CLOEXEC);
	if (comm < 0 || read(comm, name, sizeof(name) - 1) <= 0)
		return xasprintf("process %d", pid);
	return xasprintf("process %d (%.*s)", pid, (int)strcspn(name, "\n"), name);
}

/* The signal only interrupts flock(2). */
static void on_alarm(int number)
{
}

/* cancelled ends the wait. It may be set right before flock(2) sleeps, so a timer interrupts that every second. */
static int wait_for_lock(int fd, const char *path, struct error *ret_error)
{
	const struct sigaction alarm = {.sa_handler = on_alarm};
	const struct itimerval tick = {{1, 0}, {1, 0}}, off = {0};
	uint64_t until = now_ms() + LOCK_TIMEOUT_MS;
	_cleanup_free_ char *holder = find_holder(fd);
	int r;

	log_info("waiting for %s, which has locked %s", holder, path);
	(void)sigaction(SIGALRM, &alarm, NULL);
	(void)setitimer(ITIMER_REAL, &tick, NULL);
	do {
		r = flock(fd, LOCK_EX) < 0 ? -errno : 0;
	} while (r == -EINTR && !cancelled && now_ms() < until);
	(void)setitimer(ITIMER_REAL, &off, NULL);
	if (r == -EINTR && cancelled)
		return error_set(ret_error, -ECANCELED, "stopped while it waited for a lock");
	if (r == -EINTR)
		return error_set(ret_error, -EBUSY,
				 "%s has been locked by %s for %u minutes; if that process is "
				 "stopped, continue or kill it",
				 path, holder, (unsigned int)(LOCK_TIMEOUT_MS / 60000));
	return r < 0 ? error_set(ret_error, r, "%s: %s", path, strerror(-r)) : 0;
}

/* Opens the directory, creates it if need be, and locks it, so that one job at a time runs on a device. Returns its
 * descriptor, whose close releases the lock. -EBUSY after ten minutes; -ECANCELED when the job is cancelled. */
static int lock_state_dir(const char *path, struct error *ret_error)
{
	_cleanup_close_ int fd = -1;
	int r = 0;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return error_set(ret_error, -errno, "%s: %s", path, strerror(errno));
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return error_set(ret_error, -errno, "%s: %s", path, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		r = wait_for_lock(fd, path, ret_error);
	return r < 0 ? r : steal_fd(&fd);
}

/* --- the job --- */

/* 1 if an option chooses the operation; 0: none does. */
static int choose_operation(const bool wanted[OPERATION_MAX], enum operation *ret,
			    struct error *ret_error)
{
	bool chosen = false;

	for (int i = 0; i < OPERATION_MAX; i++) {
		if (!wanted[i])
			continue;
		if (chosen)
			return error_set(ret_error, -EINVAL,
					 "options --%s and --%s are mutually exclusive; see --help",
					 operations[*ret].name, operations[i].name);
		*ret = (enum operation)i;
		chosen = true;
	}
	return chosen;
}

static void read_hold(const json_t *j, struct hold *ret)
{
	json_t *uid = json_object_get(j, "uid");
	json_int_t until = json_integer_value(json_object_get(j, "until"));
	const struct passwd *user =
		json_is_integer(uid) ? getpwuid((uid_t)json_integer_value(uid)) : NULL;

	ret->until_s = until > 0 ? until : 0;
	copy_text(ret->reason, sizeof(ret->reason), json_get_string(j, "reason"));
	copy_text(ret->by, sizeof(ret->by),
		  json_get_string(j, "by") ?: (user ? user->pw_name : NULL));
	if (json_is_integer(uid) && !ret->by[0])
		(void)snprintf(ret->by, sizeof(ret->by), "uid %lld",
			       (long long)json_integer_value(uid));
	(void)text_printable(ret->reason);
	(void)text_printable(ret->by);
}

static int read_job(struct job *ret, struct error *ret_error)
{
	const json_t *names, *name;
	size_t i;
	struct protocol_reader reader = {.fd = STDIN_FILENO, .cancel = &cancelled};
	int r = protocol_read(&reader, now_ms() + JOB_TIMEOUT_MS, &ret->line, ret_error);

	protocol_reader_free(&reader);
	if (r < 0)
		return error_prefix(ret_error, "job");
	names = json_object_get(ret->line, "containers");
	if (operation_from_name(json_get_string(ret->line, "operation"), &ret->operation) < 0 ||
	    json_array_size(names) > JOB_NAMES_MAX)
		return error_set(ret_error, -EBADMSG,
				 "job: missing or invalid operation or containers");
	read_hold(json_object_get(ret->line, "hold"), &ret->hold);
	json_array_foreach (names, i, name) {
		if (!json_is_string(name))
			return error_set(ret_error, -EBADMSG, "job: a container is not a string");
		ret->names[ret->n++] = json_string_value(name);
	}
	return 0;
}

static void fail(const char *name, const char *image, const struct error *e)
{
	struct result r = {.container = name, .image = image, .downtime_ms = -1};

	result_set_error(&r, e);
	print_result(&r);
}

/* Fails all containers of the job: its configuration is wrong. Exit status. */
static int fail_all(const struct job *job, const struct error *e)
{
	log_error("%s", e->text);
	if (job->operation == OPERATION_SURVEY)
		print_event(json_pack("{s:s, s:s}", "event", "surveyed", "error", e->text));
	for (size_t i = 0; i < job->n; i++)
		fail(job->names[i], "", e);
	return 2;
}

/* Those that the configuration has. A section may have been removed since pulletd read it: that fails no other one. */
static size_t find_containers(const struct arguments *a, const struct config *config,
			      const struct job *job, const struct container_config **ret)
{
	struct error e;
	size_t n = 0;

	for (size_t i = 0; i < job->n; i++) {
		ret[n] = config_container(config, job->names[i]);
		if (ret[n]) {
			n++;
			continue;
		}
		(void)error_set(&e, -ENOENT, "%s has no [container %s]", a->fetch.config,
				job->names[i]);
		log_error("%s", e.text);
		fail(job->names[i], "", &e);
	}
	return n;
}

/* Exit status. */
static int forget_all(struct task *task, const char *path, const struct job *job)
{
	_cleanup_close_ int state_dir = -1;
	struct result result;
	struct error e;

	task->state_dir = state_dir = lock_state_dir(path, &e);
	for (size_t i = 0; i < job->n; i++) {
		if (state_dir < 0) {
			fail(job->names[i], "", &e);
			continue;
		}
		forget_run(task, job->names[i], &result);
		print_result(&result);
	}
	return failed;
}

static int run(const struct arguments *a, const struct job *job)
{
	_cleanup_config_ struct config *config = NULL;
	_cleanup_free_ const struct container_config **containers =
		xcalloc(job->n, sizeof(*containers));
	struct error e;
	_cleanup_close_ int state_dir = -1;
	struct task task = {
		.fetch = a->fetch,
		.unit_socket = a->unit_socket,
		.operation = job->operation,
		.hold = job->hold,
		.cancel = &cancelled,
		.on_event = print_event,
		.on_result = print_result,
	};
	struct result result;
	size_t n;
	int r = 0;

	if (config_load(a->fetch.config, &config, &e) < 0)
		return fail_all(job, &e);
	if (a->engine)
		replace_string(&config->engine, config_engine_path(a->engine));
	task.config = config;
	if (job->operation == OPERATION_DOCTOR) {
		task.state_dir = state_dir = open(a->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		doctor_run(&task);
		return 0;
	}
	if (job->operation == OPERATION_FORGET)
		return forget_all(&task, a->state_dir, job);
	if (job->operation == OPERATION_SURVEY) {
		survey_run(&task);
		return 0;
	}
	n = find_containers(a, config, job, containers);
	if (n == 0)
		return 2;
	task.state_dir = state_dir = lock_state_dir(a->state_dir, &e);
	if (state_dir < 0) {
		r = state_dir;
	} else if (operations[job->operation].takes_many &&
		   (n > 1 || job->operation == OPERATION_POLL)) {
		r = bulk_poll_run(&task, containers, n, &e);
	} else {
		pass_run(&task, containers[0], &result);
		if (result.outcome == OUTCOME_NONE)
			print_event(json_pack("{s:s, s:s}", "event", "nothing", "container",
					      result.container));
		else
			print_result(&result);
	}
	for (size_t i = 0; r < 0 && i < n; i++)
		fail(containers[i]->name, containers[i]->image, &e);
	return n < job->n ? 2 : failed ? 1 : 0;
}

static int take_job(const struct arguments *a, char **names, struct job *ret,
		    struct error *ret_error)
{
	struct stat st;
	int r = choose_operation(a->wanted, &ret->operation, ret_error);

	for (; *names && ret->n < JOB_NAMES_MAX; names++)
		ret->names[ret->n++] = *names;
	if (r == 0 && ret->n == 0 && !isatty(STDIN_FILENO)) {
		r = read_job(ret, ret_error);
		if (r == 0 && fstat(STDIN_FILENO, &st) == 0 && S_ISSOCK(st.st_mode))
			r = take_socket(ret_error);
	}
	if (r < 0)
		return r;
	if (ret->n == 0 && ret->operation != OPERATION_DOCTOR && ret->operation != OPERATION_SURVEY)
		return error_set(ret_error, -EINVAL, "missing operand NAME");
	if (ret->n > 1 && !operations[ret->operation].takes_many)
		return error_set(ret_error, -EINVAL, "extra operand '%s'", ret->names[1]);
	return 0;
}

/* No job, for it needs no lock, and whoever may ask for jobs by the socket names no images. Exit status. */
static int verify(const struct arguments *a, const char *operand)
{
	struct verify_image v = {.fetch = a->fetch,
				 .state_dir = a->state_dir,
				 .image = a->verify,
				 .platform = a->platform};

	for (size_t i = 0; i < OPERATION_MAX; i++) {
		if (a->wanted[i])
			operand = operations[i].name;
	}
	if (operand) {
		log_error("option --verify takes one IMAGE and nothing else, not '%s'; see --help",
			  operand);
		return 2;
	}
	v.fetch.role = "--operator";
	return verify_image_run(&v);
}

int main(int argc, char **argv)
{
	struct arguments a = {.fetch = {.config = CONFIG_PATH_DEFAULT, .cancel = &cancelled},
			      .state_dir = CONFIG_STATE_DIR_DEFAULT,
			      .unit_socket = UNIT_SOCKET_DEFAULT};
	static struct job job;
	struct error e;
	struct option_row rows[9 + OPERATION_MAX] = {
		{"config", &a.fetch.config, NULL}, {"state-dir", &a.state_dir, NULL},
		{"engine", &a.engine, NULL},	   {"fetch-socket", &a.fetch.socket, NULL},
		{"debug", NULL, &a.debug},	   {"unit-socket", &a.unit_socket, NULL},
		{"verify", &a.verify, NULL},	   {"platform", &a.platform, NULL},
	};
	int first, status = 2;

	for (int i = 0; i < OPERATION_MAX; i++)
		rows[8 + i] = (struct option_row){
			i == OPERATION_UPDATE_NOW ? "now" : operations[i].name, NULL, &a.wanted[i]};
	first = options_parse(argc, argv, rows, usage);
	if (first < 0)
		return -1 - first;
	if (a.debug)
		log_set_level(LOG_LEVEL_DEBUG);
	json_budget(JSON_BUDGET);
	catch_signals();
	if (a.engine && !config_engine_path(a.engine))
		log_error("--engine: '%s' is not of the form unix:///PATH", a.engine);
	else if (a.verify)
		status = verify(&a, argv[first]);
	else if (take_job(&a, argv + first, &job, &e) < 0)
		log_error("%s", e.text);
	else
		status = run(&a, &job);
	json_decref(job.line);
	return status;
}
