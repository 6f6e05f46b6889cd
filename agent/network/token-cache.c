/* SPDX-License-Identifier: MIT */
#include "token-cache.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "credential.h"
#include "json.h"

#define FILE_MAX    ((size_t)256 * 1024)
#define TEXT_MAX    (FILE_MAX / 2) /* bytes of tokens and names in it */
#define LIFETIME_MS ((uint64_t)24 * 60 * 60 * 1000)
#define TOKEN_MAX   ((size_t)32 * 1024)

bool token_cache_takes(const char *s)
{
	size_t n = strlen(s);

	return n > 0 && n <= TOKEN_MAX && strspn(s, ALPHANUMERIC "-._~+/=") == n;
}

static void free_token(struct token *t)
{
	credential_wipe(&t->value);
	free(t->repositories);
}

static void remove_token(struct token_cache *c, size_t i)
{
	free_token(&c->tokens[i]);
	c->n--;
	memmove(&c->tokens[i], &c->tokens[i + 1], (c->n - i) * sizeof(*c->tokens));
	c->changed = true;
}

/* The place of " NAME " in the list, or NULL. */
static char *find_name(const char *list, const char *name)
{
	_cleanup_free_ char *item = xasprintf(" %s ", name);

	return strstr(list, item);
}

const char *token_cache_find(const struct token_cache *c, const char *repository, bool push,
			     uint64_t now_ms)
{
	for (size_t i = c->n; i > 0; i--) {
		const struct token *t = &c->tokens[i - 1];

		if (t->expires_ms > now_ms && t->push >= push &&
		    find_name(t->repositories, repository))
			return t->value;
	}
	return NULL;
}

void token_cache_add(struct token_cache *c, char *value, char *repositories, bool push,
		     uint64_t expires_ms)
{
	if (c->n == TOKENS_MAX)
		remove_token(c, 0);
	c->tokens[c->n++] = (struct token){value, repositories, push, expires_ms};
	c->changed |= !push;
}

void token_cache_forget(struct token_cache *c, const char *repository)
{
	for (size_t i = c->n; i > 0; i--) {
		struct token *t = &c->tokens[i - 1];
		char *name;

		while ((name = find_name(t->repositories, repository))) {
			memmove(name, name + strlen(repository) + 1,
				strlen(name + strlen(repository)));
			c->changed = true;
		}
		if (streq(t->repositories, " "))
			remove_token(c, i - 1);
	}
}

void token_cache_learn(struct token_cache *c, struct challenge *challenge)
{
	if (!streq_null(c->challenge.realm, challenge->realm) ||
	    !streq_null(c->challenge.service, challenge->service))
		c->changed = true;
	challenge_free(&c->challenge);
	c->challenge = *challenge;
	*challenge = (struct challenge){0};
}

void token_cache_free(struct token_cache *c)
{
	for (size_t i = 0; i < c->n; i++)
		free_token(&c->tokens[i]);
	challenge_free(&c->challenge);
	*c = (struct token_cache){0};
}

/* The boot that the file must name: "" in a tmpfs, which does not outlive its boot. */
static void name_boot(int dir, char ret[BOOT_ID_SIZE])
{
	struct statfs fs;

	ret[0] = '\0';
	if (fstatfs(dir, &fs) < 0 || fs.f_type != TMPFS_MAGIC)
		boot_id(ret);
}

static bool is_private(const struct token_file *f)
{
	struct stat st;

	return fstatat(f->dir, f->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
	       st.st_uid == geteuid() && !(st.st_mode & (S_IRWXG | S_IRWXO));
}

static bool read_token(struct token_cache *c, json_t *j, uint64_t now_ms)
{
	const char *value, *repositories;
	json_int_t expires;

	if (json_unpack(j, "{s:s, s:s, s:I}", "token", &value, "repositories", &repositories,
			"expires", &expires) < 0 ||
	    !token_cache_takes(value) || strlen(repositories) < 3 || repositories[0] != ' ' ||
	    !has_suffix(repositories, " ") || expires < 0 ||
	    (uint64_t)expires > now_ms + LIFETIME_MS)
		return false;
	if ((uint64_t)expires > now_ms && c->n < TOKENS_MAX)
		token_cache_add(c, xstrdup(value), xstrdup(repositories), false, (uint64_t)expires);
	return true;
}

static bool read_cache(struct token_cache *c, const struct token_file *f, json_t *j,
		       uint64_t now_ms)
{
	const char *named, *credential, *realm, *service = NULL;
	char boot[BOOT_ID_SIZE];
	json_t *tokens, *token;
	size_t i;

	name_boot(f->dir, boot);
	if (json_unpack(j, "{s:s, s:s, s:s, s?s, s:o}", "boot", &named, "credential", &credential,
			"realm", &realm, "service", &service, "tokens", &tokens) < 0 ||
	    !streq(named, boot))
		return false;
	c->challenge.realm = xstrdup(realm);
	replace_string(&c->challenge.service, service);
	if (!streq(credential, f->credential.text))
		return true;
	json_array_foreach (tokens, i, token) {
		if (!read_token(c, token, now_ms))
			return false;
	}
	return true;
}

void token_cache_load(struct token_cache *c, const struct token_file *f, uint64_t now_ms)
{
	_cleanup_json_ json_t *j = NULL;
	struct error ignored;
	char *data = NULL;
	size_t n = 0;

	if (f->dir < 0 || !is_private(f) || read_file_at(f->dir, f->name, FILE_MAX, &data, &n) < 0)
		return;
	if (json_parse(data, n, "cache", &j, &ignored) < 0 || !read_cache(c, f, j, now_ms))
		token_cache_free(c);
	c->changed = false;
	explicit_bzero(data, n);
	free(data);
}

/* The newest tokens, as many as fit. */
static json_t *list_tokens(const struct token_cache *c, uint64_t now_ms)
{
	json_t *list = json_need(json_array());
	size_t bytes = 0;

	for (size_t i = c->n; i > 0 && bytes < TEXT_MAX; i--) {
		const struct token *t = &c->tokens[i - 1];

		bytes += strlen(t->value) + strlen(t->repositories);
		if (!t->push && t->expires_ms > now_ms &&
		    json_array_insert_new(list, 0,
					  json_pack("{s:s, s:s, s:I}", "token", t->value,
						    "repositories", t->repositories, "expires",
						    (json_int_t)t->expires_ms)) < 0)
			abort();
	}
	return list;
}

void token_cache_save(struct token_cache *c, const struct token_file *f, uint64_t now_ms)
{
	const struct challenge *challenge = &c->challenge;
	_cleanup_(credential_wipe) char *text = NULL;
	_cleanup_json_ json_t *j = NULL;
	char boot[BOOT_ID_SIZE];

	if (f->dir < 0 || !c->changed)
		return;
	c->changed = false;
	name_boot(f->dir, boot);
	j = json_need(json_pack(
		"{s:s, s:s, s:o*, s:o*, s:o}", "boot", boot, "credential", f->credential.text,
		"realm", challenge->realm ? json_string_lossy(challenge->realm) : NULL, "service",
		challenge->service ? json_string_lossy(challenge->service) : NULL, "tokens",
		list_tokens(c, now_ms)));
	text = json_text(j, JSON_COMPACT);
	(void)!write_file_atomic_at(f->dir, f->name, 0600, text, strlen(text));
}
