/* SPDX-License-Identifier: MIT */
#include "engine.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#include "base64.h"
#include "engine-internal.h"
#include "podman.h"
#include "ref.h"

#define START_CALL_MS	(180u * 1000)
#define REMOVE_CALL_MS	(180u * 1000)
#define STOP_GRACE_MS	(60u * 1000)
#define STOP_UNKNOWN_MS (3600u * 1000)

/* Sets the error of an answer that is a refusal, with the engine's message. own: it is the engine's own word. */
static int refusal(const struct http_response *r, const char *what, bool own,
		   struct error *ret_error)
{
	_cleanup_json_ json_t *j = NULL;
	struct error ignored;
	const char *message = NULL;
	int code = r->status == 404 ? -ENOENT : r->status == 409 ? -EEXIST : -EIO;

	if (json_parse(r->body, r->body_len, "answer", &j, &ignored) == 0)
		message = json_get_string(j, "message");
	/* After a power cut the message may quote zeroes of a file in the store, which make it no JSON text to jansson. */
	if (!message)
		message = after_prefix(r->body, "{\"message\":\"");
	if (!message)
		message = r->body[0] ? r->body : "no reason given";
	/* The engine was replaced by one of another version: this answer is not about the call. */
	if (r->status == 400)
		code = after_prefix(message, "client version ") ? -EPROTO : -EINVAL;
	(void)error_set(ret_error, code, "%s: the engine says: %.450s (HTTP %ld)", what, message,
			r->status);
	/* A pull is refused in the registry's words. 400: what was asked is wrong, and the store is not. */
	if (own)
		ret_error->origin = r->status != 400 && store_is_damaged(message) ? ERROR_STORE
				    : store_is_stale(message)			  ? ERROR_STALE
				    : store_is_of_image(message)		  ? ERROR_IMAGE
										  : ERROR_OTHER;
	return code;
}

int engine_perform(struct engine *e, struct http *connection, struct call c,
		   struct http_response *ret, struct error *ret_error)
{
	_cleanup_free_ char *url =
		c.own ? xasprintf("http://engine%s%s", c.own, c.path)
		      : xasprintf("http://engine/v1.%d%s", e->version.api_minor, c.path);
	_cleanup_free_ char *body = c.body ? json_text(c.body, JSON_COMPACT) : NULL;
	const char *const headers[] = {c.header, NULL};
	struct http_request request = {
		.method = c.method,
		.url = url,
		.headers = headers,
		.body = body,
		.content_type = c.on_send ? "application/x-tar" : NULL,
		.on_send = c.on_send,
		.send_size = c.send_size,
		.body_max = ANSWER_MAX,
		.timeout_ms = c.timeout_ms || c.stall_s ? c.timeout_ms : SHORT_CALL_MS,
		.stall_s = c.stall_s,
		.stall_rate = 1,
		.on_data = c.on_data,
		.userdata = c.userdata,
	};
	int r = c.body && !body ? error_set(ret_error, -EINVAL, "the request is no text")
				: http_perform(connection, &request, ret, ret_error);

	if (r < 0)
		return error_prefix(ret_error, "%s: engine", c.what);
	if ((ret->status < 200 || ret->status > 299) && ret->status != 304)
		return refusal(ret, c.what, connection == e->http, ret_error);
	return 0;
}

/* An answer in JSON, as it arrives. */
struct reading {
	struct json_filter filter;
	const char *what;
	struct error error;
};

static int on_answer(void *userdata, const char *data, size_t n)
{
	struct reading *r = userdata;

	return json_filter_push(&r->filter, data, n, r->what, &r->error);
}

static int parse(const struct reading *reading, json_t **ret, struct error *ret_error)
{
	const struct json_filter *f = &reading->filter;
	const char *largest = json_filter_largest(f);
	int r;

	/* Go's empty list: no container listed, no file changed. */
	if (f->len == 4 && memcmp(f->text, "null", 4) == 0) {
		*ret = json_need(json_array());
		return 0;
	}
	if (f->rules.memory_max && json_memory(f->text, f->len) > f->rules.memory_max)
		r = -EFBIG;
	else
		r = json_parse(f->text ?: "", f->len, reading->what, ret, ret_error);
	if (r != -EFBIG)
		return r;
	return error_set(ret_error, r,
			 "%s: the answer of %.1f MB takes more memory than allowed%s%s",
			 reading->what, (double)f->total / 1e6, largest ? ", most of it " : "",
			 largest ? largest : "");
}

int engine_call(struct engine *e, struct call c, json_t **ret, struct error *ret_error)
{
	_cleanup_http_response_ struct http_response answer = {0};
	struct reading reading = {
		.filter = {.rules = c.rules, .text_max = ANSWER_MAX, .total_max = ANSWER_SENT},
		.what = c.what,
	};
	struct http *connection = c.on_data ? e->stream : e->http;
	int r;

	if (ret && !c.on_data) {
		c.on_data = on_answer;
		c.userdata = &reading;
	}
	r = engine_perform(e, connection, c, &answer, ret_error);
	if (r < 0 && reading.error.code < 0)
		*ret_error = reading.error;
	else if (r == 0 && ret)
		r = parse(&reading, ret, ret_error);
	json_filter_free(&reading.filter);
	return r;
}

/* What inspect and list answers are read for. A port that is published is in HostConfig, too. */
static const struct json_filter_rules container_rules = {
	.drop = (const char *const[]){"NetworkSettings.Ports", "GraphDriver", "ExecIDs",
				      "State.Health.Log.*.Output", NULL},
	.ports = "Config.ExposedPorts",
};
static const struct json_filter_rules neighbour_rules = {
	.keep = (const char *const[]){"Id", "Name", "HostConfig.NetworkMode", "HostConfig.PidMode",
				      "HostConfig.IpcMode", "HostConfig.UTSMode",
				      "HostConfig.Links", "HostConfig.VolumesFrom", NULL},
};
static const struct json_filter_rules object_rules = {
	.keep = (const char *const[]){"Name", "Driver", "Containers", "Options", NULL},
};
int engine_inspect(struct engine *e, const char *kind, const char *name, const char *query,
		   bool own, const struct json_filter_rules *rules, json_t **ret,
		   struct error *ret_error)
{
	_cleanup_free_ char *escaped = engine_escape(name);
	_cleanup_free_ char *path = xasprintf("/%ss/%s/json%s", kind, escaped, query);
	_cleanup_free_ char *what = xasprintf("inspect %s %s", kind, name);

	return engine_call(e,
			   (struct call){"GET", path, .what = what, .own = own ? PODMAN_API : NULL,
					 .rules = *rules},
			   ret, ret_error);
}

static int inspect(struct engine *e, const char *kind, const char *name, bool own,
		   const struct json_filter_rules *rules, json_t **ret, struct error *ret_error)
{
	return engine_inspect(e, kind, name, "", own, rules, ret, ret_error);
}

/* GET /version is the one call without a version. */
static int negotiate(struct engine *e, struct error *ret_error)
{
	_cleanup_json_ json_t *v = NULL;
	int r = engine_call(e, (struct call){"GET", "/version", .what = "GET /version", .own = ""},
			    &v, ret_error);

	return r < 0 ? r : version_read(v, &e->version, ret_error);
}

int engine_open(const char *socket, const volatile sig_atomic_t *cancel, struct engine **ret,
		struct error *ret_error)
{
	struct http_options options = {.unix_socket = socket};
	_cleanup_engine_ struct engine *e = xcalloc(1, sizeof(*e));
	int r;

	e->disks[0] = e->disks[1] = -1;
	r = http_new(&options, &e->http, ret_error);
	options.cancel = cancel;
	if (r == 0)
		r = http_new(&options, &e->stream, ret_error);
	if (r == 0)
		r = negotiate(e, ret_error);
	if (r == 0)
		*ret = steal(e);
	return r;
}

void engine_close(struct engine *e)
{
	if (!e)
		return;
	http_free(e->http);
	http_free(e->stream);
	for (size_t i = 0; i < ARRAY_SIZE(e->disks); i++)
		cleanup_close_p(&e->disks[i]);
	free(e);
}

const struct version *engine_version(const struct engine *e)
{
	return &e->version;
}

int engine_info(struct engine *e, json_t **ret, struct error *ret_error)
{
	return engine_call(e, (struct call){"GET", "/info", .what = "info"}, ret, ret_error);
}

static int inspect_container(struct engine *e, const char *name_or_id,
			     const struct json_filter_rules *rules, json_t **ret,
			     struct error *ret_error)
{
	_cleanup_json_ json_t *j = NULL;
	const char *name, *id;
	int r = inspect(e, "container", name_or_id, false, rules, &j, ret_error);

	if (r < 0)
		return r;
	id = json_get_string(j, "Id");
	name = json_get_string(j, "Name");
	if (!id || !name)
		return error_set(ret_error, -EPROTO,
				 "inspect container %s: the answer has no Id and Name", name_or_id);
	/* podman leaves the slash out. */
	if (!streq(name + (name[0] == '/'), name_or_id) &&
	    (strlen(name_or_id) < 12 /* a short id */ || !after_prefix(id, name_or_id)))
		return error_set(ret_error, -ENOENT, "inspect container %s: no such container",
				 name_or_id);
	*ret = steal(j);
	return 0;
}

int engine_inspect_container(struct engine *e, const char *name_or_id, json_t **ret,
			     struct error *ret_error)
{
	_cleanup_json_ json_t *j = NULL, *own = NULL;
	int r = inspect_container(e, name_or_id, &container_rules, &j, ret_error);

	if (r == 0 && e->version.podman && podman_needs_own_answer(j))
		r = engine_inspect_podman(e, name_or_id, &own, ret_error);
	if (r < 0)
		return r;
	if (own)
		podman_mend_state(j, own);
	*ret = steal(j);
	return 0;
}

int engine_inspect_podman(struct engine *e, const char *id, json_t **ret, struct error *ret_error)
{
	return inspect(e, "container", id, true, &container_rules, ret, ret_error);
}

int engine_inspect_neighbour(struct engine *e, const char *id, json_t **ret,
			     struct error *ret_error)
{
	return inspect_container(e, id, &neighbour_rules, ret, ret_error);
}

int engine_look_up(struct engine *e, const char *kind, const char *name, json_t **ret,
		   struct error *ret_error)
{
	_cleanup_free_ char *escaped = engine_escape(name);
	_cleanup_free_ char *path = xasprintf("/%s/%s", kind, escaped);
	_cleanup_free_ char *what = xasprintf("look up %s in %s", name, kind);

	return engine_call(e, (struct call){"GET", path, .what = what, .rules = object_rules}, ret,
			   ret_error);
}

int engine_changes(struct engine *e, const char *id, json_t **ret, struct error *ret_error)
{
	_cleanup_free_ char *path = xasprintf("/containers/%s/changes", id);

	return engine_call(e, (struct call){"GET", path, .what = "list changed files"}, ret,
			   ret_error);
}

int engine_stat(struct engine *e, const char *id, const char *path, json_t **ret,
		struct error *ret_error)
{
	_cleanup_free_ char *escaped = engine_escape(path);
	_cleanup_free_ char *archive = xasprintf("/containers/%s/archive?path=%s", id, escaped);
	_cleanup_free_ char *what = xasprintf("look at %s in the container", path);
	_cleanup_free_ char *header = NULL, *text = NULL;
	_cleanup_http_response_ struct http_response answer = {0};
	size_t n;
	int r = engine_perform(e, e->http, (struct call){"HEAD", archive, .what = what}, &answer,
			       ret_error);

	if (r < 0)
		return r;
	header = http_header(&answer, "X-Docker-Container-Path-Stat");
	text = header ? base64_decode(header, &n) : NULL;
	if (!text)
		return error_set(ret_error, -EPROTO, "the engine does not say what %s is", path);
	return json_parse(text, n, path, ret, ret_error);
}

int engine_tag(struct engine *e, const char *image, const char *repository, const char *tag,
	       struct error *ret_error)
{
	_cleanup_free_ char *i = engine_escape(image), *r = engine_escape(repository),
			    *t = engine_escape(tag);
	_cleanup_free_ char *path = xasprintf("/images/%s/tag?repo=%s&tag=%s", i, r, t);
	_cleanup_free_ char *what = xasprintf("tag %s:%s", repository, tag);

	return engine_call(e, (struct call){"POST", path, .what = what}, NULL, ret_error);
}

int engine_remove_image(struct engine *e, const char *reference, struct error *ret_error)
{
	_cleanup_free_ char *escaped = engine_escape(reference),
			    *path = xasprintf("/images/%s", escaped);
	_cleanup_free_ char *what = xasprintf("remove image %s", reference);

	return engine_call(e, (struct call){"DELETE", path, what, .timeout_ms = REMOVE_CALL_MS},
			   NULL, ret_error);
}

int engine_create(struct engine *e, const char *name, const char *platform, const json_t *body,
		  char **ret_id, struct error *ret_error)
{
	_cleanup_free_ char *escaped = engine_escape(name);
	_cleanup_free_ char *path = xasprintf("/containers/create?name=%s%s%s", escaped,
					      platform[0] ? "&platform=" : "", platform);
	_cleanup_free_ char *what = xasprintf("create container %s", name);
	_cleanup_json_ json_t *answer = NULL;
	const char *id;
	int r = engine_call(e, (struct call){"POST", path, what, .body = body}, &answer, ret_error);

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
	_cleanup_free_ char *escaped = engine_escape(network);
	_cleanup_free_ char *path = xasprintf("/networks/%s/connect", escaped);
	_cleanup_free_ char *what = xasprintf("connect to network %s", network);
	_cleanup_json_ json_t *whole = json_deep_copy(body);

	if (!whole || json_object_set_new(whole, "Container", json_string(id)) < 0)
		return error_set(ret_error, -EINVAL, "%s: not an object", what);
	return engine_call(e, (struct call){"POST", path, what, .body = whole}, NULL, ret_error);
}

static int post_to_container(struct engine *e, const char *id, const char *verb,
			     unsigned int timeout_ms, struct error *ret_error)
{
	_cleanup_free_ char *path = xasprintf("/containers/%s/%s", id, verb);
	_cleanup_free_ char *what =
		xasprintf("%.*s container %.12s", (int)strcspn(verb, "?"), verb, id);

	return engine_call(e, (struct call){"POST", path, what, .timeout_ms = timeout_ms}, NULL,
			   ret_error);
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
	_cleanup_free_ char *escaped = engine_escape(name),
			    *verb = xasprintf("rename?name=%s", escaped);

	return post_to_container(e, id, verb, SHORT_CALL_MS, ret_error);
}

int engine_set_policy(struct engine *e, const char *id, const json_t *policy,
		      struct error *ret_error)
{
	_cleanup_free_ char *path = xasprintf("/containers/%s/update", id);
	_cleanup_json_ json_t *body = json_need(json_pack("{s:O}", "RestartPolicy", policy));
	struct call c = {"POST", path, .what = "set restart policy", .body = body};
	int r = engine_call(e, c, NULL, ret_error);

	/* 20.10 says this of a container that is being removed, and podman of one that ends meanwhile. */
	if (r == -EIO)
		r = ret_error->code = -EEXIST;
	return r;
}

int engine_remove(struct engine *e, const char *id, struct error *ret_error)
{
	_cleanup_free_ char *path = xasprintf("/containers/%s?v=0", id);
	_cleanup_free_ char *what = xasprintf("remove container %.12s", id);

	return engine_call(e, (struct call){"DELETE", path, what, .timeout_ms = REMOVE_CALL_MS},
			   NULL, ret_error);
}
