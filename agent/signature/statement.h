/* SPDX-License-Identifier: MIT */
/* statement: what a signature says, in the two forms of cosign. The payload must have been verified before: a parser is
 * no place for bytes of strangers. What is not known is refused, except annotations. Pure. */
#pragma once

#include "message.h"

struct statement {
	struct digest subject;
	char *image;	   /* annotation "image"; NULL: none */
	char *reference;   /* docker-reference of simple signing; NULL: a bundle */
	char *tag;	   /* annotation "tag"; NULL: none */
	uint64_t seq;	   /* annotation "seq"; 0: none */
	int64_t expires_s; /* annotation "expires", Unix time; 0: none */
};

/* Parses a payload: simple signing, or an in-toto statement of cosign's predicate. -EBADMSG for what is not exactly one
 * of those; the message is half a sentence about "it". The caller frees ret by statement_free(). */
int statement_parse(enum signature_format format, const char *payload, size_t n,
		    struct statement *ret, struct error *ret_error) warn_unused;
void statement_free(struct statement *s);
