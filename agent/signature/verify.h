/* SPDX-License-Identifier: MIT */
/* verify: decides whether a digest may run. Only this module makes a struct verified; pulling needs one. */
#pragma once

#include "config.h"
#include "digest.h"
#include "message.h"
#include "record.h"
#include "ref.h"

struct verified;

/* What must hold. */
struct verify_rule {
	const struct container_config *config; /* keys, key_threshold, revoked */
	const struct ref *ref;		       /* the configured reference */
	bool policy; /* of a rollout: a signed tag may also be TAG.rollout, and seq does not count */
	const struct record *record; /* sequences; NULL: none are known */
	bool named;    /* what is signed names its repository itself: the statement need not */
	bool exempt;   /* an operator's rollback: seq and expires do not count */
	int64_t now_s; /* Unix time; 0: the clock is not believed, and expires does not count */
};

/* On one pair. */
struct judgement {
	enum signature_format format;
	char key[64]; /* the name of its file; "": none of ours verified it, and nothing below is known but fault */
	struct digest key_id;
	uint64_t seq;	   /* 0: none, or not known */
	int64_t expires_s; /* 0: no end, or not known */
	char fault[256];   /* why it does not count; "": it counts */
};

/* Without a key every digest passes; with any key -EKEYREJECTED. The caller frees *ret. */
int verify_unsigned(const struct container_config *c, const struct digest *d, struct verified **ret,
		    struct error *ret_error) warn_unused;

/* Whether the pairs, which are of anybody, sign d as the rule wants: by key-threshold different keys, each for that
 * digest, repository and tag, and with a sequence number that was not passed before. Each key counts once, by its highest
 * number. judged: one of each pair, or NULL. *ret_signature gets the keys that count, which is more than are needed if more
 * have signed, and the time until which enough of them do. Without a key in the configuration as verify_unsigned().
 * -EKEYREJECTED: not signed so; the message says how many signatures there were, and what is wrong with the best one.
 * -EINVAL or the errno of a key file that cannot be read. The caller frees *ret, and has all of judged with either. */
int verify_signatures(const struct verify_rule *rule, const struct digest *d,
		      const struct signature_pair *pairs, size_t n, struct judgement *judged,
		      struct signature *ret_signature, struct verified **ret,
		      struct error *ret_error) warn_unused;

/* The same of a digest that was verified before, with the signature s that came of it. any_key: for what ran here the keys
 * need no longer be configured, nor be as many as today, nor the reference be the same; but none may be revoked. Else those that
 * are revoked or no longer configured do not count. Errors as verify_signatures(). The caller frees *ret. */
int verify_recorded(const struct verify_rule *rule, const struct digest *d,
		    const struct signature *s, bool any_key, struct verified **ret,
		    struct error *ret_error) warn_unused;

/* How many different keys can count for the container: those that are configured and not revoked. Errors as of key files. */
int verify_count_keys(const struct container_config *c, size_t *ret,
		      struct error *ret_error) warn_unused;

const struct digest *verified_digest(const struct verified *v);
