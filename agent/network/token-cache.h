/* SPDX-License-Identifier: MIT */
/* token-cache: the challenge of one registry and its valid tokens, kept for one boot in a file that only the network
 * half can read; in memory alone without a directory. */
#pragma once

#include "challenge.h"
#include "digest.h"

#define TOKENS_MAX 64

struct token {
	char *value;	     /* what follows "Bearer " */
	char *repositories;  /* " team/app team/base " */
	bool push;	     /* for push too; never written to the file */
	uint64_t expires_ms; /* by now_ms() */
};

/* All zero: empty. */
struct token_cache {
	struct challenge challenge; /* realm NULL: not known */
	struct token tokens[TOKENS_MAX];
	size_t n; /* oldest first */
	bool changed;
};

/* The file, and the credential that its tokens belong to. */
struct token_file {
	int dir;		  /* -1: there is none */
	char name[48];		  /* unique for host, port, TLS and CA */
	struct digest credential; /* tokens of another credential are not used */
};

/* Reads the file into c, which is empty. c stays empty if the file is of another boot or owner, open to other users,
 * too large or invalid. */
void token_cache_load(struct token_cache *c, const struct token_file *f, uint64_t now_ms);
/* Writes c if it changed. After a failure the next process requests its token again. */
void token_cache_save(struct token_cache *c, const struct token_file *f, uint64_t now_ms);
void token_cache_free(struct token_cache *c);

/* Whether value is valid as a token in a header line. */
bool token_cache_takes(const char *value);
/* The token for repository that is valid at now_ms, or NULL. Borrowed. */
const char *token_cache_find(const struct token_cache *c, const char *repository, bool push,
			     uint64_t now_ms);
/* Takes value and repositories over; a full cache drops its oldest token. */
void token_cache_add(struct token_cache *c, char *value, char *repositories, bool push,
		     uint64_t expires_ms);
/* The registry refused the token for repository. */
void token_cache_forget(struct token_cache *c, const char *repository);
/* Takes the texts of challenge over. */
void token_cache_learn(struct token_cache *c, struct challenge *challenge);
