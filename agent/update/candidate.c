/* SPDX-License-Identifier: MIT */
#include "candidate.h"

#include "engine.h"
#include "ref.h"
#include "store.h"

#define KNOWN_MAX (2 * RECORD_REJECTED_MAX + 3)

bool candidate_current_is_true(const struct record *r, const struct world *w)
{
	return r->current.image[0] && view_exists(&w->old) && streq(r->current.image, w->old.image);
}

static size_t list_known(const struct record *r, const struct world *w,
			 struct digest known[KNOWN_MAX])
{
	size_t n = 0;

	if (candidate_current_is_true(r, w)) {
		known[n++] = r->current.digest;
		if (digest_is_set(&r->current.manifest))
			known[n++] = r->current.manifest;
	}
	for (size_t i = 0; i < r->n_rejected; i++) {
		known[n++] = r->rejected[i].digest;
		if (digest_is_set(&r->rejected[i].manifest))
			known[n++] = r->rejected[i].manifest;
	}
	return n;
}

static int ask(struct fetch *f, const struct context *s, const char *image,
	       const struct digest *known, size_t n_known, struct fetch_reply *ret,
	       struct error *ret_error)
{
	const struct oci_platform *platform = engine_platform(s->engine);
	struct fetch_request request = {
		.image = image,
		.os = platform->os,
		.architecture = platform->architecture,
		.variant = platform->variant,
		.known = known,
		.n_known = n_known,
	};

	*ret = (struct fetch_reply){0};
	return fetch_ask(f, &request, ret, ret_error);
}

int candidate_ask(struct fetch *f, const struct context *s, const char *image,
		  const struct record *r, const struct world *w, struct fetch_reply *ret,
		  struct error *ret_error)
{
	struct digest known[KNOWN_MAX];
	size_t n = list_known(r, w, known);

	if (digest_is_set(&r->seen))
		known[n++] = r->seen;
	return ask(f, s, image, known, n, ret, ret_error);
}

int candidate_ask_details(struct fetch *f, const struct context *s, const struct digest *d,
			  const struct record *r, const struct world *w, struct fetch_reply *ret,
			  struct error *ret_error)
{
	_cleanup_free_ char *pinned = ref_pinned(s->ref, d);
	struct digest known[KNOWN_MAX];

	return ask(f, s, pinned, known, list_known(r, w, known), ret, ret_error);
}

/* Ids of the layers (of what they unpack to) of an image, lowest first. */
static size_t list_layers(struct engine *e, const char *image, struct digest layers[OCI_LAYERS_MAX])
{
	_cleanup_json_ json_t *j = NULL;
	struct error ignored;
	const json_t *v;
	size_t i, n = 0;

	if (!image[0] || engine_inspect_image(e, image, &j, &ignored) < 0)
		return 0;
	json_array_foreach (json_get_path(j, "RootFS", "Layers", NULL), i, v) {
		if (n == OCI_LAYERS_MAX || !json_is_string(v) ||
		    digest_parse(json_string_value(v), &layers[n]) < 0)
			break;
		n++;
	}
	return n;
}

int candidate_bytes_to_come(struct fetch *f, const struct context *s, const struct world *w,
			    const struct digest *d, uint64_t *ret, struct error *ret_error)
{
	const struct oci_platform *platform = engine_platform(s->engine);
	_cleanup_free_ char *pinned = ref_pinned(s->ref, d);
	_cleanup_free_ struct digest *layers = xcalloc(OCI_LAYERS_MAX, sizeof(*layers));
	struct fetch_request request = {
		.image = pinned,
		.os = platform->os,
		.architecture = platform->architecture,
		.variant = platform->variant,
		.layers = layers,
		.n_layers = list_layers(s->engine, w->old.image, layers),
	};
	struct fetch_reply reply;
	int r = fetch_ask(f, &request, &reply, ret_error);

	if (r == 0)
		*ret = reply.layer_bytes;
	return r;
}

static bool is_listed(struct engine *e, const char *image, const struct digest *d)
{
	_cleanup_json_ json_t *j = NULL;
	struct error ignored;
	const json_t *v;
	size_t i;

	if (engine_inspect_image(e, image, &j, &ignored) < 0)
		return false;
	json_array_foreach (json_object_get(j, "RepoDigests"), i, v) {
		if (json_is_string(v) && has_suffix(json_string_value(v), d->text))
			return true;
	}
	return false;
}

bool candidate_runs_already(struct engine *e, const struct record *r, const struct world *w,
			    const struct fetch_reply *reply)
{
	const char *image = w->old.image;

	if (!view_exists(&w->old))
		return false;
	if (candidate_current_is_true(r, w) && (digest_eq(&reply->digest, &r->current.digest) ||
						digest_eq(&reply->manifest, &r->current.manifest)))
		return true;
	return streq(image, reply->digest.text) || streq(image, reply->config.text) ||
	       streq(image, reply->manifest.text) || is_listed(e, image, &reply->digest);
}

const struct rejected *candidate_rejected(const struct record *r, const struct fetch_reply *reply)
{
	const struct rejected *x = record_rejected(r, &reply->digest);

	return x ? x : record_rejected(r, &reply->manifest);
}

bool candidate_is_broken(const struct container_view *v)
{
	return view_exists(v) && !view_is_up(v) && v->error[0] &&
	       store_judge(v->error, 0) == STORE_DAMAGED;
}

const char *candidate_left_alone(const struct container_view *v)
{
	if (!view_exists(v) || v->state == STATE_RUNNING || v->state == STATE_RESTARTING ||
	    candidate_is_broken(v))
		return NULL;
	if (v->state == STATE_PAUSED)
		return "somebody paused the container";
	if (v->state == STATE_CREATED)
		return "the container was never started";
	if (streq(v->policy, "always") || streq(v->policy, "unless-stopped"))
		return "somebody stopped the container";
	return NULL;
}
