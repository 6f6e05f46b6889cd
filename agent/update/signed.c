/* SPDX-License-Identifier: MIT */
#include "signed.h"

#include <errno.h>

/* What was found of one digest. */
struct found {
	struct signatures places[SIGNATURE_PLACES]; /* in the order in which they were asked */
	size_t n_places;
	struct signature_pair *pairs; /* of all places; what they point to is borrowed */
	size_t n;
};

static void found_free(struct found *x)
{
	for (size_t i = 0; i < x->n_places; i++)
		signatures_free(&x->places[i]);
	free(x->pairs);
}

/* Adds what one place has. */
static int add_place(struct fetch *f, const char *image, const struct digest *d,
		     enum signature_place place, struct found *x, struct error *ret_error)
{
	struct signatures *s = &x->places[x->n_places];
	int r = fetch_ask_signatures(f, image, d, place, s, ret_error);

	/* Neither a refusal nor an absence is the network half's to tell. */
	if (r == -EKEYREJECTED || r == -ENOENT || r == -EEXIST)
		r = ret_error->code = -EREMOTEIO;
	if (r < 0)
		return r;
	x->n_places++;
	memcpy(x->pairs + x->n, s->pairs, s->n * sizeof(s->pairs[0]));
	x->n += s->n;
	return 0;
}

/* The one that was asked for first, then the others in their order. */
static enum signature_place place_at(enum signature_place first, int i)
{
	if (i == 0)
		return first;
	return (enum signature_place)(i <= (int)first ? i - 1 : i);
}

/* Whether another place may have the statement of a key that none has so far: an old version by that key would be taken for new
 * later. */
static bool lacks_key(const struct verify_rule *rule, const struct signature *s)
{
	size_t n;
	struct error ignored;

	return rule->record && !rule->policy && !rule->exempt &&
	       verify_count_keys(rule->config, &n, &ignored) == 0 && s->n_keys < n;
}

static int ask(struct fetch *f, const char *image, const struct verify_rule *rule,
	       const struct digest *d, enum signature_place first, bool all,
	       struct signed_answer *ret, struct error *ret_error)
{
	_cleanup_(found_free) struct found x = {
		.pairs = xcalloc((size_t)SIGNATURE_PLACES * SIGNATURE_PAIRS_MAX,
				 sizeof(struct signature_pair))};
	struct judgement *judged = ret->judged + ret->n_judged;
	int r = -EKEYREJECTED;

	for (int i = 0; i < SIGNATURE_PLACES &&
			(r == -EKEYREJECTED || all || lacks_key(rule, &ret->signature));
	     i++) {
		enum signature_place place = place_at(first, i);
		bool news = r < 0;
		int q = add_place(f, image, d, place, &x, news ? ret_error : &ret->missed);

		/* What is known suffices: this is no worse than a place where nothing is. */
		r = news || q == 0 ? q : r;
		if (q < 0)
			break;
		free(steal(ret->verified));
		r = verify_signatures(rule, d, x.pairs, x.n, judged, &ret->signature,
				      &ret->verified, ret_error);
		if (r == 0 && news)
			ret->place = place;
	}
	for (size_t i = 0; i < x.n_places; i++)
		ret->left += x.places[i].left;
	for (size_t i = 0; i < x.n; i++)
		ret->of[ret->n_judged++] = *d;
	if (r == 0)
		ret->digest = *d;
	else
		free(steal(ret->verified));
	return r;
}

int signed_ask(struct fetch *f, const char *image, const struct verify_rule *rule,
	       const struct digest *d, const struct digest *m, enum signature_place first, bool all,
	       struct signed_answer *ret, struct error *ret_error)
{
	struct error said;
	size_t n;
	int r;

	*ret = (struct signed_answer){.place = first};
	r = ask(f, image, rule, d, first, all, ret, ret_error);
	if (r != -EKEYREJECTED || !digest_is_set(m) || digest_eq(d, m))
		return r;
	/* Of two refusals, the one about signatures says more than the one about their absence. */
	said = *ret_error;
	n = ret->n_judged;
	r = ask(f, image, rule, m, first, all, ret, ret_error);
	if (r == -EKEYREJECTED && (n > 0 || ret->n_judged == n))
		*ret_error = said;
	return r;
}

int signed_ask_floor(struct fetch *f, const struct container_config *c, const struct ref *ref,
		     struct record *record, enum signature_place *ret_place,
		     struct error *ret_error)
{
	_cleanup_free_ struct signed_answer *answer = xmalloc(sizeof(*answer));
	const struct release *current = &record->current;
	const struct digest *manifest =
		digest_is_set(&current->pulled) ? &current->pulled : &current->manifest;
	const struct verify_rule rule = {.config = c, .ref = ref, .exempt = true};
	int r = signed_ask(f, c->image, &rule, &current->digest, manifest, record->place, true,
			   answer, ret_error);

	if (r == 0)
		free(answer->verified);
	if (r < 0 && r != -EKEYREJECTED)
		return r;
	if (answer->missed.code < 0) {
		*ret_error = answer->missed;
		return ret_error->code;
	}
	*ret_place = answer->place;
	for (size_t i = 0; i < answer->n_judged; i++) {
		const struct judgement *j = &answer->judged[i];
		const struct key_sequence s = {j->key_id, j->seq, answer->of[i]};

		if (j->key[0] && !j->fault[0])
			record_raise_sequence(record, &s);
	}
	return 0;
}
