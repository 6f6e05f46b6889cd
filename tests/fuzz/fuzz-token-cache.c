/* SPDX-License-Identifier: MIT */
/* The file of tokens: what is in it can be sent, and what is read, written and read again is the same. */
#include <fcntl.h>

#include "json.h"
#include "token-cache.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define NOW_MS ((uint64_t)1000000)

static struct token_file file = {.dir = -1, .name = "token"};
static char path[] = "/dev/shm/fuzz-token-cacheXXXXXX";

static void remove_files(void)
{
	(void)unlinkat(file.dir, file.name, 0);
	(void)rmdir(path);
}

static void put(const uint8_t *data, size_t n)
{
	_cleanup_close_ int fd =
		openat(file.dir, file.name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write_all(fd, data, n) < 0)
		abort();
}

static void check(const struct token_cache *c)
{
	if (c->n > TOKENS_MAX)
		abort();
	for (size_t i = 0; i < c->n; i++) {
		const struct token *t = &c->tokens[i];

		if (!token_cache_takes(t->value) || t->push || t->expires_ms <= NOW_MS ||
		    t->repositories[0] != ' ' || !has_suffix(t->repositories, " "))
			abort();
	}
	(void)token_cache_find(c, "team/app", false, NOW_MS);
}

static void check_same(const struct token_cache *c, const struct token_cache *again)
{
	check(again);
	if (c->n != again->n || !streq_null(c->challenge.realm, again->challenge.realm) ||
	    !streq_null(c->challenge.service, again->challenge.service))
		abort();
	for (size_t i = 0; i < c->n; i++) {
		if (!streq(c->tokens[i].value, again->tokens[i].value) ||
		    !streq(c->tokens[i].repositories, again->tokens[i].repositories))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct token_cache c = {0}, again = {0};

	if (file.dir < 0) {
		if (!mkdtemp(path) || (file.dir = open(path, O_DIRECTORY | O_CLOEXEC)) < 0 ||
		    digest_parse("sha256:"
				 "7777777777777777777777777777777777777777777777777777777777777777",
				 &file.credential) < 0)
			abort();
		(void)atexit(remove_files);
	}
	put(data, n);
	token_cache_load(&c, &file, NOW_MS);
	check(&c);
	if (c.n > 0 || c.challenge.realm) {
		c.changed = true;
		token_cache_save(&c, &file, NOW_MS);
		token_cache_load(&again, &file, NOW_MS);
		check_same(&c, &again);
	}
	token_cache_forget(&c, "team/app");
	if (token_cache_find(&c, "team/app", false, NOW_MS))
		abort();
	token_cache_free(&c);
	token_cache_free(&again);
	return 0;
}
