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

static int ask(struct fetch *f, const char *image, const struct verify_rule *rule,
	       const struct digest *d, enum signature_place first, bool all,
	       struct signed_answer *ret, struct error *ret_error)
{
	_cleanup_(found_free) struct found x = {
		.pairs = xcalloc((size_t)SIGNATURE_PLACES * SIGNATURE_PAIRS_MAX,
				 sizeof(struct signature_pair))};
	struct judgement *judged = ret->judged + ret->n_judged;
	int r = -EKEYREJECTED;

	for (int i = 0; i < SIGNATURE_PLACES && (r == -EKEYREJECTED || (r == 0 && all)); i++) {
		enum signature_place place = place_at(first, i);
		bool news = r < 0;

		r = add_place(f, image, d, place, &x, ret_error);
		if (r < 0)
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
