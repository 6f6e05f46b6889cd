/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

#include "credential.h"
#include "login.h"
#include "program.h"
#include "trusted-file.h"

#define FILES_MAX 256

/* A directory of files in the form of docker's config.json. */
struct store {
	const char *path;
	const char *prefix; /* of the names that count */
	const char *label;  /* the directory that people know; then a name has no prefix */
	bool encrypted; /* by systemd-creds; the credential's name is LOGIN_ENCRYPTED and the file's */
};

static int decrypt(const char *name, char **data, size_t *n, struct error *ret_error)
{
	_cleanup_free_ char *option = xasprintf("--name=" LOGIN_ENCRYPTED "%s", name);
	const char *argv[] = {SYSTEMD_CREDS, "decrypt", option, "-", "-", NULL};
	char *plain = NULL;
	size_t size = 0;
	int r = program_filter(argv, *data, *n, &plain, &size, ret_error);

	if (r < 0)
		return r;
	free(*data);
	*data = plain;
	*n = size;
	return 0;
}

/* Adds the logins of one file. */
static int add_file(const struct store *store, const char *name, const char *host,
		    struct credentials *s, bool *ret_fatal, struct error *ret_error)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", store->path, name);
	_cleanup_free_ char *label = xasprintf("%s/%s", store->label, name + strlen(store->prefix));
	char *data = NULL;
	size_t n = 0;
	int r = read_trusted_file(path, CREDENTIALS_FILE_MAX, &data, &n, ret_error);

	if (r == 0 && !*store->prefix && strchr(name, ':'))
		r = error_set(ret_error, -EINVAL, "systemd allows no colon in its name");
	else if (r == 0 && store->encrypted)
		r = decrypt(name, &data, &n, ret_error);
	*ret_fatal = r == -EINVAL || r == -EIO;
	if (*ret_fatal)
		error_append(ret_error, "remove it, as no unit of pullet starts with it, and run "
					"pullet login again");
	if (r < 0)
		r = error_prefix(ret_error, "credentials %s", label);
	else
		r = credentials_parse(s, label, data, n, host, false, ret_error);
	if (data)
		explicit_bzero(data, n);
	free(data);
	return r;
}

/* systemd loads no links. */
static bool is_file(const struct dirent *d)
{
	return d->d_type == DT_REG || d->d_type == DT_UNKNOWN;
}

/* ret_fault gets the last file that cannot be used. */
static int add_store(const struct store *store, const char *host, struct credentials *s,
		     struct error *ret_fault, struct error *ret_error)
{
	struct dirent **entries = NULL;
	/* Not there, or not for this user. */
	int n = scandir(store->path, &entries, NULL, alphasort), r = 0;

	for (int i = 0; i < n; i++) {
		const char *name = entries[i]->d_name;
		struct error e;
		bool fatal;

		if (r == 0 && name[0] != '.' && is_file(entries[i]) && i < FILES_MAX &&
		    after_prefix(name, store->prefix) &&
		    add_file(store, name, host, s, &fatal, &e) < 0) {
			r = fatal ? e.code : 0;
			*(fatal ? ret_error : ret_fault) = e;
		}
		free(entries[i]);
	}
	free(entries);
	return r;
}

/* The file that "docker login" writes, or NULL. Caller frees. */
static char *find_docker_login(void)
{
	const char *dir = getenv("DOCKER_CONFIG"), *home = getenv("HOME");
	char *path = dir && *dir ? xasprintf("%s/config.json", dir)
				 : xasprintf("%s/.docker/config.json", home ? home : "");

	if (access(path, F_OK) == 0)
		return path;
	free(path);
	return NULL;
}

/* The file of a section may be meant for another user, or for a credential of systemd. */
static int load_configured(const char *path, const char *host, struct credentials *ret,
			   struct error *ret_error)
{
	int r = credentials_load(path, host, ret, ret_error);

	if (r == -EACCES || r == -ENOENT)
		error_append(ret_error, "remove credentials = and run: pullet login %s%s%s", host,
			     r == -EACCES ? " --from " : "", r == -EACCES ? path : "");
	return r;
}

int credentials_choose(const char *configured, const char *auth_dir, const char *host,
		       bool docker_login, struct credentials *ret, struct error *ret_error)
{
	const char *loaded = getenv("CREDENTIALS_DIRECTORY") ?: "";
	_cleanup_free_ char *encrypted = xasprintf("%s.encrypted", auth_dir ?: "");
	_cleanup_free_ char *docker = docker_login ? find_docker_login() : NULL;
	const struct store stores[] = {{loaded, LOGIN_PLAIN, auth_dir, false},
				       {loaded, LOGIN_ENCRYPTED, encrypted, false},
				       {auth_dir, "", auth_dir, false},
				       {encrypted, "", encrypted, true}};
	struct error fault = {0};
	int r = 0;

	if (configured)
		return load_configured(configured, host, ret, ret_error);
	*ret = (struct credentials){0};
	for (size_t i = 0; r == 0 && auth_dir && i < ARRAY_SIZE(stores); i++)
		r = add_store(&stores[i], host, ret, &fault, ret_error);
	if (r < 0)
		credentials_free(ret);
	if (r < 0 || ret->n > 0)
		return r;
	if (docker)
		return credentials_load(docker, host, ret, ret_error);
	if (fault.code)
		credentials_add_hint(ret, fault.text);
	return 0;
}
