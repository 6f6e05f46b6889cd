/* SPDX-License-Identifier: MIT */
#include "credential.h"

#include <errno.h>

#include "crypto.h"
#include "json.h"
#include "trusted-file.h"

#define FILE_MAX   ((size_t)256 * 1024)
#define SECRET_MAX ((size_t)16 * 1024) /* identity tokens of clouds are a few KiB */

static bool is_hub(const char *host)
{
	return streq(host, "docker.io") || streq(host, "index.docker.io") ||
	       streq(host, "registry-1.docker.io");
}

/* "https://index.docker.io/v1/" and "registry.example:5000/team" name their hosts. */
static bool key_names_host(const char *key, const char *host)
{
	const char *rest = after_prefix(key, "https://") ?: after_prefix(key, "http://") ?: key;
	_cleanup_free_ char *name = xstrndup(rest, strcspn(rest, "/"));

	return strcasecmp(name, host) == 0 || (is_hub(name) && is_hub(host));
}

static int split_auth(const char *auth, struct credential *c, struct error *ret_error)
{
	size_t len = 0;
	_cleanup_(credential_wipe) char *plain = base64_decode(auth, &len);
	char *colon;

	if (!plain)
		return error_set(ret_error, -EBADMSG, "\"auth\" is not base64");
	colon = strchr(plain, ':');
	if (!colon || colon == plain || strlen(plain) != len) {
		explicit_bzero(plain, len);
		return error_set(ret_error, -EBADMSG, "\"auth\" is not USER:PASSWORD");
	}
	c->username = xstrndup(plain, (size_t)(colon - plain));
	c->password = xstrdup(colon + 1);
	return 0;
}

static int take_entry(const json_t *entry, struct credential *c, struct error *ret_error)
{
	const char *auth = json_get_string(entry, "auth");
	const char *username = json_get_string(entry, "username");
	const char *password = json_get_string(entry, "password");
	const char *token = json_get_string(entry, "identitytoken");

	if ((token && strlen(token) > SECRET_MAX) || (username && strlen(username) > SECRET_MAX) ||
	    (password && strlen(password) > SECRET_MAX))
		return error_set(ret_error, -EFBIG, "a secret is over %zu bytes", SECRET_MAX);
	if (token && *token) {
		c->identity_token = xstrdup(token);
		return 0;
	}
	if (auth && *auth)
		return split_auth(auth, c, ret_error);
	if (!username || !*username || !password)
		return error_set(ret_error, -EBADMSG,
				 "no \"auth\" (credential helpers are not asked)");
	if (strchr(username, ':'))
		return error_set(ret_error, -EBADMSG, "\"username\" holds a colon");
	c->username = xstrdup(username);
	c->password = xstrdup(password);
	return 0;
}

static int take_file(const char *data, size_t n, const char *host, struct credential *c,
		     struct error *ret_error)
{
	_cleanup_json_ json_t *j = NULL;
	json_t *auths, *entry, *value;
	const char *key;
	int r = json_parse(data, n, "credentials", &j, ret_error);

	/* The parser's text could quote a part of a secret. */
	if (r < 0)
		return error_set(ret_error, r, "not the JSON of docker's config.json");
	auths = json_object_get(j, "auths");
	if (!json_is_object(auths))
		return error_set(ret_error, -EBADMSG, "no \"auths\" in it");
	entry = json_object_get(auths, host);
	json_object_foreach (auths, key, value)
		if (!entry && key_names_host(key, host))
			entry = value;
	if (!entry)
		return 0;
	r = take_entry(entry, c, ret_error);
	return r < 0 ? error_prefix(ret_error, "%s", host) : 0;
}

int credential_load(const char *path, const char *host, struct credential *ret,
		    struct error *ret_error)
{
	struct credential c = {0};
	char *data = NULL;
	size_t n = 0;
	int r;

	if (!path) {
		*ret = c;
		return 0;
	}
	r = read_trusted_file(path, FILE_MAX, &data, &n, ret_error);
	if (r < 0)
		return error_prefix(ret_error, "credentials");
	r = take_file(data, n, host, &c, ret_error);
	explicit_bzero(data, n);
	free(data);
	if (r < 0)
		return error_prefix(ret_error, "credentials %s", path);
	*ret = c;
	return 0;
}

void credential_wipe(char **s)
{
	if (*s)
		explicit_bzero(*s, strlen(*s));
	free(steal(*s));
}

void credential_free(struct credential *c)
{
	credential_wipe(&c->username);
	credential_wipe(&c->password);
	credential_wipe(&c->identity_token);
}

char *credential_engine_header(const struct credential *c, const char *host)
{
	const char *server = is_hub(host) ? "https://index.docker.io/v1/" : host;
	_cleanup_(credential_wipe) char *text = NULL;
	_cleanup_json_ json_t *j = NULL;
	char *header;

	if (credential_is_set(c))
		j = json_pack("{s:s*, s:s*, s:s*, s:s}", "username", c->username, "password",
			      c->password, "identitytoken", c->identity_token, "serveraddress",
			      server);
	text = json_text(j, JSON_COMPACT);
	/* Without credentials, or with some that are not UTF-8 and the engine could not read. */
	if (!text)
		return NULL;
	header = base64_encode(text, strlen(text));
	for (char *p = header; *p; p++)
		*p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
	return header;
}

char *credential_basic(const struct credential *c)
{
	_cleanup_(credential_wipe) char *plain = NULL, *encoded = NULL;

	if (!c->username)
		return NULL;
	plain = xasprintf("%s:%s", c->username, c->password);
	encoded = base64_encode(plain, strlen(plain));
	return xasprintf("Authorization: Basic %s", encoded);
}
