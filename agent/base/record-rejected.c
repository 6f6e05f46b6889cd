/* SPDX-License-Identifier: MIT */
/* The digests of a record that are not tried again. */
#include "record.h"

static bool is_of(const struct digest *d, const struct digest *digest,
		  const struct digest *manifest)
{
	return digest_eq(d, digest) || digest_eq(d, manifest);
}

/* What one version of the engine could not use another may; NULL: any version. */
static bool holds_for(const char *of, const char *engine)
{
	return !engine || !*of || streq(of, engine);
}

const char *record_rejected(const struct record *r, const struct digest *d, const char *engine)
{
	for (size_t i = 0; i < r->n_rejected; i++) {
		const struct rejected *x = &r->rejected[i];

		if (is_of(d, &x->digest, &x->manifest) && holds_for(x->engine, engine))
			return x->reason;
	}
	for (size_t i = 0; i < r->n_rejected_before; i++) {
		const struct rejected_before *x = &r->rejected_before[i];

		if (is_of(d, &x->digest, &x->manifest) && holds_for(x->engine, engine))
			return "too long ago for its reason to be kept";
	}
	return NULL;
}

static size_t list(const struct digest *digest, const struct digest *manifest, struct digest *ret)
{
	ret[0] = *digest;
	if (!digest_is_set(manifest))
		return 1;
	ret[1] = *manifest;
	return 2;
}

size_t record_list_rejected(const struct record *r, const char *engine,
			    struct digest ret[RECORD_KNOWN_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < r->n_rejected; i++) {
		if (holds_for(r->rejected[i].engine, engine))
			n += list(&r->rejected[i].digest, &r->rejected[i].manifest, ret + n);
	}
	for (size_t i = 0; i < r->n_rejected_before; i++) {
		const struct rejected_before *x = &r->rejected_before[i];

		if (holds_for(x->engine, engine))
			n += list(&x->digest, &x->manifest, ret + n);
	}
	return n;
}

static void forget_before(struct record *r, size_t i)
{
	r->n_rejected_before--;
	memmove(&r->rejected_before[i], &r->rejected_before[i + 1],
		(r->n_rejected_before - i) * sizeof(r->rejected_before[0]));
}

/* A registry can name any number of digests that no engine can use: those must not push out what failed on trial. */
static void append_before(struct record *r, const struct rejected *x)
{
	struct rejected_before *b;
	size_t i = 0;

	if (r->n_rejected_before == RECORD_BEFORE_MAX) {
		while (i < RECORD_BEFORE_MAX && !r->rejected_before[i].engine[0])
			i++;
		forget_before(r, i % RECORD_BEFORE_MAX);
	}
	b = &r->rejected_before[r->n_rejected_before++];
	*b = (struct rejected_before){.digest = x->digest, .manifest = x->manifest};
	copy_text(b->engine, sizeof(b->engine), x->engine);
}

void record_reject(struct record *r, const struct release *target, const char *engine,
		   const char *reason)
{
	struct rejected *x;
	size_t n = 0;

	if (!digest_is_set(&target->digest))
		return;
	for (size_t i = 0; i < r->n_rejected; i++) {
		if (!digest_eq(&r->rejected[i].digest, &target->digest))
			r->rejected[n++] = r->rejected[i];
	}
	for (size_t i = r->n_rejected_before; i-- > 0;) {
		if (digest_eq(&r->rejected_before[i].digest, &target->digest))
			forget_before(r, i);
	}
	if (n == RECORD_REJECTED_MAX) {
		append_before(r, &r->rejected[0]);
		memmove(r->rejected, r->rejected + 1, --n * sizeof(r->rejected[0]));
	}
	x = &r->rejected[n++];
	r->n_rejected = n;
	*x = (struct rejected){.digest = target->digest, .manifest = target->manifest};
	copy_text(x->engine, sizeof(x->engine), engine);
	copy_text(x->reason, sizeof(x->reason), reason);
}
