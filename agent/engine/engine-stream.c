/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "engine-internal.h"
#include "podman.h"
#include "ref.h"

#define PULL_STALL_S (15u * 60) /* the engine itself waits up to 20 s between tries */
#define EVENTS_KEPT  200	/* moby remembers 256 */
/* A layer that is downloaded again counts twice, up to one message. */
#define PULL_SLACK ((uint64_t)4 * 1024 * 1024)

/* A descriptor on directory's file system. Only root can read the engine's own directory, so the nearest readable
 * parent on the same device is opened instead. -1: there is none. */
static int open_file_system(const char *directory)
{
	_cleanup_free_ char *path = directory ? xstrdup(directory) : NULL;
	struct stat wanted, st;
	char *slash;

	if (!path || path[0] != '/' || stat(path, &wanted) < 0)
		return -1;
	for (;;) {
		_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (fd >= 0)
			return fstat(fd, &st) == 0 && st.st_dev == wanted.st_dev ? steal_fd(&fd)
										 : -1;
		slash = strrchr(path, '/');
		if ((errno != EACCES && errno != EPERM) || slash[1] == '\0')
			return -1;
		slash[slash == path ? 1 : 0] = '\0';
	}
}

static void find_disks(struct engine *e)
{
	_cleanup_json_ json_t *info = NULL;
	struct error ignored;

	if (e->disks[0] >= 0 || engine_info(e, &info, &ignored) < 0)
		return;
	/* Images, and the engine's own files of containers. */
	e->disks[0] = open_file_system(store_directory(info));
	e->disks[1] = open_file_system(json_get_string(info, "DockerRootDir"));
}

static void sync_disks(const struct engine *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(e->disks); i++) {
		if (e->disks[i] < 0 || syncfs(e->disks[i]) < 0) {
			sync();
			return;
		}
	}
}

void engine_sync(struct engine *e)
{
	find_disks(e);
	sync_disks(e);
}

/* The state of a pull, as its stream has reported it. */
struct pull {
	struct json_stream stream;
	struct error *error;
	bool finished;
	size_t found;
	char found_ids[OCI_LAYERS_MAX][16];
	struct {
		char id[16];
		uint64_t first, current, total; /* first: containerd resumes a layer there */
	} layers[OCI_LAYERS_MAX];
	size_t n_layers;
	const struct engine *engine;
	const struct pull_options *options;
};

/* The engine checks digests only of whole layers, and accepts any number of bytes before. */
static int note_progress(struct pull *p, const char *id, const json_t *detail)
{
	json_int_t current = json_integer_value(json_object_get(detail, "current"));
	json_int_t total = json_integer_value(json_object_get(detail, "total"));
	const struct pull_options *o = p->options;
	uint64_t all_current = 0, all_total = 0, received = 0;
	size_t i;

	if (current <= 0)
		return 0;
	for (i = 0; i < p->n_layers && !streq(p->layers[i].id, id); i++)
		;
	if (i == OCI_LAYERS_MAX)
		return 0;
	if (i == p->n_layers) {
		(void)snprintf(p->layers[p->n_layers++].id, sizeof(p->layers[i].id), "%.15s", id);
		p->layers[i].first = (uint64_t)current;
	}
	p->layers[i].current = (uint64_t)current;
	p->layers[i].total = total > 0 ? (uint64_t)total : 0;
	for (i = 0; i < p->n_layers; i++) {
		all_current += p->layers[i].current;
		if (p->layers[i].current > p->layers[i].first)
			received += p->layers[i].current - p->layers[i].first;
		all_total += p->layers[i].total;
	}
	if (received > o->bytes_max && received - o->bytes_max > PULL_SLACK)
		return error_set(p->error, -EFBIG,
				 "the registry sends more than the %" PRIu64
				 " bytes that the manifest says",
				 o->bytes_max);
	if (o->progress && total > 0)
		o->progress(o->userdata, all_current, all_total);
	return 0;
}

/* The engine could not unpack what it had downloaded; a layer that it had before may be damaged. */
static bool is_final(const struct pull *p, const char *message)
{
	for (size_t i = 0; i < p->found && i < OCI_LAYERS_MAX; i++) {
		if (p->found_ids[i][0] && strstr(message, p->found_ids[i]))
			return false;
	}
	return store_refuses_image(message);
}

/* moby, api/types/jsonmessage: newer engines send errorDetail, older ones error; either ends the pull. */
static int on_pull_object(void *userdata, json_t *object)
{
	struct pull *p = userdata;
	const char *message = json_get_string(json_object_get(object, "errorDetail"), "message");
	const char *status = json_get_string(object, "status");
	const char *id = json_get_string(object, "id");

	if (!message)
		message = json_get_string(object, "error");
	if (message) {
		int r = error_set(p->error, is_final(p, message) ? -EKEYREJECTED : -EIO,
				  "the engine says: %.450s", message);

		if (store_is_damaged_in_pull(message))
			p->error->origin = ERROR_STORE;
		return r;
	}
	if (!status)
		return 0;
	/* The last message of Docker, and that of podman. */
	p->finished = after_prefix(status, "Status: ") || streq(status, "Download complete");
	if (streq(status, "Pull complete")) {
		sync_disks(p->engine);
	} else if (id && streq(status, "Already exists")) {
		if (p->found < OCI_LAYERS_MAX)
			copy_text(p->found_ids[p->found], sizeof(p->found_ids[0]), id);
		p->found++;
	} else if (id && p->options->nothing_to_come &&
		   (streq(status, "Pulling fs layer") || streq(status, "Downloading"))) {
		return error_set(p->error, -ENODATA,
				 "the engine lacks the layer %.15s, which it was to have: the load "
				 "is not complete",
				 id);
	} else if (id && streq(status, "Downloading")) {
		return note_progress(p, id, json_object_get(object, "progressDetail"));
	}
	return 0;
}

static int on_pull_data(void *userdata, const char *data, size_t n)
{
	struct pull *p = userdata;

	return json_stream_push(&p->stream, data, n, on_pull_object, p, p->error);
}

int engine_pull(struct engine *e, const struct ref *ref, const struct verified *v,
		const struct pull_options *o, size_t *ret_found, struct error *ret_error)
{
	_cleanup_free_ char *repository = ref_repository(ref), *from = engine_escape(repository);
	const char *digest = verified_digest(v)->text;
	_cleanup_free_ char *path =
		xasprintf("/images/create?fromImage=%s&tag=%s%s%s", from, digest,
			  o->platform[0] ? "&platform=" : "", o->platform);
	_cleanup_free_ char *what = xasprintf("pull %s@%s", repository, digest);
	_cleanup_free_ char *header = o->auth ? xasprintf("X-Registry-Auth: %s", o->auth) : NULL;
	_cleanup_free_ struct pull *p = xcalloc(1, sizeof(*p));
	struct error in_stream = {0};
	int r;

	*p = (struct pull){.engine = e, .error = &in_stream, .options = o};
	find_disks(e);
	r = engine_call(e,
			(struct call){"POST", path, what, .header = header, .stall_s = PULL_STALL_S,
				      .on_data = on_pull_data, .userdata = p},
			NULL, ret_error);
	if (r == 0)
		r = json_stream_end(&p->stream, on_pull_object, p, &in_stream);
	json_stream_free(&p->stream);
	if (r == 0 && !p->finished)
		r = error_set(&in_stream, -ECONNRESET, "the engine's answer ended in the middle");
	if (in_stream.code < 0) {
		*ret_error = in_stream;
		return error_prefix(ret_error, "%s", what);
	}
	if (r < 0)
		return r;
	sync_disks(e);
	*ret_found = p->found;
	return 0;
}

struct event_wait {
	bool in_line;
	unsigned int n, enough;
};

/* Counts lines without parsing them: the filters select the events, and labels make a line of any length. */
static int on_event_data(void *userdata, const char *data, size_t n)
{
	struct event_wait *w = userdata;

	for (size_t i = 0; i < n; i++) {
		w->n += data[i] == '\n' && w->in_line;
		w->in_line = data[i] == '\n' ? false : w->in_line || data[i] != '\r';
	}
	return w->n >= w->enough ? -EINTR : 0;
}

/* Waits up to timeout_ms, which is no error, for enough events since since_ns that pass the filters, which it takes
 * over; timeout_ms 0: counts only those up to now. Their number, or a negative errno. */
static int ask_events(struct engine *e, json_t *filters, int64_t since_ns, unsigned int timeout_ms,
		      unsigned int enough, struct error *ret_error)
{
	_cleanup_json_ json_t *owned = filters;
	_cleanup_free_ char *text = json_text(filters, JSON_COMPACT),
			    *escaped = engine_escape(text), *until = NULL, *path = NULL;
	struct timespec now = {0};
	struct event_wait w = {.enough = enough};
	int r;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (timeout_ms == 0)
		until = xasprintf("&until=%lld.%09ld", (long long)now.tv_sec, now.tv_nsec);
	path = xasprintf("/events?since=%lld.%09lld%s&filters=%s", (long long)since_ns / 1000000000,
			 (long long)since_ns % 1000000000, until ? until : "", escaped);
	r = engine_call(e,
			(struct call){"GET", path, "events", .timeout_ms = timeout_ms,
				      .on_data = on_event_data, .userdata = &w},
			NULL, ret_error);
	return r == 0 || r == -ETIMEDOUT || w.n >= enough ? (int)w.n : r;
}

int engine_wait_event(struct engine *e, const char *id, int64_t since_ns, unsigned int timeout_ms,
		      struct error *ret_error)
{
	/* podman calls destroy remove. */
	json_t *filters = json_pack("{s:[s], s:[s], s:[s,s,s,s,s,s,s,s]}", "container", id, "type",
				    "container", "event", "die", "health_status", "destroy",
				    "remove", "pause", "unpause", "rename", "start");
	/* One event is enough: the state is read back from the engine. */
	int r = ask_events(e, filters, since_ns, timeout_ms, 1, ret_error);

	return r < 0 ? r : 0;
}

static enum ending podman_find_ending(struct engine *e, const char *id)
{
	_cleanup_free_ char *path = xasprintf("/containers/%s/json", id);
	struct call c = {"GET", path, .what = "inspect container", .own = PODMAN_API};
	_cleanup_json_ json_t *own = NULL;
	struct error ignored;

	if (engine_call(e, c, &own, &ignored) < 0)
		return ENDING_UNKNOWN;
	return json_is_true(json_get_path(own, "State", "StoppedByUser", NULL)) ? ENDING_STOPPED
										: ENDING_OWN;
}

enum ending engine_find_ending(struct engine *e, const char *id, int64_t since_ns)
{
	/* docker kill --signal HUP: a message to a program that knows it, and its first process hears of no other. The
	 * engine's filter of labels is one of all attributes. */
	static const char messages[][12] = {"signal=1", "signal=10", "signal=12"};
	json_t *stopped, *died;
	struct error ignored;
	int r, n;

	/* Some of podman's event streams do not end. */
	if (e->version.podman)
		return podman_find_ending(e, id);
	/* docker kill makes no "stop"; docker stop of a container between two restarts makes no "kill". */
	stopped = json_pack("{s:[s], s:[s,s]}", "container", id, "event", "kill", "stop");
	r = ask_events(e, stopped, since_ns, 0, EVENTS_KEPT, &ignored);
	for (size_t i = 0; r > 0 && i < ARRAY_SIZE(messages); i++) {
		n = ask_events(e,
			       json_pack("{s:[s], s:[s], s:[s]}", "container", id, "event", "kill",
					 "label", messages[i]),
			       since_ns, 0, EVENTS_KEPT, &ignored);
		r = n < 0 ? n : r - n;
	}
	if (r != 0)
		return r > 0 ? ENDING_STOPPED : ENDING_UNKNOWN;
	died = json_pack("{s:[s], s:[s]}", "container", id, "event", "die");
	return ask_events(e, died, since_ns, 0, 1, &ignored) > 0 ? ENDING_OWN : ENDING_UNKNOWN;
}

bool engine_ended_by_itself(struct engine *e, const char *id, int64_t since_ns)
{
	enum ending ending = engine_find_ending(e, id, since_ns);
	struct error ignored;

	if (ending != ENDING_UNKNOWN || e->version.podman)
		return ending == ENDING_OWN;
	/* The engine forgets events when it restarts, and after too many others. */
	return ask_events(e, json_object(), since_ns, 0, EVENTS_KEPT, &ignored) >= EVENTS_KEPT;
}
