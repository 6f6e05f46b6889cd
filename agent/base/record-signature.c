/* SPDX-License-Identifier: MIT */
/* What a record knows of signatures: a seq that never goes down. */
#include "record.h"

bool signature_eq(const struct signature *a, const struct signature *b)
{
	bool same = a->n_keys == b->n_keys && a->expires_s == b->expires_s;

	for (size_t i = 0; same && i < a->n_keys; i++)
		same = digest_eq(&a->keys[i].id, &b->keys[i].id) &&
		       a->keys[i].seq == b->keys[i].seq && streq(a->keys[i].name, b->keys[i].name);
	return same;
}

static size_t find(const struct record *r, const struct digest *key)
{
	size_t i = 0;

	while (i < r->n_sequences && !digest_eq(&r->sequences[i].key, key))
		i++;
	return i;
}

uint64_t record_sequence(const struct record *r, const struct digest *key)
{
	size_t i = find(r, key);

	return i < r->n_sequences ? r->sequences[i].seq : 0;
}

static void forget(struct record *r, size_t i)
{
	r->n_sequences--;
	memmove(&r->sequences[i], &r->sequences[i + 1],
		(r->n_sequences - i) * sizeof(r->sequences[0]));
}

void record_raise_sequence(struct record *r, const struct key_sequence *s)
{
	size_t i = find(r, &s->key);

	if (!digest_is_set(&s->key) || s->seq <= record_sequence(r, &s->key))
		return;
	if (i < r->n_sequences)
		forget(r, i);
	else if (i == RECORD_SEQUENCES_MAX)
		forget(r, 0);
	r->sequences[r->n_sequences++] = *s;
}

void record_raise_sequences(struct record *r, int64_t now_s)
{
	const struct signature *signature = &r->target.signature;
	uint64_t highest = 0;
	bool news = false;

	for (size_t i = 0; i < r->n_sequences; i++) {
		if (r->sequences[i].seq > highest)
			highest = r->sequences[i].seq;
	}
	for (size_t i = 0; i < signature->n_keys; i++) {
		const struct signed_key *key = &signature->keys[i];
		const struct key_sequence s = {key->id, key->seq, *release_pulled(&r->target)};

		news |= key->seq > highest;
		record_raise_sequence(r, &s);
	}
	if (news && now_s > 0)
		r->statement_s = now_s;
}
