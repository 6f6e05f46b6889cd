/* SPDX-License-Identifier: MIT */
#include "message.h"

#include <errno.h>

#define DIGESTS_MAX  1024
#define SEQUENCE_MAX ((json_int_t)1 << 53) /* as in a policy: rollout.c */

static int get_digest(const json_t *j, const char *key, struct digest *ret, struct error *ret_error)
{
	if (digest_parse(json_get_string(j, key), ret) < 0)
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
		if (digest_parse(json_string_value(json_array_get(list, i)), &digests[i]) < 0)
			return error_set(ret_error, -EBADMSG, "\"%s\" has an invalid digest", key);
	}
	*ret = steal(digests);
	*ret_n = n;
	return 0;
}

static json_t *digests_to_json(const struct digest *digests, size_t n)
{
	json_t *list = json_need(json_array());

	for (size_t i = 0; i < n; i++)
		json_append(list, json_string(digests[i].text));
	return list;
}

json_t *message_resolve_to_json(const char *image)
{
	return json_need(
		json_pack("{s:s, s:o}", "op", "resolve", "image", json_string_lossy(image)));
}

json_t *message_resolved_to_json(const struct digest *d)
{
	return json_need(json_pack("{s:s}", "digest", d->text));
}

int message_resolved_from_json(const json_t *j, struct digest *ret, unsigned int *ret_retry_after_s,
			       struct error *ret_error)
{
	int q = protocol_get_error(j, ret_retry_after_s, ret_error);

	return q < 0 ? q : get_digest(j, "digest", ret, ret_error);
}

void message_add_document(json_t *documents, const struct digest *d, const char *text, size_t n)
{
	bool fits = documents && n < MESSAGE_DOCUMENTS_MAX && strlen(text) == n;
	json_t *value = fits ? json_string(text) : NULL;

	if (!value)
		return;
	json_put(documents, d->text, value);
	if (json_dumpb(documents, NULL, 0, JSON_COMPACT) > MESSAGE_DOCUMENTS_MAX)
		(void)json_object_del(documents, d->text);
}

static void put_platform(json_t *j, const struct oci_platform *p)
{
	json_put(j, "os", json_string_lossy(p->os));
	json_put(j, "architecture", json_string_lossy(p->architecture));
	json_put(j, "variant", json_string_lossy(p->variant));
}

json_t *message_request_to_json(const struct fetch_request *r)
{
	json_t *layers = r->n_layers > 0 ? digests_to_json(r->layers, r->n_layers) : NULL;
	json_t *j = json_need(json_pack("{s:o, s:o, s:o*}", "image", json_string_lossy(r->image),
					"known", digests_to_json(r->known, r->n_known), "layers",
					layers));

	put_platform(j, &r->platform);
	if (r->read_config)
		json_put(j, "read-config", json_true());
	if (r->documents)
		json_put(j, "documents", json_incref(r->documents));
	return j;
}

static int get_platform(const json_t *j, struct oci_platform *ret, struct error *ret_error)
{
	const char *os = json_get_string(j, "os");
	const char *architecture = json_get_string(j, "architecture");
	const char *variant = json_get_string(j, "variant");

	if (!os || strlen(os) >= sizeof(ret->os) || !architecture ||
	    strlen(architecture) >= sizeof(ret->architecture) ||
	    (variant && strlen(variant) >= sizeof(ret->variant)))
		return error_set(
			ret_error, -EBADMSG,
			"the message has no valid \"os\", \"architecture\" or \"variant\"");
	copy_text(ret->os, sizeof(ret->os), os);
	copy_text(ret->architecture, sizeof(ret->architecture), architecture);
	copy_text(ret->variant, sizeof(ret->variant), variant);
	return 0;
}

int message_request_from_json(const json_t *j, struct fetch_request *ret, struct error *ret_error)
{
	struct fetch_request r = {.image = json_get_string(j, "image"),
				  .read_config = json_is_true(json_object_get(j, "read-config")),
				  .documents = json_object_get(j, "documents")};
	int q = r.image ? get_platform(j, &r.platform, ret_error)
			: error_set(ret_error, -EBADMSG, "the request has no \"image\"");

	if (q == 0 && r.documents && !json_is_object(r.documents))
		q = error_set(ret_error, -EBADMSG, "\"documents\" is not an object");
	if (q == 0)
		q = get_digests(j, "known", &r.known, &r.n_known, ret_error);
	if (q == 0)
		q = get_digests(j, "layers", &r.layers, &r.n_layers, ret_error);
	if (q == 0)
		*ret = r;
	else
		free((void *)r.known);
	return q;
}

json_t *message_reply_to_json(const struct fetch_reply *r)
{
	json_t *j = message_resolved_to_json(&r->digest);

	if (r->withheld[0])
		json_put(j, "withheld", json_string_lossy(r->withheld));
	if (r->known) {
		json_put(j, "known", json_true());
		return j;
	}
	json_put(j, "manifest", json_string(r->manifest.text));
	if (r->manifest_known) {
		json_put(j, "manifest-known", json_true());
		return j;
	}
	json_put(j, "config", json_string(r->config.text));
	json_put(j, "layer-bytes", json_integer((json_int_t)r->layer_bytes));
	if (r->platform.os[0] || r->platform.architecture[0])
		put_platform(j, &r->platform);
	if (digest_is_set(&r->chain))
		json_put(j, "chain", json_string(r->chain.text));
	if (r->zstd)
		json_put(j, "zstd", json_true());
	if (r->version[0])
		json_put(j, "version", json_string(r->version));
	return j;
}

json_t *message_refused_to_json(const struct fetch_reply *r, const struct error *e)
{
	json_t *j = protocol_error_to_json(e, 0);

	json_put(j, "digest", json_string(r->digest.text));
	if (digest_is_set(&r->manifest))
		json_put(j, "manifest", json_string(r->manifest.text));
	return j;
}

/* No policy governs a pinned image: whoever answers with another digest would choose what runs. */
int message_check_pinned(const char *image, const struct digest *d, struct error *ret_error)
{
	const char *pinned = image ? strchr(image, '@') : NULL;

	if (!pinned || streq(pinned + 1, d->text))
		return 0;
	return error_set(ret_error, -EBADMSG, "the message answers %.71s with %s", pinned + 1,
			 d->text);
}

bool message_is_known(const struct fetch_request *request, const struct digest *d)
{
	for (size_t i = 0; i < request->n_known; i++) {
		if (digest_eq(&request->known[i], d))
			return true;
	}
	return false;
}

/* A known digest skips every check of its manifest: the network half may say so only of a digest that was listed in
 * the request. */
static int get_known(const json_t *j, const char *key, const struct fetch_request *request,
		     const struct digest *d, bool *ret, struct error *ret_error)
{
	*ret = json_is_true(json_object_get(j, key));
	if (*ret && !message_is_known(request, d))
		return error_set(ret_error, -EBADMSG,
				 "the message says \"%s\" of a digest that is not", key);
	return 0;
}

static int get_details(const json_t *j, struct fetch_reply *ret, struct error *ret_error)
{
	const json_t *bytes = json_object_get(j, "layer-bytes");
	int q = get_digest(j, "config", &ret->config, ret_error);

	if (q < 0)
		return q;
	if (!json_is_integer(bytes) || json_integer_value(bytes) < 0)
		return error_set(ret_error, -EBADMSG, "the message has no valid \"layer-bytes\"");
	ret->layer_bytes = (uint64_t)json_integer_value(bytes);
	ret->zstd = json_is_true(json_object_get(j, "zstd"));
	release_set_version(ret->version, json_get_string(j, "version"));
	if (json_object_get(j, "chain"))
		q = get_digest(j, "chain", &ret->chain, ret_error);
	return q < 0 || !json_object_get(j, "os") ? q : get_platform(j, &ret->platform, ret_error);
}

/* Only the three that the reply is about, however many a compromised network half sends. */
static void take_documents(const json_t *j, const struct fetch_reply *r, json_t *ret)
{
	const struct digest *const about[] = {&r->digest, &r->manifest, &r->config};

	for (size_t i = 0; i < ARRAY_SIZE(about); i++) {
		const char *text = json_get_string(j, about[i]->text);

		if (text && digest_is_set(about[i]))
			message_add_document(ret, about[i], text, strlen(text));
	}
}

/* The digests that a refusal is final about; none if it is not. */
static void get_refused(const json_t *j, const char *image, struct fetch_reply *ret)
{
	struct digest d;
	struct error ignored;

	if (digest_parse(json_get_string(j, "digest"), &d) < 0 ||
	    message_check_pinned(image, &d, &ignored) < 0)
		return;
	ret->digest = d;
	(void)!digest_parse(json_get_string(j, "manifest"), &ret->manifest);
}

int message_reply_from_json(const json_t *j, const struct fetch_request *request,
			    struct fetch_reply *ret, struct error *ret_error)
{
	struct fetch_reply r = {0};
	int q = message_resolved_from_json(j, &r.digest, &r.retry_after_s, ret_error);

	if (q < 0 && json_object_get(j, "error"))
		*ret = (struct fetch_reply){.retry_after_s = r.retry_after_s};
	if (q == -EKEYREJECTED)
		get_refused(j, request->image, ret);
	if (q == 0)
		q = message_check_pinned(request->image, &r.digest, ret_error);
	if (q == 0)
		q = get_known(j, "known", request, &r.digest, &r.known, ret_error);
	if (q == 0 && !r.known)
		q = get_digest(j, "manifest", &r.manifest, ret_error);
	if (q == 0 && !r.known)
		q = get_known(j, "manifest-known", request, &r.manifest, &r.manifest_known,
			      ret_error);
	if (q == 0 && !r.known && !r.manifest_known)
		q = get_details(j, &r, ret_error);
	if (q < 0)
		return q;
	copy_text(r.withheld, sizeof(r.withheld), json_get_string(j, "withheld"));
	take_documents(json_object_get(j, "documents"), &r, request->documents);
	*ret = r;
	return 0;
}

static bool get_number(const json_t *j, const char *key, uint64_t *ret)
{
	const json_t *v = json_object_get(j, key);

	if (!json_is_integer(v) || json_integer_value(v) < 0)
		return false;
	*ret = (uint64_t)json_integer_value(v);
	return true;
}

static void put_number(json_t *j, const char *key, uint64_t value)
{
	json_put(j, key, json_integer(value < INT64_MAX ? (json_int_t)value : INT64_MAX));
}

json_t *message_blob_to_json(const struct fetch_blob *b)
{
	json_t *j = json_need(json_pack("{s:s, s:o, s:b, s:s}", "op", "blob", "image",
					json_string_lossy(b->image), "manifest", b->manifest,
					"digest", b->digest.text));

	put_number(j, "size", b->size);
	put_number(j, "offset", b->offset);
	put_number(j, "speed", b->speed);
	put_number(j, "allowance", b->allowance);
	put_number(j, "ms", b->ms);
	put_number(j, "ms-whole", b->ms_whole);
	return j;
}

int message_blob_from_json(const json_t *j, struct fetch_blob *ret, struct error *ret_error)
{
	struct fetch_blob b = {.image = json_get_string(j, "image"),
			       .manifest = json_is_true(json_object_get(j, "manifest")),
			       .fd = -1};
	int q = get_digest(j, "digest", &b.digest, ret_error);

	if (q < 0)
		return q;
	if (!b.image || !get_number(j, "size", &b.size) || !get_number(j, "offset", &b.offset) ||
	    !get_number(j, "speed", &b.speed) || !get_number(j, "allowance", &b.allowance) ||
	    !get_number(j, "ms", &b.ms) || b.offset > b.size)
		return error_set(ret_error, -EBADMSG, "the request for a blob is not valid");
	if (!get_number(j, "ms-whole", &b.ms_whole) || b.ms_whole < b.ms)
		b.ms_whole = b.ms;
	if (b.allowance == INT64_MAX)
		b.allowance = UINT64_MAX;
	*ret = b;
	return 0;
}

static const char *const ends[] = {
	[FETCH_WHOLE] = "whole", [FETCH_TIME] = "time", [FETCH_ALLOWANCE] = "allowance"};

json_t *message_fetched_to_json(const struct fetched *f)
{
	json_t *j = json_need(json_pack("{s:s}", "end", ends[f->end]));

	put_number(j, "bytes", f->bytes);
	return j;
}

bool message_is_progress(const json_t *j, struct fetched *ret)
{
	return get_number(j, "progress", &ret->bytes);
}

int message_fetched_from_json(const json_t *j, uint64_t size, struct fetched *ret,
			      struct error *ret_error)
{
	const char *end = json_get_string(j, "end");
	int q = protocol_get_error(j, &ret->retry_after_s, ret_error);
	bool counted = get_number(j, "bytes", &ret->bytes) && ret->bytes <= size;
	size_t i = 0;

	if (!counted)
		ret->bytes = size;
	if (q < 0)
		return q;
	while (i < ARRAY_SIZE(ends) && !streq_null(end, ends[i]))
		i++;
	if (!counted || i == ARRAY_SIZE(ends) || (i == FETCH_WHOLE && ret->bytes != size))
		return error_set(ret_error, -EBADMSG, "the reply about a blob is not valid");
	ret->end = (enum fetch_end)i;
	return 0;
}

json_t *message_traffic_to_json(const struct traffic *t)
{
	json_t *j = json_need(json_pack("{s:s}", "id", t->id));

	put_number(j, "bytes", t->bytes);
	return j;
}

void message_get_traffic(const json_t *j, struct traffic *ret)
{
	const json_t *t = json_object_get(j, "traffic");
	const char *id = json_get_string(t, "id");
	struct traffic new = {0};

	if (!id || !*id || strlen(id) >= sizeof(new.id) || !get_number(t, "bytes", &new.bytes))
		return;
	copy_text(new.id, sizeof(new.id), id);
	*ret = new;
}

json_t *message_rollout_request_to_json(const char *image, const char *ring, bool with_text)
{
	return json_need(json_pack("{s:s, s:o, s:o*, s:o*}", "op", "rollout", "image",
				   json_string_lossy(image), "ring",
				   ring ? json_string_lossy(ring) : NULL, "with-text",
				   with_text ? json_true() : NULL));
}

void rollout_reply_free(struct rollout_reply *r)
{
	free(r->manifest);
	free(r->policy);
	*r = (struct rollout_reply){0};
}

static void add_text(json_t *j, const char *key, const char *text)
{
	json_t *value = text ? json_string(text) : NULL;

	if (value)
		json_put(j, key, value);
}

void message_add_rollout_text(json_t *reply, const struct rollout_reply *r)
{
	add_text(reply, "manifest", r->manifest);
	add_text(reply, "policy", r->policy);
}

static json_t *rollout_to_json(const struct rollout *r)
{
	json_t *points;

	if (r->clear)
		return json_pack("{s:I, s:b, s:s}", "sequence", (json_int_t)r->sequence, "clear",
				 true, "document", r->document.text);
	points = json_need(json_array());
	for (size_t i = 0; i < r->n_points; i++) {
		json_append(points, json_integer(r->points[i].at_s));
		json_append(points, json_integer(r->points[i].share));
	}
	return json_pack("{s:I, s:s, s:s, s:b, s:s, s:I, s:o}", "sequence", (json_int_t)r->sequence,
			 "document", r->document.text, "target", r->target.text, "halt", r->halt,
			 "minimum-version", r->minimum_version, "not-before",
			 (json_int_t)r->not_before_s, "points", points);
}

json_t *message_rollout_reply_to_json(const struct rollout_reply *r)
{
	json_t *j = json_need(json_object());

	json_put(j, "rollout", r->found ? rollout_to_json(&r->rollout) : json_null());
	message_add_rollout_text(j, r);
	return j;
}

static bool read_number(const json_t *list, size_t i, json_int_t most, json_int_t *ret)
{
	const json_t *v = json_array_get(list, i);

	*ret = json_integer_value(v);
	return json_is_integer(v) && *ret >= 0 && *ret <= most;
}

/* The bounds of rollout_parse(): a compromised network half can say no more than a registry. */
static bool read_points(const json_t *list, struct rollout *ret)
{
	size_t n = json_array_size(list);
	json_int_t at, share;

	if (n < 2 || n % 2 || n > (size_t)2 * ROLLOUT_POINTS_MAX)
		return false;
	for (size_t i = 0; i < n / 2; i++) {
		struct rollout_point *p = &ret->points[i];

		if (!read_number(list, 2 * i, ROLLOUT_TIME_MAX, &at) ||
		    !read_number(list, 2 * i + 1, COHORT_ALL, &share))
			return false;
		*p = (struct rollout_point){.at_s = at, .share = (uint32_t)share};
		if (i > 0 && (p->at_s < p[-1].at_s || p->share < p[-1].share))
			return false;
	}
	ret->n_points = n / 2;
	return true;
}

static bool read_rollout(json_t *j, struct rollout *ret)
{
	json_int_t sequence = json_integer_value(json_object_get(j, "sequence")), not_before;
	const char *document = json_get_string(j, "document");
	const char *target, *minimum;
	json_t *points;
	int halt;

	if (sequence < 1 || sequence > SEQUENCE_MAX ||
	    (document && digest_parse(document, &ret->document) < 0))
		return false;
	ret->sequence = (uint64_t)sequence;
	ret->clear = json_is_true(json_object_get(j, "clear"));
	if (ret->clear)
		return true;
	if (json_unpack(j, "{s:s, s:b, s:s, s:I, s:o}", "target", &target, "halt", &halt,
			"minimum-version", &minimum, "not-before", &not_before, "points",
			&points) < 0)
		return false;
	if (not_before < 0 || not_before > ROLLOUT_TIME_MAX ||
	    digest_parse(target, &ret->target) < 0 ||
	    strlen(minimum) >= sizeof(ret->minimum_version))
		return false;
	ret->not_before_s = not_before;
	ret->halt = halt;
	copy_text(ret->minimum_version, sizeof(ret->minimum_version), minimum);
	return read_points(points, ret);
}

/* A copy of the text under key, of max bytes at most; NULL: there is none. Caller frees. */
static char *take_text(const json_t *j, const char *key, size_t max)
{
	const char *text = json_get_string(j, key);

	return text && strlen(text) <= max ? xstrdup(text) : NULL;
}

int message_rollout_reply_from_json(const json_t *j, bool with_text, struct rollout_reply *ret,
				    struct error *ret_error)
{
	json_t *policy = json_object_get(j, "rollout");
	struct rollout_reply r = {.found = !json_is_null(policy)};
	int q;

	*ret = (struct rollout_reply){0};
	q = protocol_get_error(j, &ret->retry_after_s, ret_error);
	if (q == 0 && (!policy || (r.found && !read_rollout(policy, &r.rollout))))
		return error_set(ret_error, -EBADMSG, "the message has no valid \"rollout\"");
	if (q == 0)
		*ret = r;
	if (!with_text)
		return q;
	ret->manifest = take_text(j, "manifest", ROLLOUT_MANIFEST_MAX);
	ret->policy = take_text(j, "policy", ROLLOUT_BYTES_MAX);
	return q;
}
