/* SPDX-License-Identifier: MIT */
/* A whole pass between an engine and a network half that answer anything. An input is a line with the letters
 * below, the record up to the first form feed, and the answers of both in the order in which they are asked, the
 * engine's version first. A pass ends, tells why, and leaves a record that can be read. */
#include <errno.h>
#include <fcntl.h>

#include "answers.h"
#include "fetch.h"
#include "message.h"
#include "pass.h"
#include "task.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
uint64_t __wrap_now_ms(void);

#define NAME	"app"
#define STEP_MS 250

static int dir = -1;
static char path[] = "/dev/shm/fuzz-passXXXXXX";
static const volatile sig_atomic_t cancelled;
static bool may_change; /* the engine */
static uint64_t clock_ms = 1000000;

/* Each look at the clock takes some time, so that waits end. */
uint64_t __wrap_now_ms(void)
{
	return clock_ms += STEP_MS;
}

void sync(void)
{
}

int syncfs(int fd)
{
	return fd < 0 ? -1 : 0;
}

/* --- fetch.h --- */

struct fetch *fetch_new(const struct fetch_options *o, const char *host)
{
	return xcalloc(1, 1);
}

void fetch_free(struct fetch *f)
{
	free(f);
}

int fetch_connect(const struct fetch_options *o, pid_t *ret_pid, struct error *ret_error)
{
	return error_set(ret_error, -ECONNREFUSED, "no network half");
}

int fetch_resolve(struct fetch *f, const char *const *images, size_t n, struct fetch_resolved *ret,
		  struct error *ret_error)
{
	return error_set(ret_error, -EPIPE, "no answer");
}

int fetch_ask(struct fetch *f, const struct fetch_request *request, struct fetch_reply *ret,
	      struct error *ret_error)
{
	_cleanup_json_ json_t *j = NULL;
	int r = answers_next_json(&j, ret_error);

	*ret = (struct fetch_reply){0};
	return r < 0 ? r : message_reply_from_json(j, request, ret, ret_error);
}

int fetch_ask_publish(struct fetch *f, json_t *question, json_t **ret, struct error *ret_error)
{
	json_decref(question);
	return error_set(ret_error, -EPIPE, "no answer");
}

int fetch_ask_rollout(struct fetch *f, const char *image, const char *ring, bool with_text,
		      struct rollout_reply *ret, struct error *ret_error)
{
	_cleanup_json_ json_t *j = NULL;
	int r = answers_next_json(&j, ret_error);

	*ret = (struct rollout_reply){0};
	return r < 0 ? r : message_rollout_reply_from_json(j, with_text, ret, ret_error);
}

int fetch_ask_signatures(struct fetch *f, const char *image, const struct digest *d,
			 enum signature_place place, struct signatures *ret,
			 struct error *ret_error)
{
	_cleanup_json_ json_t *j = NULL;
	int r = answers_next_json(&j, ret_error);

	*ret = (struct signatures){0};
	return r < 0 ? r : message_signatures_from_json(j, ret, ret_error);
}

/* --- the pass --- */

static void on_request(const struct http_request *req)
{
	bool reads = streq(req->method, "GET") || streq(req->method, "HEAD");

	if (!reads && !may_change)
		abort();
	if (strstr(req->url, "prune") || strstr(req->url, "force=") || strstr(req->url, "&v=1") ||
	    strstr(req->url, "?v=1"))
		abort();
}

static void on_event(json_t *event)
{
	json_decref(event);
}

static void on_result(const struct result *r)
{
}

static void put(const char *name, const uint8_t *data, size_t n)
{
	_cleanup_close_ int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write_all(fd, data, n) < 0)
		abort();
}

static void remove_files(void)
{
	static const char names[][24] = {NAME ".json", NAME ".json.broken", NAME ".json.kept",
					 "create.json"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		(void)unlinkat(dir, names[i], 0);
}

static void remove_directory(void)
{
	(void)rmdir(path);
}

/* Takes the record off the input. true: it is one without an update under way. */
static bool put_record(const uint8_t **data, size_t *n)
{
	const uint8_t *feed = memchr(*data, '\f', *n);
	size_t len = feed ? (size_t)(feed - *data) : *n;
	static struct record r;
	struct error e;

	if (len > 0)
		put(NAME ".json", *data, len);
	len += feed != NULL;
	*data += len;
	*n -= len;
	record_init(&r);
	return record_read(dir, NAME, &r, &e) == 0 && r.phase == PHASE_IDLE;
}

static void check_result(const struct result *result)
{
	_cleanup_json_ json_t *j = result_to_json(result);
	static struct record r;
	struct error e;

	answers_check_text(result->reason);
	if (!j || result->outcome >= OUTCOME_MAX)
		abort();
	record_init(&r);
	if (record_read(dir, NAME, &r, &e) == -EBADMSG)
		abort();
}

static void run(const char *letters, bool is_idle)
{
	static const uint8_t create[] = "{\"Cmd\":[\"serve\"]}";
	_cleanup_free_ char *file = xasprintf("%s/create.json", path);
	struct container_config c = {
		.name = (char *)NAME,
		.image =
			(char *)(strchr(letters, 'd') ? "r.io/app@sha256:7777777777777777777777"
							"777777777777777777777777777777777777777777"
						      : "r.io/app:v1"),
		.health = strchr(letters, 'r')	 ? HEALTH_RUNNING
			  : strchr(letters, 'x') ? HEALTH_EXIT
						 : HEALTH_AUTO,
		.health_period_ms = 2000,
		.stop_timeout_s = -1,
		.create = strchr(letters, 'c') ? file : NULL,
		.rollout = strchr(letters, 'n') ? ROLLOUT_NO : ROLLOUT_AUTO,
	};
	struct config config = {.engine = (char *)"/run/docker.sock",
				.containers = &c,
				.n_containers = 1,
				.download = DOWNLOAD_ENGINE};
	struct task task = {.config = &config,
			    .state_dir = dir,
			    .operation = strchr(letters, 'k')	? OPERATION_CHECK
					 : strchr(letters, 'b') ? OPERATION_ROLLBACK
					 : strchr(letters, 'f') ? OPERATION_FINISH
								: OPERATION_UPDATE,
			    .cancel = &cancelled,
			    .on_event = on_event,
			    .on_result = on_result};
	struct result result;

	put("create.json", create, sizeof(create) - 1);
	may_change = task.operation != OPERATION_CHECK || !is_idle;
	pass_run(&task, &c, &result);
	check_result(&result);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_free_ char *line = answers_take_line(&data, &n);
	static bool ready;
	bool is_idle;

	if (!ready) {
		json_budget((size_t)6 * 1024 * 1024);
		if (!mkdtemp(path) || (dir = open(path, O_DIRECTORY | O_CLOEXEC)) < 0)
			abort();
		(void)atexit(remove_directory);
	}
	ready = true;
	is_idle = put_record(&data, &n);
	answers_begin(data, n, false, on_request);
	run(line, is_idle);
	remove_files();
	return 0;
}
