/* SPDX-License-Identifier: MIT */
#include "candidate.h"

#include <errno.h>

#include "cohort.h"
#include "device.h"
#include "ref.h"
#include "store.h"

#define KNOWN_MAX (2 * RECORD_REJECTED_MAX + 3)

static size_t list_known(const struct record *r, const struct world *w,
			 struct digest known[KNOWN_MAX])
{
	size_t n = 0;

	if (world_runs_current(w, r)) {
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
	struct fetch_request request = {
		.image = image,
		.platform = *engine_platform(s->engine),
		.known = known,
		.n_known = n_known,
	};

	*ret = (struct fetch_reply){0};
	return fetch_ask(f, &request, ret, ret_error);
}

/* Whether the engine lists the container's image under that digest. */
static int find_listed(const struct act_context *h, const struct record *r, const struct world *w,
		       struct pass_state *m, struct error *ret_error)
{
	_cleanup_json_ json_t *j = NULL;
	int q;

	m->answer.listed = false;
	if (!view_exists(&w->old) || plan_runs_already(r, w, m))
		return 0;
	q = engine_inspect_image(h->context.engine, w->old.image, &j, ret_error);
	if (q == 0)
		m->answer.listed = candidate_has_digest(j, &m->answer.reply.digest);
	return q == -ENOENT || (q < 0 && store_judge(ret_error->text, 0) == STORE_DAMAGED) ? 0 : q;
}

/* A registry that does not answer is a fact; one that must not be believed is an error. */
static int take_answer(const struct act_context *h, const struct record *r, const struct world *w,
		       struct pass_state *m, int code, struct error *ret_error)
{
	if (code == -ECANCELED || code == -EKEYREJECTED)
		return code;
	m->answer.known = true;
	m->answer.error = code < 0 ? *ret_error : (struct error){0};
	return code < 0 ? 0 : find_listed(h, r, w, m, ret_error);
}

int candidate_ask(struct act_context *h, struct record *r, const struct world *w,
		  struct pass_state *m, struct error *ret_error)
{
	bool remade = digest_is_set(&m->saved_spec);
	_cleanup_free_ char *pinned = remade ? ref_pinned(h->context.ref, &m->saved_spec) : NULL;
	struct digest known[KNOWN_MAX];
	size_t n = list_known(r, w, known);
	int q;

	if (digest_is_set(&r->seen))
		known[n++] = r->seen;
	q = ask(h->fetch, &h->context, pinned ? pinned : h->config->image, known, n,
		&m->answer.reply, ret_error);
	return take_answer(h, r, w, m, q, ret_error);
}

int candidate_ask_details(struct act_context *h, struct record *r, const struct world *w,
			  struct pass_state *m, struct error *ret_error)
{
	_cleanup_free_ char *pinned = ref_pinned(h->context.ref, plan_candidate(r, w, m));
	struct digest known[KNOWN_MAX];
	int q = ask(h->fetch, &h->context, pinned, known, list_known(r, w, known), &m->answer.reply,
		    ret_error);

	return take_answer(h, r, w, m, q, ret_error);
}

int candidate_ask_policy(struct act_context *h, struct record *r, const struct world *w,
			 struct pass_state *m, struct error *ret_error)
{
	const struct rollout_request request = {.image = h->config->image, .ring = h->agent->ring};
	struct policy_answer *p = &m->policy;
	char id[DEVICE_ID_SIZE];
	int q;

	*p = (struct policy_answer){.position =
					    COHORT_ALL - 1}; /* a device without an id is last */
	q = fetch_ask_rollout(h->fetch, &request, &p->reply, ret_error);
	if (q == -ECANCELED)
		return q;
	if (q < 0)
		p->error = *ret_error;
	device_id(h->agent->device_id, id);
	if (id[0])
		p->position = cohort_position(id, plan_candidate(r, w, m));
	p->known = true;
	p->asked_ms = now_ms();
	return 0;
}

int candidate_find_image(struct act_context *h, struct record *r, const struct world *w,
			 struct pass_state *m, struct error *ret_error)
{
	bool rollback = m->operation == OPERATION_ROLLBACK;
	_cleanup_free_ char *pinned = ref_pinned(h->context.ref, plan_candidate(r, w, m));
	_cleanup_json_ json_t *j = NULL;
	int q = engine_inspect_image(h->context.engine, rollback ? r->previous.image : pinned, &j,
				     ret_error);

	m->image_present = q == 0;
	m->image_known = q == 0 || q == -ENOENT || store_judge(ret_error->text, 0) == STORE_DAMAGED;
	return m->image_known ? 0 : q;
}

bool candidate_has_digest(const json_t *image, const struct digest *d)
{
	const json_t *v;
	size_t i;

	json_array_foreach (json_object_get(image, "RepoDigests"), i, v) {
		if (json_is_string(v) && has_suffix(json_string_value(v), d->text))
			return true;
	}
	return false;
}

/* Ids of the layers (of what they unpack to) of an image, lowest first. */
static size_t list_layers(struct engine *e, const char *image, struct digest layers[OCI_LAYERS_MAX])
{
	_cleanup_json_ json_t *j = NULL;
	struct error ignored;
	const json_t *v;
	size_t i, n = 0;

	/* Unknown layers only make the estimate larger. */
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
	_cleanup_free_ char *pinned = ref_pinned(s->ref, d);
	_cleanup_free_ struct digest *layers = xcalloc(OCI_LAYERS_MAX, sizeof(*layers));
	struct fetch_request request = {
		.image = pinned,
		.platform = *engine_platform(s->engine),
		.layers = layers,
		.n_layers = list_layers(s->engine, w->old.image, layers),
	};
	struct fetch_reply reply;
	int r = fetch_ask(f, &request, &reply, ret_error);

	if (r == 0)
		*ret = reply.layer_bytes;
	return r;
}
