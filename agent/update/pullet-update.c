/* SPDX-License-Identifier: MIT */
/* pullet-update: the engine half. One pass for one container; events and the result go to standard
 * output, one JSON object a line. Started by pulletd; reaches Docker, never the network. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "log.h"
#include "options.h"
#include "pass.h"

#define JSON_BUDGET ((size_t)6 * 1024 * 1024)

static volatile sig_atomic_t cancelled;

static void on_signal(int number)
{
	(void)number;
	cancelled = 1;
}

static void watch_signals(void)
{
	struct sigaction action = {.sa_handler = on_signal};

	(void)sigaction(SIGTERM, &action, NULL);
	(void)sigaction(SIGINT, &action, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	/* Without the daemon nobody listens: come to rest. */
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
}

static void print_event(json_t *event)
{
	/* A reader that went away changes nothing of what is to be done. */
	(void)!protocol_write(STDOUT_FILENO, event);
}

static const char usage[] = "Usage: pullet-update [OPTION]... NAME\n"
			    "One update pass for the container NAME; pulletd starts it.\n\n"
			    "  --config FILE        configuration (" CONFIG_PATH_DEFAULT ")\n"
			    "  --state-dir DIR      records (" CONFIG_STATE_DIR_DEFAULT ")\n"
			    "  --engine URL         Docker socket, unix:///PATH\n"
			    "  --fetch-socket PATH  ask the pullet-fetch that listens there\n"
			    "What is under way is finished first. Instead of an update:\n"
			    "  --finish             nothing more\n"
			    "  --check              look for news and take nothing\n"
			    "  --rollback           back to the version before\n"
			    "  --hold, --release    take no updates until released\n"
			    "  --retry              forget what was rejected\n\n"
			    "  --debug              tell each action\n"
			    "  --help, --version\n";

/* Opens, makes if need be, and locks the state directory: one pass at a time on a device. */
static int open_state_dir(const char *path, struct error *ret_error)
{
	_cleanup_close_ int fd = -1;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return error_set(ret_error, -errno, "%s: %s", path, strerror(errno));
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return error_set(ret_error, -errno, "%s: %s", path, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		log_info("waiting for another pass to end (%s is locked)", path);
		if (flock(fd, LOCK_EX) < 0)
			return error_set(ret_error, errno == EINTR ? -ECANCELED : -errno, "%s: %s",
					 path, strerror(errno));
	}
	return steal_fd(&fd);
}

struct arguments {
	const char *config, *state_dir, *engine, *fetch_socket, *name;
	bool wanted[OPERATION_MAX], debug;
};

static int choose_operation(const bool wanted[OPERATION_MAX], enum operation *ret)
{
	int n = 0;

	*ret = OPERATION_UPDATE;
	for (int i = 0; i < OPERATION_MAX; i++) {
		if (wanted[i])
			*ret = (enum operation)i;
		n += wanted[i];
	}
	if (n > 1)
		log_error("one thing at a time: --%s and what else?", operation_name(*ret));
	return n > 1 ? -EINVAL : 0;
}

static int run(const struct arguments *a, struct config *config)
{
	const struct container_config *container = config_container(config, a->name);
	_cleanup_json_ json_t *event = NULL;
	_cleanup_close_ int state_dir = -1;
	enum operation operation;
	struct result result;
	struct error e;

	if (choose_operation(a->wanted, &operation) < 0)
		return 2;
	if (a->engine && !config_engine_path(a->engine)) {
		log_error("--engine: '%s' is not of the form unix:///PATH", a->engine);
		return 2;
	}
	if (a->engine)
		replace_string(&config->engine, config_engine_path(a->engine));
	if (!container) {
		log_error("%s has no [container %s]", a->config, a->name);
		return 2;
	}
	state_dir = open_state_dir(a->state_dir, &e);
	if (state_dir < 0) {
		result = (struct result){.container = container->name,
					 .image = container->image,
					 .outcome = OUTCOME_FAILED,
					 .downtime_ms = -1};
		copy_text(result.reason, sizeof(result.reason), e.text);
	} else {
		pass_run(&(struct pass_options){.config = config,
						.container = container,
						.state_dir = state_dir,
						.fetch = {.socket = a->fetch_socket,
							  .config = a->config},
						.operation = operation,
						.cancel = &cancelled,
						.on_event = print_event},
			 &result);
	}
	if (result.outcome == OUTCOME_NONE)
		return 0;
	event = result_to_json(&result);
	json_object_set_new(event, "event", json_string("result"));
	print_event(event);
	return result_is_bad(event) ? 1 : 0;
}

int main(int argc, char **argv)
{
	struct arguments a = {.config = CONFIG_PATH_DEFAULT, .state_dir = CONFIG_STATE_DIR_DEFAULT};
	struct config *config;
	struct error e;
	struct option_row rows[6 + OPERATION_MAX] = {
		{"config", &a.config, NULL}, {"state-dir", &a.state_dir, NULL},
		{"engine", &a.engine, NULL}, {"fetch-socket", &a.fetch_socket, NULL},
		{"debug", NULL, &a.debug},
	};
	int first, status;

	for (int i = 0; i < OPERATION_MAX; i++)
		rows[5 + i] =
			(struct option_row){operation_name((enum operation)i), NULL, &a.wanted[i]};
	first = options_parse(argc, argv, rows, usage);
	if (first < 0)
		return -1 - first;
	if (first + 1 != argc) {
		fputs(usage, stderr);
		return 2;
	}
	a.name = argv[first];
	if (a.debug)
		log_set_level(LOG_LEVEL_DEBUG);
	json_budget(JSON_BUDGET);
	watch_signals();
	if (config_load(a.config, &config, &e) < 0) {
		log_error("%s", e.text);
		return 2;
	}
	status = run(&a, config);
	config_free(config);
	return status;
}
