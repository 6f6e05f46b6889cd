/* SPDX-License-Identifier: MIT */
/* token-cache: what one registry need not be asked twice in one boot: its challenge, and the tokens while they are valid.
 * Kept in a file of a directory that only the network half can read; without a directory, in memory alone. */
#pragma once

#include "challenge.h"
#include "digest.h"

#define TOKENS_MAX 64

struct token {
	char *value;	     /* what follows "Bearer " */
	char *repositories;  /* " team/app team/base ": those that it was asked for */
	bool push;	     /* for push too; such a token is never written */
	uint64_t expires_ms; /* by now_ms() */
};

/* Zero is an empty one. */
struct token_cache {
	struct challenge challenge; /* realm NULL: not known */
	struct token tokens[TOKENS_MAX];
	size_t n; /* oldest first */
	bool changed;
};

/* Where the file is, and whom its tokens are for. */
struct token_file {
	int dir;		  /* -1: there is none */
	const char *name;	  /* unique for host, port, TLS and its authority */
	struct digest credential; /* of what the tokens are asked with: others are not used */
};

/* Reads c, which is empty, from the file. Whatever is wrong with the file leaves c empty: another boot's, another
 * owner's, open to others, too large, broken. */
void token_cache_load(struct token_cache *c, const struct token_file *f, uint64_t now_ms);
/* Writes c if it changed. A failure costs a token the next time, and nothing else. */
void token_cache_save(struct token_cache *c, const struct token_file *f, uint64_t now_ms);
void token_cache_free(struct token_cache *c);

/* The token for that repository that is valid at now_ms, or NULL. Borrowed. */
const char *token_cache_find(const struct token_cache *c, const char *repository, bool push,
			     uint64_t now_ms);
/* Takes value and repositories over; the oldest makes room. */
void token_cache_add(struct token_cache *c, char *value, char *repositories, bool push,
		     uint64_t expires_ms);
/* The registry refused its token. */
void token_cache_forget(struct token_cache *c, const char *repository);
/* Takes over what is in challenge. */
void token_cache_learn(struct token_cache *c, struct challenge *challenge);
