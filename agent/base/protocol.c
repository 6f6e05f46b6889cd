/* SPDX-License-Identifier: MIT */
/* The fields, one object a line:
 *   request  {"image": TEXT, "os": TEXT, "architecture": TEXT, "variant": TEXT,
 *             "known": [DIGEST, ...]}
 *   reply    {"digest": DIGEST, "known": true}
 *            {"digest": DIGEST, "manifest": DIGEST, "manifest-known": true}
 *            {"digest": DIGEST, "manifest": DIGEST, "config": DIGEST, "layer-bytes": NUMBER}
 *   or       {"op": "rollout", "image": TEXT, "ring": TEXT}
 *   reply    {"rollout": null}
 *            {"rollout": {"sequence": NUMBER, "target": DIGEST, "halt": BOOLEAN, "minimum-version": TEXT,
 *                         "not-before": UNIX TIME, "points": [UNIX TIME, SHARE, ...]}}
 *   or       {"op": "report", "metrics": TEXT, "logs": TEXT}, bodies that are posted as they are
 *   reply    {}
 *   all      {"error": {"code": NAME OF AN ERRNO, "text": TEXT, "retry-after": SECONDS}}
 * Fields nobody knows are ignored, so that either half can be newer. Names of errnos, because their
 * numbers differ between architectures. */
#include "protocol.h"

#include <errno.h>
#include <poll.h>

#define DIGESTS_MAX	1024
#define ERRNO_MAX	133
#define RETRY_AFTER_MAX (24 * 60 * 60)

/* Texts carry what strangers said, cut at a byte: not always UTF-8, and jansson takes nothing
 * else. */
static json_t *make_text(const char *s)
{
	_cleanup_free_ char *ascii = NULL;
	json_t *j = json_string(s);

	if (j)
		return j;
	ascii = xstrdup(s);
	for (char *p = ascii; *p; p++) {
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	}
	return json_string(ascii);
}

/* Takes value over. Short of memory is the only way to fail, and a line without its fields must not
 * be sent. */
static void put(json_t *object, const char *key, json_t *value)
{
	if (json_object_set_new(object, key, value) < 0)
		abort();
}

static json_t *make_object(void)
{
	json_t *j = json_object();

	if (!j)
		abort();
	return j;
}

static int code_from_name(const char *name)
{
	for (int e = 1; name && e <= ERRNO_MAX; e++) {
		const char *known = strerrorname_np(e);

		if (known && streq(known, name))
			return -e;
	}
	return -EIO;
}

static int get_digest(const json_t *j, const char *key, struct digest *ret, struct error *ret_error)
{
	const char *s = json_get_string(j, key);

	if (!s || digest_parse(s, ret) < 0)
		return error_set(ret_error, -EBADMSG, "the message has no valid \"%s\"", key);
	return 0;
}

static int get_digests(const json_t *j, const char *key, const struct digest **ret, size_t *ret_n,
		       struct error *ret_error)
{
	const json_t *list = json_object_get(j, key);
	_cleanup_free_ struct digest *digests = NULL;
	size_t n = json_array_size(list);

	if ((list && !json_is_array(list)) || n > DIGESTS_MAX)
		return error_set(ret_error, -EBADMSG, "\"%s\" is not a list of at most %d digests",
				 key, DIGESTS_MAX);
	digests = xcalloc(n, sizeof(*digests));
	for (size_t i = 0; i < n; i++) {
		const char *s = json_string_value(json_array_get(list, i));

		if (!s || digest_parse(s, &digests[i]) < 0)
			return error_set(ret_error, -EBADMSG, "\"%s\" holds no valid digest", key);
	}
	*ret = steal(digests);
	*ret_n = n;
	return 0;
}

static void put_digests(json_t *j, const char *key, const struct digest *digests, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++) {
		if (json_array_append_new(list, json_string(digests[i].text)) < 0)
			abort();
	}
	put(j, key, list);
}

json_t *protocol_request_to_json(const struct fetch_request *r)
{
	json_t *j = make_object();

	put(j, "image", make_text(r->image));
	put(j, "os", make_text(r->os));
	put(j, "architecture", make_text(r->architecture));
	put(j, "variant", make_text(r->variant ? r->variant : ""));
	put_digests(j, "known", r->known, r->n_known);
	if (r->n_layers > 0)
		put_digests(j, "layers", r->layers, r->n_layers);
	return j;
}

json_t *protocol_reply_to_json(const struct fetch_reply *r)
{
	json_t *j = make_object();

	put(j, "digest", json_string(r->digest.text));
	if (r->known) {
		put(j, "known", json_true());
		return j;
	}
	put(j, "manifest", json_string(r->manifest.text));
	if (r->manifest_known) {
		put(j, "manifest-known", json_true());
		return j;
	}
	put(j, "config", json_string(r->config.text));
	put(j, "layer-bytes", json_integer((json_int_t)r->layer_bytes));
	return j;
}

json_t *protocol_error_to_json(const struct error *e, unsigned int retry_after_s)
{
	json_t *j = make_object(), *error = make_object();
	const char *name = strerrorname_np(-e->code);

	put(error, "code", json_string(name ? name : "EIO"));
	put(error, "text", make_text(e->text));
	if (retry_after_s > 0)
		put(error, "retry-after", json_integer(retry_after_s));
	put(j, "error", error);
	return j;
}

int protocol_request_from_json(const json_t *j, struct fetch_request *ret, struct error *ret_error)
{
	struct fetch_request r = {
		.image = json_get_string(j, "image"),
		.os = json_get_string(j, "os"),
		.architecture = json_get_string(j, "architecture"),
		.variant = json_get_string(j, "variant"),
	};
	int q;

	if (!r.image || !r.os || !r.architecture)
		return error_set(ret_error, -EBADMSG,
				 "the request lacks \"image\", \"os\" or \"architecture\"");
	if (!r.variant)
		r.variant = "";
	q = get_digests(j, "known", &r.known, &r.n_known, ret_error);
	if (q < 0)
		return q;
	q = get_digests(j, "layers", &r.layers, &r.n_layers, ret_error);
	if (q < 0) {
		free((void *)r.known);
		return q;
	}
	*ret = r;
	return 0;
}

/* The network half may be in a stranger's hand: a code of its own choice is all it gets. */
static int reply_error(const json_t *error, unsigned int *ret_retry_after, struct error *ret_error)
{
	const char *text = json_get_string(error, "text");
	json_int_t wait = json_integer_value(json_object_get(error, "retry-after"));

	*ret_retry_after = wait <= 0		    ? 0
			   : wait < RETRY_AFTER_MAX ? (unsigned int)wait
						    : RETRY_AFTER_MAX;
	return error_set(ret_error, code_from_name(json_get_string(error, "code")), "%s",
			 text ? text : "the network half failed without a reason");
}

int protocol_reply_from_json(const json_t *j, struct fetch_reply *ret, struct error *ret_error)
{
	const json_t *error = json_object_get(j, "error"), *bytes;
	struct fetch_reply r = {0};
	int q;

	if (error) {
		*ret = r;
		return reply_error(error, &ret->retry_after_s, ret_error);
	}
	q = get_digest(j, "digest", &r.digest, ret_error);
	if (q < 0)
		return q;
	r.known = json_is_true(json_object_get(j, "known"));
	if (r.known) {
		*ret = r;
		return 0;
	}
	q = get_digest(j, "manifest", &r.manifest, ret_error);
	if (q < 0)
		return q;
	r.manifest_known = json_is_true(json_object_get(j, "manifest-known"));
	if (r.manifest_known) {
		*ret = r;
		return 0;
	}
	q = get_digest(j, "config", &r.config, ret_error);
	if (q < 0)
		return q;
	bytes = json_object_get(j, "layer-bytes");
	if (!json_is_integer(bytes) || json_integer_value(bytes) < 0)
		return error_set(ret_error, -EBADMSG, "the message has no valid \"layer-bytes\"");
	r.layer_bytes = (uint64_t)json_integer_value(bytes);
	*ret = r;
	return 0;
}

json_t *protocol_rollout_request_to_json(const struct rollout_request *r)
{
	json_t *j = make_object();

	put(j, "op", json_string("rollout"));
	put(j, "image", make_text(r->image));
	if (r->ring)
		put(j, "ring", make_text(r->ring));
	return j;
}

int protocol_rollout_request_from_json(const json_t *j, struct rollout_request *ret,
				       struct error *ret_error)
{
	if (!streq_null(json_get_string(j, "op"), "rollout"))
		return 1;
	ret->image = json_get_string(j, "image");
	ret->ring = json_get_string(j, "ring");
	return ret->image ? 0 : error_set(ret_error, -EBADMSG, "the request lacks \"image\"");
}

json_t *protocol_rollout_reply_to_json(const struct rollout_reply *reply)
{
	const struct rollout *r = &reply->rollout;
	json_t *j = make_object(), *points = json_array();

	for (size_t i = 0; reply->found && i < r->n_points; i++) {
		if (json_array_append_new(points, json_integer(r->points[i].at_s)) < 0 ||
		    json_array_append_new(points, json_integer(r->points[i].share)) < 0)
			abort();
	}
	put(j, "rollout",
	    reply->found ? json_pack("{s:I, s:s, s:b, s:s, s:I, s:O}", "sequence",
				     (json_int_t)r->sequence, "target", r->target.text, "halt",
				     r->halt, "minimum-version", r->minimum_version, "not-before",
				     (json_int_t)r->not_before_s, "points", points)
			 : json_null());
	json_decref(points);
	return j;
}

/* As checked as if it came from the registry: the network half may be in a stranger's hand. */
static bool read_points(const json_t *list, struct rollout *ret)
{
	size_t n = json_array_size(list);

	if (n < 2 || n % 2 || n > (size_t)2 * ROLLOUT_POINTS_MAX)
		return false;
	for (size_t i = 0; i < n / 2; i++) {
		const json_t *at = json_array_get(list, 2 * i);
		const json_t *share = json_array_get(list, 2 * i + 1);
		struct rollout_point *p = &ret->points[i];

		if (!json_is_integer(at) || !json_is_integer(share) || json_integer_value(at) < 0 ||
		    json_integer_value(at) > ROLLOUT_TIME_MAX || json_integer_value(share) < 0 ||
		    json_integer_value(share) > COHORT_ALL)
			return false;
		p->at_s = json_integer_value(at);
		p->share = (uint32_t)json_integer_value(share);
		if (i > 0 && (p->at_s < p[-1].at_s || p->share < p[-1].share))
			return false;
	}
	ret->n_points = n / 2;
	return true;
}

static bool read_rollout(const json_t *j, struct rollout *ret)
{
	const json_t *sequence = json_object_get(j, "sequence");
	const json_t *not_before = json_object_get(j, "not-before");
	const char *target = json_get_string(j, "target");
	const char *minimum = json_get_string(j, "minimum-version");

	if (!json_is_integer(sequence) || json_integer_value(sequence) < 1 ||
	    !json_is_integer(not_before) || json_integer_value(not_before) < 0 ||
	    json_integer_value(not_before) > ROLLOUT_TIME_MAX ||
	    !json_is_boolean(json_object_get(j, "halt")) || !target ||
	    digest_parse(target, &ret->target) < 0 || !minimum ||
	    strlen(minimum) >= sizeof(ret->minimum_version))
		return false;
	ret->sequence = (uint64_t)json_integer_value(sequence);
	ret->not_before_s = json_integer_value(not_before);
	ret->halt = json_is_true(json_object_get(j, "halt"));
	copy_text(ret->minimum_version, sizeof(ret->minimum_version), minimum);
	return read_points(json_object_get(j, "points"), ret);
}

int protocol_rollout_reply_from_json(const json_t *j, struct rollout_reply *ret,
				     struct error *ret_error)
{
	const json_t *error = json_object_get(j, "error"), *policy = json_object_get(j, "rollout");
	struct rollout_reply r = {.found = !json_is_null(policy)};

	*ret = (struct rollout_reply){0};
	if (error)
		return reply_error(error, &ret->retry_after_s, ret_error);
	if (!policy || (r.found && !read_rollout(policy, &r.rollout)))
		return error_set(ret_error, -EBADMSG, "the message has no valid \"rollout\"");
	*ret = r;
	return 0;
}

int protocol_check_error(const json_t *j, struct error *ret_error)
{
	const json_t *error = json_object_get(j, "error");
	unsigned int ignored;

	return error ? reply_error(error, &ignored, ret_error) : 0;
}

char *protocol_line(const json_t *j)
{
	size_t n = json_dumpb(j, NULL, 0, JSON_COMPACT);
	char *line;

	if (n >= PROTOCOL_LINE_MAX)
		return NULL;
	line = xmalloc(n + 2);
	if (n == 0 || json_dumpb(j, line, n, JSON_COMPACT) != n)
		abort();
	line[n] = '\n';
	line[n + 1] = '\0';
	return line;
}

int protocol_write(int fd, const json_t *j)
{
	_cleanup_free_ char *line = protocol_line(j);

	return line ? write_all(fd, line, strlen(line)) : -EFBIG;
}

/* One or more bytes into buf; waits until deadline. */
static ssize_t read_some(int fd, uint64_t deadline, char *buf, size_t n, struct error *ret_error)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	uint64_t now = now_ms();
	ssize_t got;
	int r;

	r = poll(&p, 1, now < deadline ? (int)(deadline - now) : 0);
	if (r == 0)
		return error_set(ret_error, -ETIMEDOUT, "the other side says nothing");
	/* The only signals the programs catch ask them to end. */
	if (r < 0 && errno == EINTR)
		return error_set(ret_error, -ECANCELED, "interrupted");
	if (r < 0)
		return error_set(ret_error, -errno, "cannot wait for a message: %s",
				 strerror(errno));
	got = read(fd, buf, n);
	if (got < 0 && errno == EINTR)
		return error_set(ret_error, -ECANCELED, "interrupted");
	if (got < 0 && errno != ECONNRESET)
		return error_set(ret_error, -errno, "cannot read a message: %s", strerror(errno));
	if (got <= 0)
		return error_set(ret_error, -EPIPE, "the other side ended without a message");
	return got;
}

int protocol_read(int fd, unsigned int timeout_ms, json_t **ret, struct error *ret_error)
{
	uint64_t deadline = now_ms() + (timeout_ms < INT32_MAX ? timeout_ms : INT32_MAX);
	_cleanup_free_ char *buf = NULL;
	_cleanup_json_ json_t *j = NULL;
	size_t len = 0, size = 0;
	char *newline = NULL;
	int r;

	while (!newline) {
		ssize_t n;

		if (len == PROTOCOL_LINE_MAX)
			return error_set(ret_error, -EFBIG, "the message is over %zu bytes",
					 PROTOCOL_LINE_MAX);
		if (len == size) {
			size = size ? 2 * size : 4096;
			buf = xrealloc(buf, size);
		}
		n = read_some(fd, deadline, buf + len, size - len, ret_error);
		if (n < 0)
			return (int)n;
		newline = memchr(buf + len, '\n', (size_t)n);
		len += (size_t)n;
	}
	/* One question, one answer: more than that is no peer of ours. */
	if (newline != buf + len - 1)
		return error_set(ret_error, -EBADMSG, "the message is followed by something");
	r = json_parse(buf, len, "message", &j, ret_error);
	if (r < 0)
		return r;
	if (!json_is_object(j))
		return error_set(ret_error, -EBADMSG, "the message is not a JSON object");
	*ret = steal(j);
	return 0;
}
