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
	/* Why a place could not be asked when enough was known; its code is 0: all were. */
	struct error missed;
};

/* Whether d is signed as rule says, or else m (empty, or equal to d: only d), which is this platform's manifest of d. The places
 * are asked one after the other, first the one of that name, and what they have is added up. The first success ends it, unless
 * all are to be shown, or other keys may have signed it, too, whose seq must be known. -EKEYREJECTED: neither is; ret has what was
 * found. Any other code is the registry's, or the network half's: nothing is known then. */
int signed_ask(struct fetch *f, const char *image, const struct verify_rule *rule,
	       const struct digest *d, const struct digest *m, enum signature_place first, bool all,
	       struct signed_answer *ret, struct error *ret_error) warn_unused;

/* Raises the sequences of record to those by which current, which it does not know how to have been verified, was signed. *ret_place:
 * where. Errors are of the registry, or of the network half. */
int signed_ask_floor(struct fetch *f, const struct container_config *c, const struct ref *ref,
		     struct record *record, enum signature_place *ret_place,
		     struct error *ret_error) warn_unused;
