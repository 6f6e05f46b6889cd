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

char *engine_escape(const char *s)
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

int engine_refusal(const struct http_response *r, const char *what, struct error *ret_error)
{
	_cleanup_json_ json_t *j = NULL;
	struct error ignored;
	const char *message = NULL;
	int code;

	if (json_parse(r->body, r->body_len, "answer", &j, &ignored) == 0)
		message = json_get_string(j, "message");
	if (!message)
		message = r->body[0] ? r->body : "no reason given";
	/* The engine was replaced by one of another version: this answer is not about the call. */
	code = r->status == 400 && after_prefix(message, "client version ")
		       ? -EPROTO
		       : status_to_errno(r->status);
	return error_set(ret_error, code, "%s: the engine says: %.450s (HTTP %ld)", what, message,
			 r->status);
}

struct call {
	const char *method; /* NULL: GET */
	const char *path;   /* behind /v1.NN, or behind own; escaped */
	const char *own;    /* podman's own API instead of Docker's */
	const json_t *body;
	unsigned int timeout_ms;
	const char *what; /* for messages */
};

/* One call with a bounded answer; 304 (nothing to do) is success too. ret may be NULL. */
static int call(struct engine *e, struct call c, json_t **ret, struct error *ret_error)
{
	_cleanup_free_ char *url =
		c.own ? xasprintf("http://engine%s%s", c.own, c.path)
		      : xasprintf("http://engine/v1.%d%s", e->version.api_minor, c.path);
	_cleanup_free_ char *body = c.body ? json_text(c.body, JSON_COMPACT) : NULL;
	_cleanup_http_response_ struct http_response answer = {0};
	struct http_request request = {
		.method = c.method ? c.method : "GET",
		.url = url,
		.body = body,
		.body_max = ANSWER_MAX,
		.timeout_ms = c.timeout_ms ? c.timeout_ms : SHORT_CALL_MS,
	};
	int r = c.body && !body ? error_set(ret_error, -EINVAL, "the request is no text")
				: http_perform(e->http, &request, &answer, ret_error);

	if (r < 0)
		return error_prefix(ret_error, "%s: engine", c.what);
	if ((answer.status < 200 || answer.status > 299) && answer.status != 304)
		return engine_refusal(&answer, c.what, ret_error);
	if (!ret)
		return 0;
	/* Go's empty list: no container listed, no file changed. */
	if (after_prefix(answer.body, "null")) {
		*ret = json_need(json_array());
		return 0;
	}
	return json_parse(answer.body, answer.body_len, c.what, ret, ret_error);
}

static int get(struct engine *e, const char *path, const char *what, json_t **ret,
	       struct error *ret_error)
{
	return call(e, (struct call){.path = path, .what = what}, ret, ret_error);
}

static int get_own(struct engine *e, const char *path, const char *what, json_t **ret,
		   struct error *ret_error)
{
	return call(e, (struct call){.own = PODMAN_API, .path = path, .what = what}, ret,
		    ret_error);
}

static int post(struct engine *e, const char *path, const json_t *body, const char *what,
		struct error *ret_error)
{
	return call(e, (struct call){"POST", .path = path, .body = body, .what = what}, NULL,
		    ret_error);
}

static int delete (struct engine *e, const char *path, const char *what, struct error *ret_error)
{
	struct call c = {"DELETE", .path = path, .timeout_ms = REMOVE_CALL_MS, .what = what};

	return call(e, c, NULL, ret_error);
}

/* GET /version is the one call without a version. */
static int negotiate(struct engine *e, struct error *ret_error)
{
	struct call c = {.own = "", .path = "/version", .what = "GET /version"};
	_cleanup_json_ json_t *v = NULL;
	int r = call(e, c, &v, ret_error);

	return r < 0 ? r : version_read(v, &e->version, ret_error);
}

int engine_open(const char *socket, const volatile sig_atomic_t *cancel, struct engine **ret,
		struct error *ret_error)
{
	struct http_options plain = {.unix_socket = socket, .allow_plain = true};
	struct http_options stoppable = plain;
	struct engine *e = xcalloc(1, sizeof(*e));
	int r;

	e->disks[0] = e->disks[1] = -1;
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
	for (size_t i = 0; i < ARRAY_SIZE(e->disks); i++)
		cleanup_close_p(&e->disks[i]);
	free(e);
}

bool engine_is_podman(const struct engine *e)
{
	return e->version.podman;
}

int engine_api_minor(const struct engine *e)
{
	return e->version.api_minor;
}

const struct oci_platform *engine_platform(const struct engine *e)
{
	return &e->version.platform;
}

int engine_info(struct engine *e, json_t **ret, struct error *ret_error)
{
	return get(e, "/info", "info", ret, ret_error);
}

int engine_podman_stopped_by_user(struct engine *e, const char *id)
{
	_cleanup_free_ char *path = xasprintf("/containers/%s/json", id);
	_cleanup_json_ json_t *own = NULL;
	struct error ignored;
	int r = get_own(e, path, "inspect container", &own, &ignored);

	return r < 0 ? r : json_is_true(json_get_path(own, "State", "StoppedByUser", NULL));
}

int engine_inspect_container(struct engine *e, const char *name_or_id, json_t **ret,
			     struct error *ret_error)
{
	_cleanup_free_ char *escaped = engine_escape(name_or_id);
	_cleanup_free_ char *path = xasprintf("/containers/%s/json", escaped);
	_cleanup_free_ char *what = xasprintf("inspect container %s", name_or_id);
	_cleanup_json_ json_t *j = NULL, *own = NULL;
	const char *name, *id;
	int r = get(e, path, what, &j, ret_error);

	if (r < 0)
		return r;
	id = json_get_string(j, "Id");
	name = json_get_string(j, "Name");
	if (!id || !name)
		return error_set(ret_error, -EPROTO, "%s: the answer has no Id and Name", what);
	/* podman leaves the slash out. */
	if (!streq(name + (name[0] == '/'), name_or_id) &&
	    (strlen(name_or_id) < 12 /* a short id */ || !after_prefix(id, name_or_id)))
		return error_set(ret_error, -ENOENT, "%s: no such container", what);
	if (e->version.podman && podman_needs_own_answer(j)) {
		r = get_own(e, path, what, &own, ret_error);
		if (r < 0)
			return r;
		podman_mend_state(j, own);
	}
	*ret = steal(j);
	return 0;
}

int engine_list(struct engine *e, json_t **ret, struct error *ret_error)
{
	return get(e, "/containers/json?all=1", "list containers", ret, ret_error);
}

int engine_inspect_image(struct engine *e, const char *reference, json_t **ret,
			 struct error *ret_error)
{
	_cleanup_free_ char *escaped = engine_escape(reference);
	_cleanup_free_ char *path = xasprintf("/images/%s/json", escaped);
	_cleanup_free_ char *what = xasprintf("inspect image %s", reference);
	_cleanup_json_ json_t *j = NULL, *own = NULL;
	int r = get(e, path, what, &j, ret_error);

	if (r == 0 && e->version.podman)
		r = get_own(e, path, what, &own, ret_error);
	if (r < 0)
		return r;
	if (own)
		podman_mend_image(j, own);
	*ret = steal(j);
	return 0;
}

int engine_list_images(struct engine *e, json_t **ret, struct error *ret_error)
{
	return get(e, "/images/json", "list images", ret, ret_error);
}

int engine_changes(struct engine *e, const char *id, json_t **ret, struct error *ret_error)
{
	_cleanup_free_ char *path = xasprintf("/containers/%s/changes", id);

	return get(e, path, "list changed files", ret, ret_error);
}

int engine_stat(struct engine *e, const char *id, const char *path, json_t **ret,
		struct error *ret_error)
{
	_cleanup_free_ char *escaped = engine_escape(path);
	_cleanup_free_ char *url = xasprintf("http://engine/v1.%d/containers/%s/archive?path=%s",
					     e->version.api_minor, id, escaped);
	_cleanup_free_ char *header = NULL, *text = NULL;
	_cleanup_http_response_ struct http_response answer = {0};
	struct http_request request = {
		.method = "HEAD", .url = url, .body_max = ANSWER_MAX, .timeout_ms = SHORT_CALL_MS};
	size_t n;
	int r = http_perform(e->http, &request, &answer, ret_error);

	if (r < 0)
		return error_prefix(ret_error, "look at %s in the container: engine", path);
	if (answer.status != 200)
		return engine_refusal(&answer, "look at a file in the container", ret_error);
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

	return post(e, path, NULL, what, ret_error);
}

int engine_remove_image(struct engine *e, const char *reference, struct error *ret_error)
{
	_cleanup_free_ char *escaped = engine_escape(reference),
			    *path = xasprintf("/images/%s", escaped);
	_cleanup_free_ char *what = xasprintf("remove image %s", reference);

	return delete (e, path, what, ret_error);
}

int engine_create(struct engine *e, const char *name, const json_t *body, char **ret_id,
		  struct error *ret_error)
{
	_cleanup_free_ char *escaped = engine_escape(name);
	_cleanup_free_ char *path = xasprintf("/containers/create?name=%s", escaped);
	_cleanup_free_ char *what = xasprintf("create container %s", name);
	_cleanup_json_ json_t *answer = NULL;
	const char *id;
	int r = call(e, (struct call){"POST", .path = path, .body = body, .what = what}, &answer,
		     ret_error);

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
	return post(e, path, whole, what, ret_error);
}

static int post_to_container(struct engine *e, const char *id, const char *verb,
			     unsigned int timeout_ms, struct error *ret_error)
{
	_cleanup_free_ char *path = xasprintf("/containers/%s/%s", id, verb);
	_cleanup_free_ char *what =
		xasprintf("%.*s container %.12s", (int)strcspn(verb, "?"), verb, id);

	return call(e, (struct call){"POST", .path = path, .timeout_ms = timeout_ms, .what = what},
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
	_cleanup_free_ char *escaped = engine_escape(name),
			    *verb = xasprintf("rename?name=%s", escaped);

	return post_to_container(e, id, verb, SHORT_CALL_MS, ret_error);
}

int engine_set_policy(struct engine *e, const char *id, const json_t *policy,
		      struct error *ret_error)
{
	_cleanup_free_ char *path = xasprintf("/containers/%s/update", id);
	_cleanup_json_ json_t *body = json_need(json_pack("{s:O}", "RestartPolicy", policy));
	int r = post(e, path, body, "set restart policy", ret_error);

	/* 20.10 says this of a container that is being removed, and podman of one that ends meanwhile. */
	return r == -EIO ? -EEXIST : r;
}

int engine_remove(struct engine *e, const char *id, struct error *ret_error)
{
	_cleanup_free_ char *path = xasprintf("/containers/%s?v=0", id);
	_cleanup_free_ char *what = xasprintf("remove container %.12s", id);

	return delete (e, path, what, ret_error);
}
