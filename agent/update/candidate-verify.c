/* SPDX-License-Identifier: MIT */
/* Who signed the candidate. What was verified once is in the record, and asks no registry again. */
#include <errno.h>

#include "candidate.h"
#include "log.h"
#include "signed.h"

struct verify_rule candidate_rule(const struct pass *p, bool exempt)
{
	return (struct verify_rule){.config = p->c,
				    .ref = p->context.ref,
				    .record = &p->record,
				    .exempt = exempt,
				    .now_s = p->state.now_s};
}

const struct digest *candidate_pulled(const struct pass *p)
{
	const struct digest *d = pass_candidate(p);

	return p->verified && digest_eq(d, &p->state.verified) ? verified_digest(p->verified) : d;
}

/* The version that runs, or that ran and is to be created again from its saved spec: what was revoked or has expired
 * since does not count against it. */
static bool runs_here(const struct pass *p, const struct digest *d)
{
	return digest_is_set(&p->state.saved_spec) || (digest_eq(d, &p->record.current.digest) &&
						       world_runs_current(&p->world, &p->record));
}

static bool is_ordered_back(const struct pass *p)
{
	return p->state.operation == OPERATION_ROLLBACK ||
	       (p->record.phase == PHASE_PREPARE && p->record.rollback);
}

/* The release of the record that has this digest; NULL: none. */
static const struct release *find_release(const struct pass *p, const struct digest *d)
{
	const struct record *r = &p->record;
	const struct release *const all[] = {&r->target, &r->current, &r->previous};

	/* Outside an update target is not in use. */
	for (size_t i = r->phase == PHASE_PREPARE ? 0 : 1; i < ARRAY_SIZE(all); i++) {
		if (digest_eq(&all[i]->digest, d))
			return all[i];
	}
	return NULL;
}

/* How d was verified before; digest empty: it never was. */
static struct signed_candidate find_known(const struct pass *p, const struct digest *d)
{
	const struct signed_candidate *c = &p->record.signed_candidate;
	const struct digest *manifest = &p->state.answer.reply.manifest;
	const struct release *release = find_release(p, d);

	/* The operator may have chosen another platform since. */
	if (digest_eq(&c->digest, d) && (digest_eq(&c->pulled, d) || !digest_is_set(manifest) ||
					 digest_eq(&c->pulled, manifest)))
		return *c;
	if (!release || release->signature.n_keys == 0)
		return (struct signed_candidate){0};
	return (struct signed_candidate){
		.digest = *d, .pulled = *release_pulled(release), .signature = release->signature};
}

static int verify_known(const struct pass *p, const struct signed_candidate *known, bool runs,
			struct verified **ret, struct error *ret_error)
{
	struct verify_rule rule = candidate_rule(p, runs || is_ordered_back(p));
	struct container_config unrevoked = *p->c;

	unrevoked.revoked = NULL;
	if (runs)
		rule.config = &unrevoked;
	return verify_recorded(&rule, &known->pulled, &known->signature, rule.exempt, ret,
			       ret_error);
}

/* One that others brought here has no signature in the record, but may have one in the registry. */
static int verify_adopted(const struct pass *p, const struct digest *pulled, struct verified **ret,
			  struct error *ret_error)
{
	_cleanup_free_ struct signed_answer *answer = xmalloc(sizeof(*answer));
	const struct verify_rule rule = candidate_rule(p, true);
	int q = signed_ask(p->fetch, p->c->image, &rule, pulled, pulled, p->record.place, false,
			   answer, ret_error);

	if (q == 0)
		*ret = answer->verified;
	return q;
}

int candidate_verify_again(const struct pass *p, const struct release *release,
			   struct verified **ret, struct error *ret_error)
{
	const struct signed_candidate known = {.digest = release->digest,
					       .pulled = *release_pulled(release),
					       .signature = release->signature};

	if (!p->c->keys)
		return verify_unsigned(p->c, &known.pulled, ret, ret_error);
	return known.signature.n_keys > 0 ? verify_known(p, &known, true, ret, ret_error)
					  : verify_adopted(p, &known.pulled, ret, ret_error);
}

/* This platform's manifest of d; empty: not known, as answer.error says if the registry was asked. */
static int find_manifest(struct pass *p, const struct digest *d, struct digest *ret,
			 struct error *ret_error)
{
	const struct answer *answer = &p->state.answer;
	const struct release *release = find_release(p, d);
	bool asked = answer->known && answer->error.code == 0;
	int q = 0;

	*ret = (struct digest){0};
	if (release && digest_is_set(&release->manifest))
		*ret = release->manifest;
	else if (asked && !digest_is_set(&answer->reply.manifest))
		q = candidate_ask_details(p, ret_error);
	if (q == 0 && asked && digest_eq(&answer->reply.digest, d) &&
	    digest_is_set(&answer->reply.manifest))
		*ret = answer->reply.manifest;
	return q;
}

static void note_verified(struct pass *p, const struct signed_candidate *s,
			  enum signature_place place)
{
	p->state.verified = s->digest;
	p->state.signature = *s;
	p->state.place = place;
}

/* Asks the registry. A registry that does not even answer what the digest is leaves it to answer.error. */
static int verify_asked(struct pass *p, const struct digest *d, bool runs, struct error *ret_error)
{
	_cleanup_free_ struct signed_answer *answer = xmalloc(sizeof(*answer));
	const struct verify_rule rule = candidate_rule(p, runs || is_ordered_back(p));
	struct signed_candidate found = {.digest = *d};
	bool answered = p->state.answer.error.code == 0;
	struct digest manifest;
	int q = find_manifest(p, d, &manifest, ret_error);

	if (q < 0 || (answered && p->state.answer.error.code < 0))
		return q;
	q = signed_ask(p->fetch, p->c->image, &rule, d, &manifest, p->record.place, false, answer,
		       ret_error);
	if (q < 0)
		return q == -EKEYREJECTED ? error_prefix(ret_error, RESULT_SIGNATURE) : q;
	p->verified = answer->verified;
	found.pulled = answer->digest;
	found.signature = answer->signature;
	note_verified(p, &found, answer->place);
	return 0;
}

static int verify_remembered(struct pass *p, const struct signed_candidate *known, bool runs,
			     struct error *ret_error)
{
	int q = digest_is_set(&known->digest)
			? verify_known(p, known, runs, &p->verified, ret_error)
			: -EKEYREJECTED;

	if (q == 0)
		note_verified(p, known, p->record.place);
	return q;
}

/* Whether the index of what runs was pushed again, with the same manifest: the registry may not have the older one any more, by which
 * it was pulled. */
static bool index_has_moved(const struct pass *p, const struct digest *d,
			    const struct digest *pulled)
{
	const struct release *release = find_release(p, d);

	return release && digest_is_set(pulled) && !digest_eq(pulled, d) &&
	       !digest_eq(pulled, &release->manifest);
}

/* Nobody verified that the newer index has the manifest which runs: who said so may have named an older one. A registry that does not
 * answer leaves it to the next question. */
static int check_moved(const struct pass *p, const struct digest *d, const struct digest *pulled,
		       struct error *ret_error)
{
	_cleanup_free_ char *pinned = ref_pinned(p->context.ref, d);
	const struct fetch_request request = {.image = pinned, .platform = *candidate_platform(p)};
	const struct digest *runs = &find_release(p, d)->manifest;
	struct fetch_reply reply = {0};
	int q = fetch_ask(p->fetch, &request, &reply, ret_error);

	if (q < 0 || !digest_eq(&reply.digest, d) || digest_eq(&reply.manifest, runs))
		return q == -ECANCELED ? q : 0;
	return error_set(ret_error, -EKEYREJECTED,
			 RESULT_SIGNATURE ": %s was said to be what runs, but has %s, and %s, "
					  "which was verified, has %s; another version replaces it",
			 d->text, reply.manifest.text, pulled->text, runs->text);
}

static int verify_signed(struct pass *p, const struct digest *d, struct error *ret_error)
{
	const struct signed_candidate known = find_known(p, d);
	bool runs = runs_here(p, d), moved = index_has_moved(p, d, &known.pulled);
	int q = moved ? check_moved(p, d, &known.pulled, ret_error) : 0;

	if (q < 0)
		return q;
	q = moved ? verify_asked(p, d, runs, ret_error)
		  : verify_remembered(p, &known, runs, ret_error);
	/* Other keys may have signed it since; and of what runs a newer index need not be signed. */
	if (q == -EKEYREJECTED)
		q = moved ? verify_remembered(p, &known, runs, ret_error)
			  : verify_asked(p, d, runs, ret_error);
	return q;
}

int candidate_verify(struct pass *p, struct error *ret_error)
{
	const struct digest d = *pass_candidate(p);
	const struct release *release = find_release(p, &d);
	int q;

	free(steal(p->verified));
	p->state.verified = (struct digest){0};
	p->state.signature = (struct signed_candidate){0};
	if (!digest_is_set(&d)) {
		p->state.no_key_demands = !p->c->keys;
		return p->c->keys
			       ? error_set(ret_error, -EKEYREJECTED,
					   RESULT_SIGNATURE
					   ": key= is set, and of the previous version no digest "
					   "is known that could be signed")
			       : 0;
	}
	if (p->c->keys)
		return verify_signed(p, &d, ret_error);
	q = verify_unsigned(
		p->c, release && p->record.phase == PHASE_PREPARE ? release_pulled(release) : &d,
		&p->verified, ret_error);
	if (q == 0)
		p->state.verified = d;
	return q;
}

int candidate_ask_floor(struct pass *p, struct error *ret_error)
{
	_cleanup_free_ struct record *floor = xcalloc(1, sizeof(*floor));
	struct pass_state *m = &p->state;
	int q;

	floor->current = p->record.current;
	floor->place = p->record.place;
	q = signed_ask_floor(p->fetch, p->c, p->context.ref, floor, &m->place, ret_error);
	if (q < 0)
		return q;
	m->n_floor = floor->n_sequences;
	memcpy(m->floor, floor->sequences, sizeof(m->floor));
	m->floor_of = p->record.current.digest;
	if (m->n_floor == 0 && p->record.n_sequences == 0)
		log_warning("%s: the version that runs, %s, has no signed seq, so any seq of the "
			    "first update is taken",
			    p->c->name, m->floor_of.text);
	return 0;
}

/* What fails is not tried again before the next time: it makes no poll fail. */
int candidate_ask_renewal(struct pass *p, struct error *ret_error)
{
	_cleanup_free_ struct signed_answer *answer = xmalloc(sizeof(*answer));
	const struct verify_rule rule = candidate_rule(p, false);
	const struct digest *pulled = release_pulled(&p->record.current);
	int q = signed_ask(p->fetch, p->c->image, &rule, pulled, pulled, p->record.place, false,
			   answer, ret_error);

	if (q == -ECANCELED)
		return q;
	p->state.renewal_known = true;
	if (q < 0) {
		log_debug("%s", ret_error->text);
		return 0;
	}
	p->state.renewal = answer->signature;
	free(answer->verified);
	return 0;
}
