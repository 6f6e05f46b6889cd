/* SPDX-License-Identifier: MIT */
/* The signatures beside an image, as cosign and skopeo put them into a registry. They are carried and not judged: that one is
 * missing here is no worse than what any network can do. */
#include <errno.h>
#include <stdio.h>
#include <sys/param.h>

#include "log.h"
#include "repository.h"
#include "signature-document.h"

#define ERROR_PAGE_MAX ((size_t)64 * 1024) /* bytes that the answer to a small request may have */
#define TOGETHER_MAX \
	((size_t)512 * 1024) /* bytes of the manifests that are in memory at the same time */

/* A question for the signatures of d. */
struct search {
	struct registry *registry;
	const struct ref *ref;
	const struct digest *d;
	enum signature_place place;
};

static void log_left(const struct search *s, const char *what, const struct error *e)
{
	log_debug("%s/%s: signatures of %s: %s is left out: %s", s->ref->host, s->ref->path,
		  s->d->text, what, e->text);
}

/* Whether the registry has no list of referrers, because it has no such API. */
static bool lacks_api(const struct call *c)
{
	long status = c->result.response.status;

	return c->result.error.code == 0 &&
	       (status == 400 || status == 404 || status == 405 || status == 406 || status == 501);
}

/* The document at the place. -ENOENT: there is none; -EFBIG. The caller frees ret. */
static int get_first(const struct search *s, struct http_response *ret, struct error *ret_error)
{
	const char *hex = s->d->text + strlen("sha256:");
	bool is_api = s->place == SIGNATURES_REFERRERS;
	_cleanup_free_ char *tag =
		xasprintf("sha256-%s%s", hex, s->place == SIGNATURES_TAG ? ".sig" : "");
	struct call c = {
		.repository = s->ref->path,
		.method = "GET",
		.kind = is_api ? "referrers" : "manifests",
		.name = is_api ? s->d->text : tag,
		.max = SIGNATURE_DOCUMENT_MAX,
	};
	int q;

	registry_request_all(s->registry, &c, 1);
	q = is_api && lacks_api(&c)
		    ? error_set(ret_error, -ENOENT, "the registry lists no referrers")
		    : registry_check_status(s->registry, &c, 200, ret_error);
	if (q < 0)
		http_response_free(&c.result.response);
	else
		*ret = c.result.response;
	return q;
}

/* The first of the parts up to i that has the same digest. */
static size_t find_same(struct oci_artifact *const *parts, size_t i)
{
	size_t k = 0;

	while (!digest_eq(&parts[k]->digest, &parts[i]->digest))
		k++;
	return k;
}

/* Takes the answer to a request for a part. One that is gone, too large or not what it is named after stays without data. */
static int take_part(const struct search *s, struct call *c, struct oci_artifact *part,
		     struct error *ret_error)
{
	struct http_response *response = &c->result.response;
	bool is_large = c->result.error.code == -EFBIG, is_gone = response->status == 404;
	struct error e = c->result.error;
	int q = e.code;

	if (!is_large && !is_gone) {
		q = registry_check_status(s->registry, c, 200, ret_error);
		if (q < 0)
			return q;
		q = oci_check_hash(response->body, response->body_len, &part->digest, &e);
	}
	if (is_gone)
		q = error_set(&e, -ENOENT, "the registry does not have it");
	else if (q == 0 && response->body_len != part->size)
		q = error_set(&e, -EBADMSG, "it has another size than its descriptor says");
	if (q == 0)
		part->data = steal(response->body);
	else
		log_left(s, part->digest.text, &e);
	return 0;
}

/* Gives each part its data, as far as the registry has it: n requests at the same time, one for each digest. */
static int get_parts(const struct search *s, const char *kind, struct oci_artifact *const *parts,
		     size_t n, struct error *ret_error)
{
	struct call calls[SIGNATURE_PAIRS_MAX] = {0};
	struct oci_artifact *asked[SIGNATURE_PAIRS_MAX];
	size_t m = 0;
	int q = 0;

	for (size_t i = 0; i < n; i++) {
		if (parts[i]->data || find_same(parts, i) < i)
			continue;
		calls[m] = (struct call){.repository = s->ref->path,
					 .method = "GET",
					 .kind = kind,
					 .name = parts[i]->digest.text,
					 .max = (size_t)MAX(parts[i]->size, ERROR_PAGE_MAX)};
		asked[m++] = parts[i];
	}
	registry_request_all(s->registry, calls, m);
	for (size_t i = 0; i < m; i++) {
		if (q == 0)
			q = take_part(s, &calls[i], asked[i], ret_error);
		http_response_free(&calls[i].result.response);
	}
	/* Two signers of one payload have one blob. */
	for (size_t i = 0; i < n; i++) {
		const struct oci_artifact *same = parts[find_same(parts, i)];
		size_t size = (size_t)same->size;

		if (!parts[i]->data && same->data && size == parts[i]->size)
			parts[i]->data = memcpy(xmalloc(size), same->data, size);
	}
	return q;
}

static void add_layer(const struct search *s, const struct signature_layer *l,
		      struct signatures *ret)
{
	const size_t size = (size_t)l->blob.size;
	const struct signature_pair pair = {.format = SIGNATURE_SIMPLE,
					    .payload = l->blob.data,
					    .n_payload = size,
					    .bytes = l->bytes,
					    .n_bytes = l->n_bytes};
	struct error e;

	if (!l->blob.data) {
		ret->left++;
	} else if (l->format == SIGNATURE_SIMPLE) {
		signatures_add(ret, &pair);
	} else if (signature_bundle_read(l->blob.data, size, ret, &e) < 0) {
		ret->left++;
		log_left(s, l->blob.digest.text, &e);
	}
}

/* Adds the pairs of these layers, newest first. */
static int add_layers(const struct search *s, struct signature_layers *layers,
		      struct signatures *ret, struct error *ret_error)
{
	struct oci_artifact *blobs[SIGNATURE_PAIRS_MAX];
	int q;

	for (size_t i = 0; i < layers->n; i++)
		blobs[i] = &layers->items[i].blob;
	q = get_parts(s, "blobs", blobs, layers->n, ret_error);
	for (size_t i = 0; q == 0 && i < layers->n; i++)
		add_layer(s, &layers->items[i], ret);
	ret->left += layers->left;
	return q;
}

/* How many parts, at least one, can be in memory at the same time. */
static size_t count_together(struct oci_artifact *const *parts, size_t n)
{
	uint64_t sum = parts[0]->size;
	size_t i = 1;

	while (i < n && parts[i]->size <= TOGETHER_MAX && sum <= TOGETHER_MAX - parts[i]->size)
		sum += parts[i++]->size;
	return i;
}

static void add_manifest(const struct search *s, struct oci_artifact *m,
			 struct signature_layers *ret)
{
	_cleanup_free_ char *data = steal(m->data);
	struct error e;

	if (!data) {
		ret->left++;
	} else if (signature_layers_read(data, (size_t)m->size, s->d, ret, &e) < 0) {
		ret->left++;
		log_left(s, m->digest.text, &e);
	}
}

/* Reads the layers of the manifests that a list of referrers names. */
static int read_referrers(const struct search *s, struct signature_referrers *referrers,
			  struct signature_layers *ret, struct error *ret_error)
{
	struct oci_artifact *manifests[SIGNATURE_PAIRS_MAX];
	size_t n;
	int q = 0;

	for (size_t i = 0; i < referrers->n; i++)
		manifests[i] = &referrers->items[i];
	for (size_t i = 0; q == 0 && i < referrers->n; i += n) {
		n = count_together(manifests + i, referrers->n - i);
		q = get_parts(s, "manifests", manifests + i, n, ret_error);
		for (size_t k = i; q == 0 && k < i + n; k++)
			add_manifest(s, manifests[k], ret);
	}
	ret->left += referrers->left;
	return q;
}

/* Whether the list goes on elsewhere (distribution-spec, "Listing Referrers"). What is there is not read: with so many referrers a
 * signature belongs at its tag. */
static bool has_next(const struct http_response *list)
{
	_cleanup_free_ char *link = http_header_all(list, "Link");

	return link && strstr(link, "rel=") && strstr(link, "next");
}

/* Reads the layers that the document at the place names. -EINVAL: it is another document, or too large. */
static int read_first(const struct search *s, const struct http_response *first,
		      struct signature_layers *ret, struct error *ret_error)
{
	_cleanup_(signature_referrers_free) struct signature_referrers referrers = {0};
	int q;

	if (s->place == SIGNATURES_TAG)
		return signature_layers_read(first->body, first->body_len, NULL, ret, ret_error);
	q = signature_referrers_read(first->body, first->body_len, &referrers, ret_error);
	referrers.left += q == 0 && has_next(first);
	return q < 0 ? q : read_referrers(s, &referrers, ret, ret_error);
}

static int search(const struct search *s, bool *ret_found, struct signatures *ret,
		  struct error *ret_error)
{
	_cleanup_(signature_layers_free) struct signature_layers layers = {0};
	_cleanup_http_response_ struct http_response first = {0};
	int q = get_first(s, &first, ret_error);

	*ret_found = q == 0 || q == -EFBIG;
	if (q == -ENOENT)
		return 0;
	if (q == 0)
		q = read_first(s, &first, &layers, ret_error);
	/* A registry without the API may answer with a page of its own. */
	if (q == -EFBIG || q == -EINVAL || (q == -EBADMSG && s->place == SIGNATURES_REFERRERS)) {
		ret->left++;
		log_left(s, signature_place_names[s->place], ret_error);
		return 0;
	}
	return q < 0 ? q : add_layers(s, &layers, ret, ret_error);
}

int repository_signatures(struct registry *r, const struct ref *ref, const struct digest *d,
			  enum signature_place place, struct signatures *ret,
			  struct error *ret_error)
{
	const struct search s = {r, ref, d, place};
	struct registry *mirror;
	bool found;
	int q;

	*ret = (struct signatures){0};
	q = search(&s, &found, ret, ret_error);
	/* A mirror may know the image and list no signature, though the registry has one. */
	mirror = steal(r->mirror);
	if (q == 0 && found && ret->n == 0 && mirror) {
		signatures_free(ret);
		q = search(&s, &found, ret, ret_error);
	}
	r->mirror = mirror;
	if (q == 0)
		return 0;
	signatures_free(ret);
	return error_prefix(ret_error, "%s/%s: signatures of %s", ref->host, ref->path, d->text);
}
