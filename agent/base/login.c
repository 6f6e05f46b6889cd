/* SPDX-License-Identifier: MIT */
#include "login.h"

static bool is_hub(const char *host)
{
	return streq(host, "docker.io") || streq(host, "index.docker.io") ||
	       streq(host, "registry-1.docker.io");
}

const char *login_key(const char *host)
{
	return is_hub(host) ? "https://index.docker.io/v1/" : host;
}

/* "v1" and "v2" are paths of the API, in keys that old clients wrote. */
static bool is_api(const char *path)
{
	return (path[0] == 'v') && (path[1] == '1' || path[1] == '2') && !path[2];
}

char *login_scope(const char *key, const char *host)
{
	const char *rest = after_prefix(key, "https://") ?: after_prefix(key, "http://") ?: key;
	_cleanup_free_ char *name = xstrndup(rest, strcspn(rest, "/"));
	const char *path = rest + strlen(name);
	char *scope;
	size_t n;

	if (strcasecmp(name, host) != 0 && !(is_hub(name) && is_hub(host)))
		return NULL;
	path += strspn(path, "/");
	scope = xstrdup(rest == key ? path : "");
	for (n = strlen(scope); n > 0 && scope[n - 1] == '/';)
		scope[--n] = '\0';
	if (is_api(scope))
		*scope = '\0';
	return scope;
}

char *login_directory(const char *config_path)
{
	return path_beside(config_path, "auth.d");
}

char *login_file(const char *host)
{
	char *name = xasprintf("%s.json", host);

	for (char *p = name; *p; p++)
		*p = *p == ':' ? '_' : *p;
	return name;
}
