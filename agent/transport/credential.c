/* SPDX-License-Identifier: MIT */
#include "credential.h"

#include <errno.h>

#include "config.h"
#include "base64.h"
#include "json.h"
#include "login.h"
#include "trusted-file.h"

#define NO_HELPER                                                      \
	"no \"auth\" (credential helpers are not asked%s%.100s); see " \
	"refresh-credentials@.service "                                \
	"in /usr/share/doc/pullet/examples"
#define SECRET_MAX ((size_t)16 * 1024) /* identity tokens of clouds are a few KiB */

static int split_auth(const char *auth, struct credential *c, struct error *ret_error)
{
	size_t len = 0;
	_cleanup_(credential_wipe) char *plain = base64_decode(auth, &len);
	char *colon;

	if (!plain)
		return error_set(ret_error, -EBADMSG, "\"auth\" is not base64");
	/* docker/cli, configfile.decodeAuth(): NULs around the password are none of it. */
	while (len > 0 && !plain[len - 1])
		len--;
	colon = strchr(plain, ':');
	if (!colon || colon == plain || strlen(plain) != len) {
		explicit_bzero(plain, len);
		return error_set(ret_error, -EBADMSG, "\"auth\" is not USER:PASSWORD");
	}
	c->username = xstrndup(plain, (size_t)(colon - plain));
	c->password = xstrdup(colon + 1);
	return 0;
}

static bool is_too_long(const json_t *entry)
{
	static const char keys[][16] = {"username", "password", "identitytoken", "registrytoken"};
	bool any = false;

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const char *value = json_get_string(entry, keys[i]);

		any |= value && strlen(value) > SECRET_MAX;
	}
	return any;
}

/* helper: of this registry; NULL: none. */
static int take_entry(const json_t *entry, const char *helper, struct credential *c,
		      struct error *ret_error)
{
	const char *auth = json_get_string(entry, "auth");
	const char *username = json_get_string(entry, "username");
	const char *password = json_get_string(entry, "password");
	const char *identity = json_get_string(entry, "identitytoken");
	const char *bearer = json_get_string(entry, "registrytoken");

	if (is_too_long(entry))
		return error_set(ret_error, -EFBIG, "a secret is over %zu bytes", SECRET_MAX);
	if (bearer && bearer[strspn(bearer, ALPHANUMERIC "-._~+/=")])
		return error_set(ret_error, -EBADMSG, "\"registrytoken\" is not a bearer token");
	if (bearer && *bearer) {
		c->registry_token = xstrdup(bearer);
		return 0;
	}
	if (identity && *identity) {
		c->identity_token = xstrdup(identity);
		return 0;
	}
	if (auth && *auth)
		return split_auth(auth, c, ret_error);
	if (!username || !*username || !password)
		return error_set(ret_error, -EBADMSG, NO_HELPER, helper ? ", nor is " : "",
				 helper ? helper : "");
	if (strchr(username, ':'))
		return error_set(ret_error, -EBADMSG, "\"username\" holds a colon");
	c->username = xstrdup(username);
	c->password = xstrdup(password);
	return 0;
}

static char *make_basic(const struct credential *c)
{
	_cleanup_(credential_wipe) char *plain = NULL, *encoded = NULL;

	if (!c->username)
		return NULL;
	plain = xasprintf("%s:%s", c->username, c->password);
	encoded = base64_encode(plain, strlen(plain));
	return xasprintf("Authorization: Basic %s", encoded);
}

static struct credential *append(struct credentials *s, const char *scope)
{
	struct credential *c;

	s->items = xrealloc(s->items, (s->n + 1) * sizeof(*s->items));
	c = &s->items[s->n++];
	*c = (struct credential){.scope = xstrdup(scope)};
	return c;
}

static int compare(const void *a, const void *b)
{
	size_t x = strlen(((const struct credential *)a)->scope),
	       y = strlen(((const struct credential *)b)->scope);

	return x < y ? 1 : x > y ? -1 : 0;
}

void credentials_add_hint(struct credentials *s, const char *hint)
{
	append(s, "")->hint = xstrdup(hint);
}

/* A reference to the file being read. */
struct source {
	const char *path, *host;
	const json_t *auths;
	const char *helper; /* of "credHelpers" or "credsStore"; NULL: none */
};

static bool has_scope(const struct credentials *s, const char *scope)
{
	for (size_t i = 0; i < s->n; i++) {
		if (streq(s->items[i].scope, scope))
			return true;
	}
	return false;
}

static void add_entry(const struct source *f, const char *key, const json_t *entry,
		      struct credentials *s)
{
	_cleanup_free_ char *scope = login_scope(key, f->host);
	struct credential *c;
	struct error e;

	if (!scope || has_scope(s, scope))
		return;
	c = append(s, scope);
	c->faulty = take_entry(entry, f->helper, c, &e) < 0;
	c->basic = make_basic(c);
	if (c->faulty)
		c->hint = xasprintf("credentials %s: %.200s: %s", f->path, key, e.text);
	else if (f->path[0])
		c->hint = xasprintf("the login \"%.200s\" in %s was used", key, f->path);
}

/* The helper that Docker would ask for host. */
static const char *find_helper(const json_t *j, const char *host, bool *ret_own)
{
	json_t *helpers = json_object_get(j, "credHelpers"), *value;
	const char *store = json_get_string(j, "credsStore"), *key;

	*ret_own = false;
	json_object_foreach (helpers, key, value) {
		_cleanup_free_ char *scope = login_scope(key, host);

		if (!scope || !json_is_string(value))
			continue;
		*ret_own = true;
		return json_string_value(value);
	}
	return store && *store ? store : NULL;
}

/* Says why the file has no login for all of the registry. */
static void add_reason(const struct source *f, bool own_helper, struct credentials *s)
{
	struct credential *c;

	if (has_scope(s, ""))
		return;
	c = append(s, "");
	c->faulty = own_helper || (f->helper && !f->auths);
	c->hint = f->helper ? xasprintf("credentials %s: %s: " NO_HELPER, f->path, f->host,
					", nor is ", f->helper)
			    : xasprintf("credentials %s: no login for %s in it", f->path, f->host);
}

int credentials_add(struct credentials *s, const char *path, const json_t *j, const char *host,
		    bool alone, struct error *ret_error)
{
	const char *first[] = {login_key(host), host};
	struct source f = {.path = path, .host = host, .auths = json_object_get(j, "auths")};
	json_t *value;
	const char *key;
	bool own_helper;

	f.helper = find_helper(j, host, &own_helper);
	if (!json_is_object(f.auths) && (f.auths || !f.helper))
		return error_set(ret_error, -EBADMSG, "credentials %s: no \"auths\" in it", path);
	/* The key that "docker login" writes counts before one that is spelled as the host, and both before others of the
	 * same meaning. */
	for (size_t i = 0; i < ARRAY_SIZE(first); i++) {
		value = json_object_get(f.auths, first[i]);
		if (value)
			add_entry(&f, first[i], value, s);
	}
	json_object_foreach ((json_t *)f.auths, key, value)
		add_entry(&f, key, value, s);
	if (alone)
		add_reason(&f, own_helper, s);
	if (s->n > 1)
		qsort(s->items, s->n, sizeof(*s->items), compare);
	return 0;
}

int credentials_parse(struct credentials *s, const char *path, const char *data, size_t n,
		      const char *host, bool alone, struct error *ret_error)
{
	_cleanup_json_ json_t *j = NULL;
	int r = json_parse(data, n, "credentials", &j, ret_error);

	/* The parser's text could quote a part of a secret. */
	if (r < 0)
		return error_set(ret_error, r,
				 "credentials %s: not the JSON of docker's config.json", path);
	return credentials_add(s, path, j, host, alone, ret_error);
}

/* The file from which systemd copied that of a unit, by default. Caller frees. */
static char *name_for_people(const char *path)
{
	const char *dir = getenv("CREDENTIALS_DIRECTORY");
	const char *name = dir ? after_prefix(path, dir) : NULL;

	return xasprintf("%s%s", name ? CREDENTIAL_STORE : "", name ? name : path);
}

int credentials_load(const char *path, const char *host, struct credentials *ret,
		     struct error *ret_error)
{
	_cleanup_free_ char *label = NULL;
	char *data = NULL;
	size_t n = 0;
	int r;

	*ret = (struct credentials){0};
	if (!path)
		return 0;
	label = name_for_people(path);
	r = read_trusted_file(path, CREDENTIALS_FILE_MAX, &data, &n, ret_error);
	if (r < 0)
		return error_prefix(ret_error, "credentials");
	r = credentials_parse(ret, label, data, n, host, true, ret_error);
	explicit_bzero(data, n);
	free(data);
	return r;
}

void credential_wipe(char **s)
{
	if (*s)
		explicit_bzero(*s, strlen(*s));
	free(steal(*s));
}

void credentials_free(struct credentials *s)
{
	for (size_t i = 0; i < s->n; i++) {
		struct credential *c = &s->items[i];

		credential_wipe(&c->username);
		credential_wipe(&c->password);
		credential_wipe(&c->identity_token);
		credential_wipe(&c->registry_token);
		credential_wipe(&c->basic);
		free(c->scope);
		free(c->hint);
	}
	free(s->items);
	*s = (struct credentials){0};
}

const struct credential *credentials_find(const struct credentials *s, const char *repository)
{
	static const struct credential none = {0};

	for (size_t i = 0; i < s->n; i++) {
		const char *scope = s->items[i].scope, *rest = after_prefix(repository, scope);

		if (!*scope || (rest && (!*rest || *rest == '/')))
			return &s->items[i];
	}
	return &none;
}

int credential_check(const struct credential *c, struct error *ret_error)
{
	return c->faulty ? error_set(ret_error, -EBADMSG, "%s", c->hint) : 0;
}

char *credential_engine_header(const struct credential *c, const char *host)
{
	_cleanup_(credential_wipe) char *text = NULL;
	_cleanup_json_ json_t *j = NULL;
	char *header;

	if (credential_is_set(c))
		j = json_pack("{s:s*, s:s*, s:s*, s:s*, s:s}", "username", c->username, "password",
			      c->password, "identitytoken", c->identity_token, "registrytoken",
			      c->registry_token, "serveraddress", login_key(host));
	text = json_text(j, JSON_COMPACT);
	/* Without credentials, or with some that are not UTF-8 and the engine could not read. */
	if (!text)
		return NULL;
	header = base64_encode(text, strlen(text));
	for (char *p = header; *p; p++)
		*p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
	return header;
}
