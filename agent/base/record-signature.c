/* SPDX-License-Identifier: MIT */
/* What a record knows of signatures: a seq that never goes down. */
#include "record.h"

bool signature_eq(const struct signature *a, const struct signature *b)
{
	bool same = a->n_keys == b->n_keys && a->expires_s == b->expires_s &&
		    streq(a->reference.text, b->reference.text);

	for (size_t i = 0; same && i < a->n_keys; i++)
		same = digest_eq(&a->keys[i].id, &b->keys[i].id) &&
		       a->keys[i].seq == b->keys[i].seq && streq(a->keys[i].name, b->keys[i].name);
	return same;
}

bool record_lacks_floor(const struct record *r)
{
	return digest_is_set(&r->current.digest) && r->current.signature.n_keys == 0 &&
	       !digest_eq(&r->floor, &r->current.digest);
}

const struct key_sequence *record_find_sequence(const struct record *r, const struct digest *key)
{
	for (size_t i = 0; i < r->n_sequences; i++) {
		if (digest_eq(&r->sequences[i].key, key))
			return &r->sequences[i];
	}
	return NULL;
}

uint64_t record_sequence(const struct record *r, const struct digest *key)
{
	const struct key_sequence *s = record_find_sequence(r, key);

	return s ? s->seq : 0;
}

static void forget(struct record *r, size_t i)
{
	r->n_sequences--;
	memmove(&r->sequences[i], &r->sequences[i + 1],
		(r->n_sequences - i) * sizeof(r->sequences[0]));
}

void record_raise_sequence(struct record *r, const struct key_sequence *s)
{
	const struct key_sequence *before = record_find_sequence(r, &s->key);

	if (!digest_is_set(&s->key) || s->seq <= (before ? before->seq : 0))
		return;
	if (before)
		forget(r, (size_t)(before - r->sequences));
	else if (r->n_sequences == RECORD_SEQUENCES_MAX)
		forget(r, 0);
	r->sequences[r->n_sequences++] = *s;
}

void record_raise_sequences(struct record *r, const struct release *stays, int64_t now_s)
{
	const struct signature *signature = &stays->signature;
	uint64_t highest = 0;
	bool news = false;

	for (size_t i = 0; i < r->n_sequences; i++) {
		if (r->sequences[i].seq > highest)
			highest = r->sequences[i].seq;
	}
	for (size_t i = 0; i < signature->n_keys; i++) {
		const struct signed_key *key = &signature->keys[i];
		const struct key_sequence s = {key->id, key->seq, *release_pulled(stays)};

		news |= key->seq > highest;
		record_raise_sequence(r, &s);
	}
	if (news && now_s > 0)
		r->statement_s = now_s;
}
