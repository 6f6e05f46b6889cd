/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>

#include "blob.h"
#include "crypto.h"
#include "message.h"
#include "protocol.h"
#include "repository.h"
#include "sealed.h"
#include "session.h"

#define REPORT_TIMEOUT_MS 20000u
#define REPORT_ANSWER_MAX ((size_t)64 * 1024)

static int refuse_platform(const struct oci_document *index, const struct oci_platform *host,
			   struct error *ret_error)
{
	char has[256] = "", mine[96], other[96];
	size_t len = 0;

	for (size_t i = 0; i < index->n_entries && len < sizeof(has); i++) {
		if (!index->entries[i].platform.os[0])
			continue;
		len += (size_t)snprintf(
			has + len, sizeof(has) - len, "%s%s", len ? ", " : "",
			oci_platform_text(&index->entries[i].platform, other, sizeof(other)));
	}
	return error_set(ret_error, -EKEYREJECTED,
			 "the image has no manifest for %s (it has: %s%s)",
			 oci_platform_text(host, mine, sizeof(mine)), len ? has : "none",
			 len >= sizeof(has) ? "..." : "");
}

/* Sets reply->manifest to the platform's manifest in the index *document, and replaces the index by that manifest
 * unless its digest is known. */
static int choose(struct registry *registry, const struct ref *ref,
		  const struct fetch_request *request, struct oci_document *document,
		  struct fetch_reply *reply, struct error *ret_error)
{
	const struct oci_entry *entry = oci_choose(document, &request->platform);
	uint64_t size;
	int r;

	if (!entry)
		return refuse_platform(document, &request->platform, ret_error);
	reply->manifest = entry->digest;
	reply->manifest_known = message_is_known(request, &entry->digest);
	if (reply->manifest_known)
		return 0;
	size = entry->size;
	if (size > OCI_DOCUMENT_MAX)
		return error_set(ret_error, -EKEYREJECTED,
				 "the manifest has %ju bytes, more than the %zu that are taken",
				 (uintmax_t)size, OCI_DOCUMENT_MAX);
	oci_document_free(document);
	r = repository_document(registry, ref, &reply->manifest, document, ret_error);
	if (r < 0)
		return r;
	if (document->is_index)
		return error_set(ret_error, -EKEYREJECTED,
				 "the index lists an index as a manifest");
	if (document->size != size)
		return error_set(ret_error, -EKEYREJECTED,
				 "the index says the manifest has %ju bytes, but it has %zu",
				 (uintmax_t)size, document->size);
	return 0;
}

static int ask_registry(struct registry *registry, const struct ref *ref,
			const struct fetch_request *request, struct fetch_reply *ret,
			struct error *ret_error)
{
	_cleanup_(oci_document_free) struct oci_document document = {0};
	struct image_config config = {0};
	struct fetch_resolved resolved;
	int r;

	repository_resolve(registry, &ref, 1, &resolved);
	*ret_error = resolved.error;
	if (ret_error->code < 0)
		return ret_error->code;
	ret->digest = resolved.digest;
	ret->known = message_is_known(request, &ret->digest);
	if (ret->known)
		return 0;
	r = repository_document(registry, ref, &ret->digest, &document, ret_error);
	if (r == 0 && !document.is_index)
		ret->manifest = ret->digest;
	else if (r == 0)
		r = choose(registry, ref, request, &document, ret, ret_error);
	if (r < 0 || ret->manifest_known)
		return r;
	ret->config = document.config;
	ret->layer_bytes = document.layer_bytes;
	for (size_t i = 0; i < document.n_layers; i++)
		ret->zstd |= document.layers[i].compression == OCI_ZSTD;
	if (request->read_config || request->n_layers > 0)
		r = repository_config(registry, ref, &document, request->layers, request->n_layers,
				      &config, ret_error);
	ret->platform = config.platform;
	ret->chain = config.chain;
	release_set_version(ret->version, config.version[0] ? config.version : document.version);
	for (size_t i = 0; i < config.shared && i < document.n_layers; i++)
		ret->layer_bytes -= document.layers[i].size;
	return r;
}

/* A question of the batch and its answer. */
struct item {
	const json_t *question;
	const char *op; /* "" for an image */
	bool alone;	/* the only one of its batch */
	struct ref ref;
	json_t *answer;
};

static const struct credential *find_credential(const struct session *s, const struct item *item)
{
	return credentials_find(&s->options.credentials, item->ref.path);
}

/* A mirror or the question's documents answered in place of the registry: where that would send credentials is known from
 * itself only. */
static int learn_challenge(struct registry *r, const struct ref *ref, const struct digest *d,
			   struct error *ret_error)
{
	struct call c = {
		.repository = ref->path, .method = "HEAD", .kind = "manifests", .name = d->text};
	struct registry *mirror = steal(r->mirror);
	int q = 0;

	if (!r->answered && !r->tokens.challenge.realm)
		q = registry_request(r, &c, 200, NULL, ret_error);
	r->mirror = mirror;
	return mirror || r->answered ? 0 : q;
}

/* What was read for the question, less what it brought; NULL if it wants none. */
static json_t *read_documents(struct registry *r, json_t *brought)
{
	json_t *documents = steal(r->documents), *text;
	const char *digest;

	json_object_foreach (brought, digest, text)
		(void)json_object_del(documents, digest);
	return documents;
}

static int image(struct session *s, struct item *item, struct error *ret_error)
{
	_cleanup_free_ char *withheld = NULL;
	_cleanup_json_ json_t *documents = NULL;
	struct fetch_request request = {0};
	struct fetch_reply reply = {0};
	int r = message_request_from_json(item->question, &request, ret_error);

	if (r == 0) {
		s->registry->documents = json_copy(request.documents);
		r = ask_registry(s->registry, &item->ref, &request, &reply, ret_error);
		documents = read_documents(s->registry, request.documents);
	}
	free((void *)request.known);
	free((void *)request.layers);
	/* An answer: what the digest stands for can never be used, which the engine half remembers. */
	if (r == -EKEYREJECTED && digest_is_set(&reply.digest)) {
		item->answer = message_refused_to_json(&reply, ret_error);
		return 0;
	}
	if (r == 0 && !reply.known && credential_is_set(find_credential(s, item)))
		r = learn_challenge(s->registry, &item->ref, &reply.digest, ret_error);
	if (r < 0)
		return r;
	withheld = registry_withheld(s->registry, find_credential(s, item));
	copy_text(reply.withheld, sizeof(reply.withheld), withheld);
	item->answer = message_reply_to_json(&reply);
	if (documents)
		json_put(item->answer, "documents", steal(documents));
	return 0;
}

/* The descriptor and the progress belong to the batch, so that a blob has one of its own. */
static int blob(struct session *s, struct item *item, struct error *ret_error)
{
	struct fetch_blob b;
	struct fetched fetched;
	int r = message_blob_from_json(item->question, &b, ret_error);

	if (r < 0)
		return r;
	if (!item->alone || s->caller->n_fds != 1)
		return error_set(ret_error, -EBADMSG,
				 "a blob needs a batch of its own with one descriptor");
	b.fd = s->caller->fds[0];
	r = blob_bring(s, &item->ref, &b, &fetched, ret_error);
	item->answer = r < 0 ? protocol_error_to_json(ret_error, fetched.retry_after_s)
			     : message_fetched_to_json(&fetched);
	if (r < 0)
		json_put(item->answer, "bytes", json_integer((json_int_t)fetched.bytes));
	return 0;
}

/* Reads the policy beside the image: its numbers for one ring, and its text for an engine half that verifies it. An invalid one
 * may be unsigned, too, so that its text stands beside the error. */
static int read_rollout(struct session *s, const struct item *item, struct rollout_reply *ret,
			struct error *ret_error)
{
	const struct ref *ref = &item->ref;
	_cleanup_free_ char *tag = publish_tag(ref);
	size_t n = 0;
	int r = tag ? repository_policy(s->registry, ref, tag, &ret->policy, &n, &ret->manifest,
					ret_error)
		    : -ENOENT;

	ret->found = r != -ENOENT;
	if (r < 0)
		return ret->found ? r : 0;
	r = rollout_parse(ret->policy, n, json_get_string(item->question, "ring"), &ret->rollout,
			  ret_error);
	ret->rollout.document = hash_bytes(ret->policy, n);
	return r < 0 ? error_prefix(ret_error, "%s/%s:%s is no valid policy", ref->host, ref->path,
				    tag)
		     : 0;
}

static int rollout(struct session *s, struct item *item, struct error *ret_error)
{
	_cleanup_(rollout_reply_free) struct rollout_reply reply = {0};
	int r = read_rollout(s, item, &reply, ret_error);

	if (!json_is_true(json_object_get(item->question, "with-text"))) {
		replace_string(&reply.manifest, NULL);
		replace_string(&reply.policy, NULL);
	}
	item->answer = r < 0 ? protocol_error_to_json(ret_error, s->registry->retry_after_s)
			     : message_rollout_reply_to_json(&reply);
	if (r < 0)
		message_add_rollout_text(item->answer, &reply);
	return 0;
}

/* The engine half judges them. */
static int signatures(struct session *s, struct item *item, struct error *ret_error)
{
	_cleanup_(signatures_free) struct signatures found = {0};
	enum signature_place place;
	struct digest d;
	int r = message_signatures_request_from_json(item->question, &d, &place, ret_error);

	if (r == 0)
		r = repository_signatures(s->registry, &item->ref, &d, place, &found, ret_error);
	if (r == 0)
		item->answer = message_signatures_to_json(&found);
	return r;
}

/* A missing delta is an answer, which the engine half remembers. */
static int delta(struct session *s, struct item *item, struct error *ret_error)
{
	struct fetch_delta delta;
	struct digest from, to;
	int r = message_delta_request_from_json(item->question, &from, &to, ret_error);

	if (r == 0)
		r = repository_delta(s->registry, &item->ref, &from, &to, &delta, ret_error);
	if (r < 0 && r != -ENOENT)
		return r;
	item->answer = message_delta_to_json(r == 0 ? &delta : NULL);
	if (r == 0)
		fetch_delta_free(&delta);
	return 0;
}

static int ignore_data(void *userdata, const char *data, size_t n)
{
	return 0;
}

static int post(struct http *http, const struct report_config *config, const char *authorization,
		const char *path, const char *body, struct error *ret_error)
{
	const char *headers[] = {authorization, NULL};
	_cleanup_free_ char *url = xasprintf("%s%s", config->url, path);
	_cleanup_http_response_ struct http_response response = {0};
	struct http_request request = {
		.method = "POST",
		.url = url,
		.headers = headers,
		.body = body,
		.body_max = REPORT_ANSWER_MAX,
		.timeout_ms = REPORT_TIMEOUT_MS,
		.on_data = ignore_data,
	};
	int r;

	if (!body)
		return 0;
	r = http_perform(http, &request, &response, ret_error);
	if (r < 0)
		return error_prefix(ret_error, "%s", url);
	return response.status / 100 == 2 ? 0
					  : error_set(ret_error, -EREMOTEIO, "%s: HTTP status %ld",
						      url, response.status);
}

/* Posts to the OpenTelemetry collector of the configuration: the sender of a report cannot choose its URL. A failure
 * is not retried, since the next report has newer values. */
static int report(struct session *s, struct item *item, struct error *ret_error)
{
	const struct report_config *config = &s->config->report;
	const struct http_options options = {.trust = &s->options.trust,
					     .allow_plain = true,
					     .cancel = s->options.cancel,
					     .meter = &s->traffic.meter};
	const char *authorization = credentials_find(&s->options.credentials, "")->basic;
	_cleanup_http_ struct http *http = NULL;
	const char *metrics = json_get_string(item->question, "metrics"),
		   *logs = json_get_string(item->question, "logs");
	struct error other;
	int r = http_new(&options, &http, ret_error);

	if (r < 0)
		return r;
	r = post(http, config, authorization, "/v1/metrics", metrics, ret_error);
	if (r == 0)
		r = post(http, config, authorization, "/v1/logs", logs, ret_error);
	else if (r == -EREMOTEIO) /* some collectors accept only one of the two */
		(void)!post(http, config, authorization, "/v1/logs", logs, &other);
	if (r == 0)
		item->answer = json_object();
	return r;
}

/* Sends each login of the question to the registry, which may be one for a part of it. */
static int login(struct session *s, struct item *item, struct error *ret_error)
{
	const struct credentials *set = &s->options.credentials;
	bool any = false;
	int r = 0;

	for (size_t i = 0; r == 0 && i < set->n; i++) {
		const struct credential *c = &set->items[i];
		struct call call = {
			.repository = c->scope, .method = "GET", .kind = "", .name = ""};
		_cleanup_free_ char *withheld = NULL;

		if (!credential_is_set(c) && any)
			continue;
		if (!credential_is_set(c))
			return error_set(ret_error, -EBADMSG, "%s", c->hint);
		any = true;
		r = registry_request(s->registry, &call, 200, NULL, ret_error);
		withheld = registry_withheld(s->registry, c);
		if (r == 0 && withheld)
			r = error_set(ret_error, -EACCES, "%s", withheld);
	}
	if (r == 0)
		item->answer = json_object();
	return r;
}

/* The logins of the question, instead of those of this machine. No token of theirs is kept: each is asked for now. */
static int take_logins(struct session *s, const json_t *question, struct error *ret_error)
{
	s->options.cache_dir = -1;
	credentials_free(&s->options.credentials);
	return credentials_add(&s->options.credentials, json_get_string(question, "from") ?: "",
			       json_object_get(question, "logins"), s->options.host, true,
			       ret_error);
}

static bool is_publishing(const char *op)
{
	return streq(op, "publish") || streq(op, "push-delta") || streq(op, "find-deltas") ||
	       streq(op, "read-manifest");
}

/* Answers a question that a device never asks. */
static int answer_publisher(struct session *s, struct item *item, struct error *ret_error)
{
	const json_t *question = item->question;

	if (streq(item->op, "push-delta"))
		return publish_delta(s, &item->ref, question, &item->answer, ret_error);
	if (streq(item->op, "find-deltas"))
		return publish_find_deltas(s->registry, &item->ref, json_get_string(question, "to"),
					   &item->answer, ret_error);
	if (streq(item->op, "read-manifest"))
		return publish_read_manifest(s->registry, &item->ref, &item->answer, ret_error);
	return publish(s->registry, &item->ref, json_object_get(question, "policy"), &item->answer,
		       ret_error);
}

/* Parses what all questions have in common, and checks that this session may answer. */
static int prepare(struct session *s, struct item *item, struct error *ret_error)
{
	const char *text = json_get_string(item->question, "image");
	const char *op = json_get_string(item->question, "op"), *why = "";
	int r;

	item->op = op ? op : "";
	if (streq(item->op, "report"))
		return session_bind(s, "", ret_error);
	if (sealed_is_op(item->op))
		return s->asked || !item->alone
			       ? error_set(ret_error, -EPERM, "%s takes a connection of its own",
					   item->op)
			       : 0;
	/* Only a child that was started with --publish publishes, never the socket of a device. */
	if (is_publishing(item->op) && !s->publishing)
		return error_set(
			ret_error, -EPERM,
			"this socket publishes nothing: use pullet rollout or pullet delta");
	if (streq(item->op, "login") != s->login)
		return error_set(ret_error, -EPERM, "logins are for pullet login");
	if (!text)
		return error_set(ret_error, -EBADMSG, "the request lacks \"image\"");
	r = ref_parse(text, &item->ref, &why);
	if (r < 0)
		return error_set(ret_error, r, "%s: %s", text, why);
	r = session_bind(s, item->ref.host, ret_error);
	if (r == 0 && s->login)
		r = take_logins(s, item->question, ret_error);
	if (r == 0)
		r = session_open_registry(s, ret_error);
	return r < 0 ? r : credential_check(find_credential(s, item), ret_error);
}

/* Answers all questions for the digest of a tag, at the same time. */
static void resolve(struct session *s, struct item *items, size_t n)
{
	_cleanup_free_ struct fetch_resolved *resolved = xcalloc(n, sizeof(*resolved));
	const struct ref *refs[PROTOCOL_BATCH_MAX];
	struct item *asked[PROTOCOL_BATCH_MAX];
	size_t m = 0;

	for (size_t i = 0; i < n; i++) {
		if (items[i].answer || !streq(items[i].op, "resolve"))
			continue;
		refs[m] = &items[i].ref;
		asked[m++] = &items[i];
	}
	repository_resolve(s->registry, refs, m, resolved);
	for (size_t i = 0; i < m; i++) {
		const struct fetch_resolved *f = &resolved[i];

		asked[i]->answer = f->error.code < 0
					   ? protocol_error_to_json(&f->error, f->retry_after_s)
					   : message_resolved_to_json(&f->digest);
	}
}

/* The files of the registry were read by prepare(), maybe as root; the service is not root. */
static int check(struct session *s, struct item *item, struct error *ret_error)
{
	const char *path = s->options.config->credentials;

	if (path && access(path, R_OK) < 0 && !after_prefix(path, CREDENTIAL_STORE "/"))
		return error_set(
			ret_error, -errno,
			"credentials %s: the user of pullet-fetch cannot read it: %s; run: pullet "
			"login %s --from %s, and remove credentials =",
			path, strerror(errno), s->options.host, path);
	if (s->options.trust.skipped)
		return error_set(ret_error, -EACCES, "%s", s->options.trust.skipped);
	item->answer = json_object();
	return 0;
}

static int answer_one(struct session *s, struct item *item, struct error *ret_error)
{
	if (streq(item->op, "report"))
		return report(s, item, ret_error);
	if (is_publishing(item->op))
		return answer_publisher(s, item, ret_error);
	if (streq(item->op, "rollout"))
		return rollout(s, item, ret_error);
	if (streq(item->op, "signatures"))
		return signatures(s, item, ret_error);
	if (streq(item->op, "login"))
		return login(s, item, ret_error);
	if (streq(item->op, "check"))
		return check(s, item, ret_error);
	if (streq(item->op, "blob"))
		return blob(s, item, ret_error);
	if (streq(item->op, "delta"))
		return delta(s, item, ret_error);
	if (sealed_is_op(item->op))
		return sealed_answer(s, item->op, item->question, &item->answer, ret_error);
	return image(s, item, ret_error);
}

void answer_batch(struct session *s, json_t *const *questions, size_t n, json_t **ret)
{
	struct item items[PROTOCOL_BATCH_MAX] = {0};
	struct error e;

	for (size_t i = 0; i < n; i++) {
		items[i].question = questions[i];
		items[i].alone = n == 1;
		if (prepare(s, &items[i], &e) < 0)
			items[i].answer = protocol_error_to_json(&e, 0);
	}
	if (s->registry)
		registry_begin(s->registry);
	resolve(s, items, n);
	for (size_t i = 0; i < n; i++) {
		struct item *item = &items[i];

		if (!item->answer && answer_one(s, item, &e) < 0)
			item->answer = protocol_error_to_json(
				&e, s->registry ? s->registry->retry_after_s : 0);
		ret[i] = item->answer;
		ref_free(&item->ref);
	}
	if (s->registry)
		registry_end(s->registry);
	for (size_t i = 0; i < n; i++)
		session_put_traffic(s, ret[i]);
}
