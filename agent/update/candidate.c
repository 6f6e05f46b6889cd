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
static int ask(struct act_context *h, const struct record *r, const struct world *w,
	       struct pass_state *m, const char *image, const struct digest *seen,
	       struct error *ret_error)
{
	struct digest known[KNOWN_MAX];
	struct fetch_request request = {
		.image = image,
		.platform = engine_version(h->context.engine)->platform,
		.known = known,
		.n_known = list_known(r, w, known),
	};
	struct answer *answer = &m->answer;
	int q;

	if (seen && digest_is_set(seen))
		known[request.n_known++] = *seen;
	answer->reply = (struct fetch_reply){0};
	q = fetch_ask(h->fetch, &request, &answer->reply, ret_error);
	if (q == -ECANCELED || q == -EKEYREJECTED)
		return q;
	answer->known = true;
	answer->error = q < 0 ? *ret_error : (struct error){0};
	return q < 0 ? 0 : find_listed(h, r, w, m, ret_error);
}

int candidate_ask(struct act_context *h, struct record *r, const struct world *w,
		  struct pass_state *m, struct error *ret_error)
{
	_cleanup_free_ char *remade =
		digest_is_set(&m->saved_spec) ? ref_pinned(h->context.ref, &m->saved_spec) : NULL;

	return ask(h, r, w, m, remade ? remade : h->config->image, &r->seen, ret_error);
}

int candidate_ask_details(struct act_context *h, struct record *r, const struct world *w,
			  struct pass_state *m, struct error *ret_error)
{
	_cleanup_free_ char *pinned = ref_pinned(h->context.ref, plan_candidate(r, w, m));

	return ask(h, r, w, m, pinned, NULL, ret_error);
}

int candidate_ask_policy(struct act_context *h, struct record *r, const struct world *w,
			 struct pass_state *m, struct error *ret_error)
{
	struct policy_answer *p = &m->policy;
	char id[DEVICE_ID_SIZE];
	int q;

	/* A device without an id is last. */
	*p = (struct policy_answer){.position = COHORT_ALL - 1};
	q = fetch_ask_rollout(h->fetch, h->config->image, h->agent->ring, &p->reply, ret_error);
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

	json_array_foreach (json_object_get(image, "RepoDigests"), i, v)
		if (json_is_string(v) && has_suffix(json_string_value(v), d->text))
			return true;
	return false;
}
