/* SPDX-License-Identifier: MIT */
#include "engine.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <sys/utsname.h>

#include "http.h"
#include "ref.h"

#define ANSWER_MAX	((size_t)4 * 1024 * 1024)
#define SHORT_CALL_MS	(60u * 1000)
#define START_CALL_MS	(180u * 1000)
#define REMOVE_CALL_MS	(180u * 1000)
#define STOP_GRACE_MS	(60u * 1000)
#define STOP_UNKNOWN_MS (3600u * 1000)
#define PULL_STALL_MS	(15u * 60 * 1000) /* the engine itself waits up to 20 s between tries */
#define API_MINOR_MIN	41
#define API_MINOR_MAX	51
#define PULL_LAYERS_MAX 512

struct engine {
	struct http *http;   /* calls */
	struct http *events; /* a second connection: waiting must not block it */
	struct http *pull;   /* cancellable */
	struct oci_platform platform;
	int api_minor;
};

/* Percent-encodes what may not stand in a path segment or query value. Caller frees. */
static char *escape(const char *s)
{
	char *out = xmalloc(strlen(s) * 3 + 1), *p = out;

	for (; *s; s++) {
		if (isalnum((unsigned char)*s) || strchr("-._~:@/", *s))
			*p++ = *s;
		else
			p += sprintf(p, "%%%02X", (unsigned char)*s);
	}
	*p = '\0';
	return out;
}

static int status_to_errno(long status)
{
	switch (status) {
	case 400:
		return -EINVAL;
	case 404:
		return -ENOENT;
	case 409:
		return -EEXIST;
	default:
		return -EIO;
	}
}

/* The engine's refusal in its own words. */
static int refusal(const struct http_response *r, const char *what, struct error *ret_error)
{
	_cleanup_json_ json_t *j = NULL;
	struct error ignored;
	const char *message = NULL;

	if (json_parse(r->body, r->body_len, "answer", &j, &ignored) == 0)
		message = json_get_string(j, "message");
	if (!message)
		message = r->body[0] ? r->body : "no reason given";
	return error_set(ret_error, status_to_errno(r->status),
			 "%s: the engine says: %.450s (HTTP %ld)", what, message, r->status);
}

struct call {
	const char *method;
	const char *path; /* behind /v1.NN, escaped */
	const json_t *body;
	unsigned int timeout_ms;
	const char *what; /* for messages */
};

/* One call with a bounded answer; 304 (nothing to do) is success too. ret may be NULL. */
static int call(struct engine *e, const struct call *c, json_t **ret, struct error *ret_error)
{
	_cleanup_free_ char *url = xasprintf("http://engine/v1.%d%s", e->api_minor, c->path);
	_cleanup_free_ char *body = c->body ? json_dumps(c->body, JSON_COMPACT) : NULL;
	_cleanup_http_response_ struct http_response answer = {0};
	struct http_request request = {
		.method = c->method,
		.url = url,
		.body = body,
		.body_max = ANSWER_MAX,
		.timeout_ms = c->timeout_ms ? c->timeout_ms : SHORT_CALL_MS,
	};
	int r;

	if (c->body && !body)
		return error_set(ret_error, -ENOMEM, "%s: no memory for the request", c->what);
	r = http_perform(e->http, &request, &answer, ret_error);
	if (r < 0)
		return error_prefix(ret_error, "%s: engine", c->what);
	if ((answer.status < 200 || answer.status > 299) && answer.status != 304)
		return refusal(&answer, c->what, ret_error);
	return ret ? json_parse(answer.body, answer.body_len, c->what, ret, ret_error) : 0;
}

static int call_delete(struct engine *e, const char *path, const char *what,
		       struct error *ret_error)
{
	struct call c = {
		.method = "DELETE", .path = path, .timeout_ms = REMOVE_CALL_MS, .what = what};

	return call(e, &c, NULL, ret_error);
}

static int version_minor(const char *version)
{
	const char *minor = version ? after_prefix(version, "1.") : NULL;

	return minor && isdigit((unsigned char)*minor) ? atoi(minor) : -1;
}

static const char *arm_variant(void)
{
	struct utsname u;

	if (uname(&u) < 0)
		return "";
	if (after_prefix(u.machine, "armv5"))
		return "v5";
	if (after_prefix(u.machine, "armv6"))
		return "v6";
	return "v7"; /* armv7l, armv8l, or a 32-bit engine on an aarch64 kernel */
}

static int read_version(struct engine *e, const json_t *v, struct error *ret_error)
{
	int max = version_minor(json_get_string(v, "ApiVersion"));
	const char *min_text = json_get_string(v, "MinAPIVersion");
	const char *arch = json_get_string(v, "Arch"), *os = json_get_string(v, "Os");
	int min = min_text ? version_minor(min_text) : API_MINOR_MIN;

	if (max < 0 || !arch || !os)
		return error_set(
			ret_error, -EPROTO,
			"engine: /version tells no ApiVersion, Os and Arch: is this Docker?");
	if (max < API_MINOR_MIN)
		return error_set(ret_error, -EPROTO,
				 "engine: speaks API 1.%d at most, 1.%d is the oldest known here "
				 "(Docker 20.10)",
				 max, API_MINOR_MIN);
	if (min > API_MINOR_MAX)
		return error_set(ret_error, -EPROTO,
				 "engine: wants API 1.%d at least, 1.%d is the newest known here",
				 min, API_MINOR_MAX);
	e->api_minor = max < API_MINOR_MAX ? max : API_MINOR_MAX;
	(void)snprintf(e->platform.os, sizeof(e->platform.os), "%s", os);
	(void)snprintf(e->platform.architecture, sizeof(e->platform.architecture), "%s", arch);
	if (streq(arch, "arm"))
		(void)snprintf(e->platform.variant, sizeof(e->platform.variant), "%s",
			       arm_variant());
	return 0;
}

/* The one unversioned call: which versions does it speak, and on what machine? */
static int negotiate(struct engine *e, struct error *ret_error)
{
	_cleanup_http_response_ struct http_response answer = {0};
	_cleanup_json_ json_t *v = NULL;
	struct http_request request = {
		.method = "GET",
		.url = "http://engine/version",
		.body_max = ANSWER_MAX,
		.timeout_ms = SHORT_CALL_MS,
	};
	int r = http_perform(e->http, &request, &answer, ret_error);

	if (r < 0)
		return error_prefix(ret_error, "engine");
	if (answer.status != 200)
		return refusal(&answer, "engine: GET /version", ret_error);
	r = json_parse(answer.body, answer.body_len, "engine: /version", &v, ret_error);
	return r < 0 ? r : read_version(e, v, ret_error);
}

int engine_open(const char *socket, const volatile sig_atomic_t *cancel, struct engine **ret,
		struct error *ret_error)
{
	struct http_options plain = {.unix_socket = socket, .allow_plain = true};
	struct http_options stoppable = plain;
	struct engine *e = xcalloc(1, sizeof(*e));
	int r;

	stoppable.cancel = cancel;
	r = http_new(&plain, &e->http, ret_error);
	if (r == 0)
		r = http_new(&stoppable, &e->events, ret_error);
	if (r == 0)
		r = http_new(&stoppable, &e->pull, ret_error);
	if (r == 0)
		r = negotiate(e, ret_error);
	if (r < 0) {
		engine_close(e);
		return r;
	}
	*ret = e;
	return 0;
}

void engine_close(struct engine *e)
{
	if (!e)
		return;
	http_free(e->http);
	http_free(e->events);
	http_free(e->pull);
	free(e);
}

int engine_api_minor(const struct engine *e)
{
	return e->api_minor;
}

const struct oci_platform *engine_platform(const struct engine *e)
{
	return &e->platform;
}

int engine_inspect_container(struct engine *e, const char *name_or_id, json_t **ret,
			     struct error *ret_error)
{
	_cleanup_free_ char *escaped = escape(name_or_id);
	_cleanup_free_ char *path = xasprintf("/containers/%s/json", escaped);
	_cleanup_free_ char *what = xasprintf("inspect container %s", name_or_id);
	_cleanup_json_ json_t *j = NULL;
	const char *name, *id;
	int r = call(e, &(struct call){.method = "GET", .path = path, .what = what}, &j, ret_error);

	if (r < 0)
		return r;
	id = json_get_string(j, "Id");
	name = json_get_string(j, "Name");
	if (!id || !name)
		return error_set(ret_error, -EPROTO, "%s: the answer has no Id and Name", what);
	/* podman leaves the slash out. */
	if (!streq(id, name_or_id) && !streq(name + (name[0] == '/'), name_or_id))
		return error_set(ret_error, -ENOENT, "%s: no such container", what);
	*ret = steal(j);
	return 0;
}

int engine_list(struct engine *e, json_t **ret, struct error *ret_error)
{
	return call(e,
		    &(struct call){.method = "GET",
				   .path = "/containers/json?all=1",
				   .what = "list containers"},
		    ret, ret_error);
}

int engine_inspect_image(struct engine *e, const char *reference, json_t **ret,
			 struct error *ret_error)
{
	_cleanup_free_ char *escaped = escape(reference);
	_cleanup_free_ char *path = xasprintf("/images/%s/json", escaped);
	_cleanup_free_ char *what = xasprintf("inspect image %s", reference);

	return call(e, &(struct call){.method = "GET", .path = path, .what = what}, ret, ret_error);
}

int engine_changes(struct engine *e, const char *id, json_t **ret, struct error *ret_error)
{
	_cleanup_free_ char *path = xasprintf("/containers/%s/changes", id);

	return call(e, &(struct call){.method = "GET", .path = path, .what = "list changed files"},
		    ret, ret_error);
}

/* What a pull stream has told so far. */
struct pull {
	struct json_stream stream;
	struct error *error;
	bool finished;
	struct {
		char id[16];
		uint64_t current, total;
	} layers[PULL_LAYERS_MAX];
	size_t n_layers;
	engine_progress_fn *progress;
	void *userdata;
};

static void note_progress(struct pull *p, const char *id, const json_t *detail)
{
	json_int_t current = json_integer_value(json_object_get(detail, "current"));
	json_int_t total = json_integer_value(json_object_get(detail, "total"));
	uint64_t all_current = 0, all_total = 0;
	size_t i;

	if (current <= 0 || total <= 0)
		return;
	for (i = 0; i < p->n_layers && !streq(p->layers[i].id, id); i++)
		;
	if (i == PULL_LAYERS_MAX)
		return;
	if (i == p->n_layers)
		(void)snprintf(p->layers[p->n_layers++].id, sizeof(p->layers[i].id), "%.15s", id);
	p->layers[i].current = (uint64_t)current;
	p->layers[i].total = (uint64_t)total;
	for (i = 0; i < p->n_layers; i++) {
		all_current += p->layers[i].current;
		all_total += p->layers[i].total;
	}
	if (p->progress)
		p->progress(p->userdata, all_current, all_total);
}

/* moby, api/types/jsonmessage: errorDetail is the future, error the past; either ends the pull. */
static int on_pull_object(void *userdata, json_t *object)
{
	struct pull *p = userdata;
	const char *message = json_get_string(json_object_get(object, "errorDetail"), "message");
	const char *status = json_get_string(object, "status");
	const char *id = json_get_string(object, "id");

	if (!message)
		message = json_get_string(object, "error");
	if (message)
		return error_set(p->error, -EIO, "the engine says: %.450s", message);
	if (!status)
		return 0;
	if (streq(status, "Pull complete"))
		sync();
	else if (after_prefix(status, "Status: "))
		p->finished = true;
	else if (id && streq(status, "Downloading"))
		note_progress(p, id, json_object_get(object, "progressDetail"));
	return 0;
}

static int on_pull_data(void *userdata, const char *data, size_t n)
{
	struct pull *p = userdata;

	return json_stream_push(&p->stream, data, n, on_pull_object, p, p->error);
}

int engine_pull(struct engine *e, const struct ref *ref, const struct verified *v, const char *auth,
		engine_progress_fn *progress, void *userdata, struct error *ret_error)
{
	_cleanup_free_ char *repository = ref_repository(ref), *from = escape(repository);
	const char *digest = verified_digest(v)->text;
	_cleanup_free_ char *url =
		xasprintf("http://engine/v1.%d/images/create?fromImage=%s&tag=%s", e->api_minor,
			  from, digest);
	_cleanup_free_ char *header = auth ? xasprintf("X-Registry-Auth: %s", auth) : NULL;
	_cleanup_http_response_ struct http_response answer = {0};
	const char *const headers[] = {header, NULL};
	_cleanup_free_ struct pull *p = xcalloc(1, sizeof(*p));
	struct http_request request = {
		.method = "POST",
		.url = url,
		.headers = headers,
		.body_max = ANSWER_MAX,
		.stall_ms = PULL_STALL_MS,
		.on_data = on_pull_data,
		.userdata = p,
	};
	struct error transport = {0};
	int r;

	*p = (struct pull){.error = ret_error, .progress = progress, .userdata = userdata};
	ret_error->code = 0;
	r = http_perform(e->pull, &request, &answer, &transport);
	if (r < 0 && ret_error->code == 0)
		*ret_error = transport;
	if (r == 0 && (answer.status < 200 || answer.status > 299))
		r = refusal(&answer, "engine", ret_error);
	else if (r == 0)
		r = json_stream_end(&p->stream, on_pull_object, p, ret_error);
	json_stream_free(&p->stream);
	if (r == 0 && !p->finished)
		r = error_set(ret_error, -ECONNRESET, "the engine's answer ended in the middle");
	if (r < 0)
		return error_prefix(ret_error, "pull %s@%s", repository, digest);
	sync();
	return 0;
}

int engine_tag(struct engine *e, const char *image, const char *repository, const char *tag,
	       struct error *ret_error)
{
	_cleanup_free_ char *i = escape(image), *r = escape(repository), *t = escape(tag);
	_cleanup_free_ char *path = xasprintf("/images/%s/tag?repo=%s&tag=%s", i, r, t);
	_cleanup_free_ char *what = xasprintf("tag %s:%s", repository, tag);

	return call(e, &(struct call){.method = "POST", .path = path, .what = what}, NULL,
		    ret_error);
}

int engine_remove_image(struct engine *e, const char *reference, struct error *ret_error)
{
	_cleanup_free_ char *escaped = escape(reference), *path = xasprintf("/images/%s", escaped);
	_cleanup_free_ char *what = xasprintf("remove image %s", reference);

	return call_delete(e, path, what, ret_error);
}

int engine_create(struct engine *e, const char *name, const json_t *body, char **ret_id,
		  struct error *ret_error)
{
	_cleanup_free_ char *escaped = escape(name);
	_cleanup_free_ char *path = xasprintf("/containers/create?name=%s", escaped);
	_cleanup_free_ char *what = xasprintf("create container %s", name);
	_cleanup_json_ json_t *answer = NULL;
	const char *id;
	int r = call(e, &(struct call){.method = "POST", .path = path, .body = body, .what = what},
		     &answer, ret_error);

	if (r < 0)
		return r;
	id = json_get_string(answer, "Id");
	if (!id)
		return error_set(ret_error, -EPROTO, "%s: the answer has no Id", what);
	*ret_id = xstrdup(id);
	return 0;
}

int engine_connect(struct engine *e, const char *network, const char *id, const json_t *body,
		   struct error *ret_error)
{
	_cleanup_free_ char *escaped = escape(network);
	_cleanup_free_ char *path = xasprintf("/networks/%s/connect", escaped);
	_cleanup_free_ char *what = xasprintf("connect to network %s", network);
	_cleanup_json_ json_t *whole = json_deep_copy(body);

	if (!whole || json_object_set_new(whole, "Container", json_string(id)) < 0)
		return error_set(ret_error, -EINVAL, "%s: not an object", what);
	return call(e, &(struct call){.method = "POST", .path = path, .body = whole, .what = what},
		    NULL, ret_error);
}

static int post_to_container(struct engine *e, const char *id, const char *verb,
			     unsigned int timeout_ms, struct error *ret_error)
{
	_cleanup_free_ char *path = xasprintf("/containers/%s/%s", id, verb);
	_cleanup_free_ char *what =
		xasprintf("%.*s container %.12s", (int)strcspn(verb, "?"), verb, id);

	return call(e,
		    &(struct call){
			    .method = "POST", .path = path, .timeout_ms = timeout_ms, .what = what},
		    NULL, ret_error);
}

int engine_start(struct engine *e, const char *id, struct error *ret_error)
{
	return post_to_container(e, id, "start", START_CALL_MS, ret_error);
}

int engine_stop(struct engine *e, const char *id, int timeout_s, struct error *ret_error)
{
	_cleanup_free_ char *verb =
		timeout_s < 0 ? xstrdup("stop") : xasprintf("stop?t=%d", timeout_s);
	unsigned int limit_ms =
		timeout_s < 0 ? STOP_UNKNOWN_MS : (unsigned int)timeout_s * 1000 + STOP_GRACE_MS;

	return post_to_container(e, id, verb, limit_ms, ret_error);
}

int engine_rename(struct engine *e, const char *id, const char *name, struct error *ret_error)
{
	_cleanup_free_ char *escaped = escape(name), *verb = xasprintf("rename?name=%s", escaped);

	return post_to_container(e, id, verb, SHORT_CALL_MS, ret_error);
}

int engine_set_policy(struct engine *e, const char *id, const json_t *policy,
		      struct error *ret_error)
{
	_cleanup_free_ char *path = xasprintf("/containers/%s/update", id);
	_cleanup_json_ json_t *body = json_pack("{s:O}", "RestartPolicy", policy);

	return call(
		e,
		&(struct call){
			.method = "POST", .path = path, .body = body, .what = "set restart policy"},
		NULL, ret_error);
}

int engine_remove(struct engine *e, const char *id, struct error *ret_error)
{
	_cleanup_free_ char *path = xasprintf("/containers/%s?v=0", id);
	_cleanup_free_ char *what = xasprintf("remove container %.12s", id);

	return call_delete(e, path, what, ret_error);
}

struct event_wait {
	struct json_stream stream;
	struct error *error;
	bool seen;
};

static int on_event_object(void *userdata, json_t *object)
{
	struct event_wait *w = userdata;

	(void)object;
	w->seen = true;
	return 0;
}

static int on_event_data(void *userdata, const char *data, size_t n)
{
	struct event_wait *w = userdata;
	int r = json_stream_push(&w->stream, data, n, on_event_object, w, w->error);

	/* One is enough; what it means is read back from the world. */
	return r == 0 && w->seen ? -EINTR : r;
}

int engine_wait_event(struct engine *e, const char *id, int64_t since_ns, unsigned int timeout_ms,
		      struct error *ret_error)
{
	_cleanup_json_ json_t *filters =
		json_pack("{s:[s], s:[s], s:[s,s,s,s,s,s]}", "container", id, "type", "container",
			  "event", "die", "health_status", "destroy", "pause", "rename", "start");
	_cleanup_free_ char *text = json_dumps(filters, JSON_COMPACT), *escaped = escape(text);
	_cleanup_free_ char *url = xasprintf(
		"http://engine/v1.%d/events?since=%lld.%09lld&filters=%s", e->api_minor,
		(long long)since_ns / 1000000000, (long long)since_ns % 1000000000, escaped);
	_cleanup_http_response_ struct http_response answer = {0};
	struct error transport = {0};
	struct event_wait w = {.error = &transport};
	struct http_request request = {
		.method = "GET",
		.url = url,
		.body_max = ANSWER_MAX,
		.timeout_ms = timeout_ms,
		.on_data = on_event_data,
		.userdata = &w,
	};
	int r = http_perform(e->events, &request, &answer, &transport);

	json_stream_free(&w.stream);
	if (r == 0 && answer.status != 200)
		return refusal(&answer, "engine: events", ret_error);
	if (w.seen || r == 0 || r == -ETIMEDOUT)
		return 0;
	*ret_error = transport;
	return error_prefix(ret_error, "engine: events");
}

/* Engine API, "attach": without a TTY each chunk has a header of 8 bytes, {stream, 0, 0, 0, size}. */
static const char *skip_stream_header(const char *p, size_t n)
{
	return n > 8 && (p[0] == 1 || p[0] == 2) && p[1] == 0 ? p + 8 : p;
}

int engine_last_log(struct engine *e, const char *id, char *ret, size_t size)
{
	_cleanup_free_ char *url =
		xasprintf("http://engine/v1.%d/containers/%s/logs?stdout=1&stderr=1&tail=1",
			  e->api_minor, id);
	_cleanup_http_response_ struct http_response answer = {0};
	struct http_request request = {
		.method = "GET",
		.url = url,
		.body_max = ANSWER_MAX,
		.timeout_ms = SHORT_CALL_MS,
	};
	struct error text;
	int r = http_perform(e->http, &request, &answer, &text);

	if (r < 0 || answer.status != 200)
		return r < 0 ? r : -EIO;
	/* Makes it printable, too. */
	(void)error_set(&text, 0, "%.*s",
			(int)strcspn(skip_stream_header(answer.body, answer.body_len), "\r\n"),
			skip_stream_header(answer.body, answer.body_len));
	(void)snprintf(ret, size, "%.*s", (int)size - 1, text.text);
	return 0;
}
