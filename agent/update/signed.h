/* SPDX-License-Identifier: MIT */
/* signed: asks the registry who signed a digest, place by place, and has the answers verified. */
#pragma once

#include "fetch.h"
#include "verify.h"

#define SIGNED_MAX (2 * SIGNATURE_PLACES * SIGNATURE_PAIRS_MAX)

struct signed_answer {
	struct digest digest; /* that is signed: d, or m; empty: neither is, as required */
	struct signature signature;
	struct verified *verified;  /* of digest; the caller frees */
	enum signature_place place; /* of the signature that sufficed */
	/* All signatures that were found, and what each is of. */
	struct judgement judged[SIGNED_MAX];
	struct digest of[SIGNED_MAX];
	size_t n_judged;
	size_t left; /* that the network half did not carry */
};

/* Whether d is signed as rule says, or else m (empty, or equal to d: only d), which is this platform's manifest of d. The places
 * are asked one after the other, first the one of that name, and what they have is added up; the first success ends it, unless
 * all are to be shown. -EKEYREJECTED: neither is; ret has what was found. Any other code is the registry's, or the network half's:
 * nothing is known then. */
int signed_ask(struct fetch *f, const char *image, const struct verify_rule *rule,
	       const struct digest *d, const struct digest *m, enum signature_place first, bool all,
	       struct signed_answer *ret, struct error *ret_error) warn_unused;
