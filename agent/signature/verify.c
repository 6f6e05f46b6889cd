/* SPDX-License-Identifier: MIT */
#include "verify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "calendar.h"
#include "crypto.h"
#include "key.h"
#include "statement.h"

struct verified {
	struct digest digest;
};

/* How far a pair came; of several that do not count people are told of the one that came farthest. */
enum stage {
	STAGE_KEY,
	STAGE_STATEMENT,
	STAGE_IDENTITY,
	STAGE_AGE,
	STAGE_COUNTS,
};

static struct verified *make_verified(const struct digest *d)
{
	struct verified *v = xcalloc(1, sizeof(*v));

	v->digest = *d;
	return v;
}

const struct digest *verified_digest(const struct verified *v)
{
	return &v->digest;
}

static int require_digest(const struct container_config *c, const struct digest *d,
			  struct error *ret_error)
{
	return digest_is_set(d) ? 0
				: error_set(ret_error, -EINVAL, "%s: no digest to verify", c->name);
}

int verify_unsigned(const struct container_config *c, const struct digest *d, struct verified **ret,
		    struct error *ret_error)
{
	int r = require_digest(c, d, ret_error);

	if (r < 0)
		return r;
	/* An empty list is not the same as no key: the operator requires a check. */
	if (c->keys)
		return error_set(ret_error, -EKEYREJECTED,
				 "%s: key= is set, and no signature of %s was checked", c->name,
				 d->text);
	*ret = make_verified(d);
	return 0;
}

/* Names the reference for which a statement was found to hold. */
static struct digest hash_reference(const struct ref *ref)
{
	_cleanup_free_ char *text =
		xasprintf("%s/%s:%s", ref->host, ref->path, ref->tag ? ref->tag : "");

	return hash_bytes(text, strlen(text));
}

/* DSSE v1, "PAE": what is signed of a bundle. Caller frees. */
static char *encode_envelope(const struct signature_pair *p, size_t *ret_n)
{
	static const char type[] = "application/vnd.in-toto+json";
	_cleanup_free_ char *head =
		xasprintf("DSSEv1 %zu %s %zu ", strlen(type), type, p->n_payload);
	char *text;

	*ret_n = strlen(head) + p->n_payload;
	text = xmalloc(*ret_n + 1);
	memcpy(mempcpy(text, head, strlen(head)), p->payload, p->n_payload);
	return text;
}

/* The key that signed the pair, or NULL. */
static const struct key *find_key(const struct key_set *keys, const struct signature_pair *p)
{
	_cleanup_free_ char *envelope = NULL;
	const char *data = p->payload;
	size_t n = p->n_payload;

	if (p->n_payload == 0 || p->n_payload > SIGNATURE_PAYLOAD_MAX ||
	    p->n_bytes > SIGNATURE_BYTES_MAX)
		return NULL;
	if (p->format == SIGNATURE_BUNDLE)
		data = envelope = encode_envelope(p, &n);
	for (size_t i = 0; i < keys->n; i++) {
		if (key_signed(&keys->items[i], data, n, p->bytes, p->n_bytes))
			return &keys->items[i];
	}
	return NULL;
}

static bool tag_is_ours(const struct verify_rule *rule, const char *tag)
{
	const char *rest = rule->ref->tag ? after_prefix(tag, rule->ref->tag) : NULL;

	return rest && (!*rest || (rule->policy && streq(rest, ".rollout")));
}

static int check_tag(const struct verify_rule *rule, const char *tag, struct error *ret_error)
{
	if (!tag || tag_is_ours(rule, tag))
		return 0;
	if (!rule->ref->tag)
		return error_set(ret_error, -EKEYREJECTED,
				 "it is for the tag %.128s, and the reference has no tag", tag);
	return error_set(ret_error, -EKEYREJECTED, "it is for the tag %.128s, and not for %s", tag,
			 rule->ref->tag);
}

/* Whether a signed reference is one of the digest d, and has no other tag. same: and of the configured repository. */
static int check_reference(const struct verify_rule *rule, const struct digest *d, const char *text,
			   bool same, struct error *ret_error)
{
	_cleanup_(ref_free) struct ref ref = {0};
	const char *why, *slash = strrchr(text, '/');
	int r = ref_parse(text, &ref, &why);

	if (r < 0)
		return same ? error_set(ret_error, -EKEYREJECTED,
					"it is for '%.128s', which is no reference: %s", text, why)
			    : 0;
	if (same && (!streq(ref.host, rule->ref->host) || !streq(ref.path, rule->ref->path)))
		return error_set(ret_error, -EKEYREJECTED, "it is for %s/%s, and not for %s/%s",
				 ref.host, ref.path, rule->ref->host, rule->ref->path);
	if (digest_is_set(&ref.digest) && !digest_eq(&ref.digest, d))
		return error_set(ret_error, -EKEYREJECTED, "its reference is of %s",
				 ref.digest.text);
	/* Without a digest ref_parse() fills in a tag where there is none. */
	if (!digest_is_set(&ref.digest) && !strchr(slash ? slash : text, ':'))
		return 0;
	return check_tag(rule, ref.tag, ret_error);
}

/* Whether the statement is on the configured image: on anything else the same key may sign, too. */
static int check_identity(const struct verify_rule *rule, const struct digest *d,
			  const struct statement *s, struct error *ret_error)
{
	int r = 0;

	if (!digest_eq(&s->subject, d))
		return error_set(ret_error, -EKEYREJECTED, "it is for another digest, %s",
				 s->subject.text);
	if (!s->image && !s->reference && !rule->named)
		return error_set(ret_error, -EKEYREJECTED,
				 "it names no repository: sign with cosign sign -a image=%s/%s",
				 rule->ref->host, rule->ref->path);
	if (s->image)
		r = check_reference(rule, d, s->image, true, ret_error);
	/* With an annotation it may name the registry to which the image was pushed. */
	if (r == 0 && s->reference)
		r = check_reference(rule, d, s->reference, !s->image && !rule->named, ret_error);
	return r < 0 ? r : check_tag(rule, s->tag, ret_error);
}

/* Whether another version of another key came to stay after the one that s, of the record, is of. */
static bool was_replaced(const struct record *r, const struct key_sequence *s)
{
	for (const struct key_sequence *k = s + 1; k < r->sequences + r->n_sequences; k++) {
		if (!digest_eq(&k->digest, &s->digest))
			return true;
	}
	return false;
}

/* Whether that key has not signed a higher number before, nor the same one for another digest. */
static int check_sequence(const struct verify_rule *rule, const struct digest *d,
			  const struct digest *key, uint64_t seq, struct error *ret_error)
{
	const struct key_sequence *seen =
		rule->record ? record_find_sequence(rule->record, key) : NULL;

	if (rule->policy || rule->exempt || !seen || seen->seq == 0)
		return 0;
	if (seq == 0)
		return error_set(ret_error, -EKEYREJECTED,
				 "it has no seq, and seq %" PRIu64 " of that key was seen",
				 seen->seq);
	if (seq < seen->seq)
		return error_set(ret_error, -EKEYREJECTED,
				 "its seq %" PRIu64 " is below %" PRIu64
				 ", which was seen: an older version",
				 seq, seen->seq);
	if (seq == seen->seq && !digest_eq(&seen->digest, d))
		return error_set(ret_error, -EKEYREJECTED,
				 "its seq %" PRIu64 " was seen with another digest, %s", seq,
				 seen->digest.text);
	if (seq == seen->seq && was_replaced(rule->record, seen))
		return error_set(
			ret_error, -EKEYREJECTED,
			"its seq %" PRIu64
			" was seen, and after it a version of another key: an older version",
			seq);
	return 0;
}

static int check_expires(const struct verify_rule *rule, int64_t expires_s, struct error *ret_error)
{
	char when[32];

	if (rule->exempt || rule->now_s == 0 || expires_s == 0 || rule->now_s < expires_s)
		return 0;
	return error_set(ret_error, -EKEYREJECTED, "it expired at %s: sign the image again",
			 calendar_rfc3339(expires_s, when, sizeof(when)));
}

/* Judges what a key of ours has signed. */
static enum stage judge_statement(const struct verify_rule *rule, const struct digest *d,
				  const struct signature_pair *p, const struct key *key,
				  struct judgement *j, struct error *ret_error)
{
	_cleanup_(statement_free) struct statement s = {0};

	if (key->revoked) {
		(void)error_set(ret_error, -EKEYREJECTED, "the key is revoked");
		return STAGE_KEY;
	}
	if (statement_parse(p->format, p->payload, p->n_payload, &s, ret_error) < 0)
		return STAGE_STATEMENT;
	j->seq = s.seq;
	j->expires_s = s.expires_s;
	if (check_identity(rule, d, &s, ret_error) < 0)
		return STAGE_IDENTITY;
	if (check_sequence(rule, d, &key->id, s.seq, ret_error) < 0 ||
	    check_expires(rule, s.expires_s, ret_error) < 0)
		return STAGE_AGE;
	return STAGE_COUNTS;
}

static enum stage judge_pair(const struct verify_rule *rule, const struct digest *d,
			     const struct key_set *keys, const struct signature_pair *p,
			     struct judgement *j)
{
	const struct key *key = find_key(keys, p);
	enum stage stage = STAGE_KEY;
	struct error e = {0};

	*j = (struct judgement){.format = p->format};
	if (key) {
		copy_text(j->key, sizeof(j->key), key->name);
		j->key_id = key->id;
		stage = judge_statement(rule, d, p, key, j, &e);
	} else {
		(void)error_set(&e, -EKEYREJECTED, "no configured key made it");
	}
	if (stage != STAGE_COUNTS)
		copy_text(j->fault, sizeof(j->fault), e.text);
	return stage;
}

/* What is known after some of the pairs. */
struct tally {
	struct signature signature;	       /* expires_s is not set */
	int64_t expires_s[SIGNATURE_KEYS_MAX]; /* of each of its keys */
	struct judgement best;		       /* of those that do not count */
	enum stage stage;		       /* of best */
};

/* INT64_MAX: never. */
static int64_t end_of(int64_t expires_s)
{
	return expires_s ? expires_s : INT64_MAX;
}

/* Each key counts once: by its highest number, and of that by the statement that holds the longest. */
static void count_pair(struct tally *t, const struct judgement *j)
{
	struct signature *s = &t->signature;
	struct signed_key *k;
	size_t i = 0;

	while (i < s->n_keys && !digest_eq(&s->keys[i].id, &j->key_id))
		i++;
	k = &s->keys[i];
	if (i == s->n_keys) {
		s->n_keys++;
	} else if (j->seq < k->seq ||
		   (j->seq == k->seq && end_of(j->expires_s) <= end_of(t->expires_s[i]))) {
		return;
	}
	*k = (struct signed_key){.id = j->key_id, .seq = j->seq};
	copy_text(k->name, sizeof(k->name), j->key);
	t->expires_s[i] = j->expires_s;
}

static unsigned int threshold_of(const struct container_config *c)
{
	return c->key_threshold > 1 ? c->key_threshold : 1;
}

/* Until when enough keys count: the latest time at which threshold of them have not expired. At least that many are there. */
static int64_t find_end(const struct tally *t, unsigned int threshold)
{
	int64_t latest = 0;

	for (size_t i = 0; i < t->signature.n_keys; i++) {
		unsigned int n = 0;

		for (size_t k = 0; k < t->signature.n_keys; k++)
			n += end_of(t->expires_s[k]) >= end_of(t->expires_s[i]);
		if (n >= threshold && end_of(t->expires_s[i]) > latest)
			latest = end_of(t->expires_s[i]);
	}
	return latest == INT64_MAX ? 0 : latest;
}

static int refuse_few(const struct container_config *c, const struct digest *d, size_t n,
		      unsigned int threshold, struct error *ret_error)
{
	return error_set(ret_error, -EKEYREJECTED,
			 "%s: %s is signed by %zu of the configured keys, and key-threshold = %u",
			 c->name, d->text, n, threshold);
}

/* -EKEYREJECTED with what people need to know of n pairs. */
static int refuse(const struct container_config *c, const struct digest *d, const struct tally *t,
		  size_t n, struct error *ret_error)
{
	const struct judgement *j = &t->best;

	if (n == 0)
		return error_set(ret_error, -EKEYREJECTED,
				 "%s: key= is set, and there is no signature of %s: sign it with "
				 "cosign sign",
				 c->name, d->text);
	if (t->signature.n_keys > 0)
		(void)refuse_few(c, d, t->signature.n_keys, threshold_of(c), ret_error);
	else
		(void)error_set(ret_error, -EKEYREJECTED,
				"%s: of %zu signature%s of %s none counts", c->name, n,
				n == 1 ? "" : "s", d->text);
	if (j->key[0])
		error_append(ret_error, "by %s: %s", j->key, j->fault);
	else if (j->fault[0])
		error_append(ret_error, "%s", j->fault);
	return ret_error->code;
}

int verify_signatures(const struct verify_rule *rule, const struct digest *d,
		      const struct signature_pair *pairs, size_t n, struct judgement *judged,
		      struct signature *ret_signature, struct verified **ret,
		      struct error *ret_error)
{
	const struct container_config *c = rule->config;
	_cleanup_(key_set_free) struct key_set keys = {.n = 0};
	struct tally t = {.stage = STAGE_KEY};
	int r = require_digest(c, d, ret_error);

	if (r == 0)
		r = key_set_read(c, &keys, ret_error);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		struct judgement one;
		enum stage stage = judge_pair(rule, d, &keys, &pairs[i], &one);

		if (judged)
			judged[i] = one;
		if (stage == STAGE_COUNTS) {
			count_pair(&t, &one);
		} else if (!t.best.fault[0] || stage > t.stage || (!t.best.key[0] && one.key[0])) {
			t.best = one;
			t.stage = stage;
		}
	}
	if (!c->keys) {
		*ret_signature = (struct signature){0};
		return verify_unsigned(c, d, ret, ret_error);
	}
	if (t.signature.n_keys < threshold_of(c))
		return refuse(c, d, &t, n, ret_error);
	t.signature.expires_s = find_end(&t, threshold_of(c));
	t.signature.reference = hash_reference(rule->ref);
	*ret_signature = t.signature;
	*ret = make_verified(d);
	return 0;
}

int verify_count_keys(const struct container_config *c, size_t *ret, struct error *ret_error)
{
	_cleanup_(key_set_free) struct key_set keys = {.n = 0};
	int r = key_set_read(c, &keys, ret_error);

	*ret = 0;
	for (size_t i = 0; i < keys.n; i++)
		*ret += !keys.items[i].revoked;
	return r;
}

/* The number of keys of s that still count. *ret_revoked: how many do not because they are revoked. */
static int count_recorded(const struct container_config *c, const struct signature *s, size_t *ret,
			  size_t *ret_revoked, struct error *ret_error)
{
	_cleanup_(key_set_free) struct key_set keys = {.n = 0};
	const struct digest *ids[SIGNATURE_KEYS_MAX];
	bool revoked[SIGNATURE_KEYS_MAX];
	int r = key_set_read(c, &keys, ret_error);

	for (size_t i = 0; i < s->n_keys; i++)
		ids[i] = &s->keys[i].id;
	if (r == 0)
		r = key_find_revoked(c, ids, s->n_keys, revoked, ret_error);
	*ret = *ret_revoked = 0;
	for (size_t i = 0; r == 0 && i < s->n_keys; i++) {
		bool configured = false;

		for (size_t k = 0; k < keys.n; k++)
			configured |= digest_eq(ids[i], &keys.items[k].id);
		*ret += configured && !revoked[i];
		*ret_revoked += revoked[i];
	}
	return r;
}

static int check_recorded_keys(const struct verify_rule *rule, const struct digest *d,
			       const struct signature *s, bool any_key, struct error *ret_error)
{
	const struct container_config *c = rule->config;
	const struct digest reference = hash_reference(rule->ref);
	size_t n, revoked;
	int r = count_recorded(c, s, &n, &revoked, ret_error);

	if (r < 0)
		return r;
	if (s->n_keys == 0)
		return error_set(ret_error, -EKEYREJECTED,
				 "%s: key= is set, and %s was taken without a signature", c->name,
				 d->text);
	if (any_key && revoked > 0)
		return error_set(ret_error, -EKEYREJECTED,
				 "%s: %s was signed by a key that is revoked", c->name, d->text);
	if (!any_key && n < threshold_of(c))
		return refuse_few(c, d, n, threshold_of(c), ret_error);
	/* The configuration may have had another repository or tag then, which the statements name. */
	if (!any_key && !digest_eq(&s->reference, &reference))
		return error_set(ret_error, -EKEYREJECTED,
				 "%s: the signature of %s was not verified for %s", c->name,
				 d->text, rule->ref->text);
	/* Its end is that of all keys together, of which those that are left may have expired. */
	if (!any_key && n < s->n_keys)
		return error_set(ret_error, -EKEYREJECTED,
				 "%s: of the %zu keys that signed %s, %zu count now", c->name,
				 s->n_keys, d->text, n);
	return 0;
}

int verify_recorded(const struct verify_rule *rule, const struct digest *d,
		    const struct signature *s, bool any_key, struct verified **ret,
		    struct error *ret_error)
{
	const struct container_config *c = rule->config;
	int r = require_digest(c, d, ret_error);

	if (r < 0)
		return r;
	if (!c->keys)
		return verify_unsigned(c, d, ret, ret_error);
	r = check_recorded_keys(rule, d, s, any_key, ret_error);
	for (size_t i = 0; r == 0 && i < s->n_keys; i++) {
		r = check_sequence(rule, d, &s->keys[i].id, s->keys[i].seq, ret_error);
		if (r < 0)
			r = error_prefix(ret_error, "%s: the signature of %s by %s", c->name,
					 d->text, s->keys[i].name);
	}
	if (r == 0 && check_expires(rule, s->expires_s, ret_error) < 0)
		r = error_prefix(ret_error, "%s: the signature of %s", c->name, d->text);
	if (r == 0)
		*ret = make_verified(d);
	return r;
}
