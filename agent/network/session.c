/* SPDX-License-Identifier: MIT */
#include "session.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "config.h"
#include "ref.h"

#define CA_MAX	  ((size_t)4 * 1024 * 1024)
#define CERTS_DIR "/etc/docker/certs.d"

static int is_certificate(const struct dirent *d)
{
	return d->d_name[0] != '.' && has_suffix(d->d_name, ".crt");
}

/* The first .crt by name in Docker's directory of the host, or NULL. Caller frees. */
static char *find_ca(const char *host)
{
	_cleanup_free_ char *dir = xasprintf("%s/%s", CERTS_DIR, host);
	struct dirent **list = NULL;
	int n = scandir(dir, &list, is_certificate, alphasort);
	char *found = n > 0 ? xasprintf("%s/%s", dir, list[0]->d_name) : NULL;

	while (n > 0)
		free(list[--n]);
	free(list);
	return found;
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

/* An operator's machine need not have a configuration. */
static int load_config(struct session *s, struct error *ret_error)
{
	int r = s->config ? 0 : config_load(s->config_path, &s->config, ret_error);

	if (r != -ENOENT || !s->publishing || !streq(s->config_path, CONFIG_PATH_DEFAULT))
		return r;
	s->config = config_read(s->config_path, NULL, NULL);
	return 0;
}

/* Copies a file that only root may read to memory. Its descriptor stays open until the process ends. */
static int copy_ca(const char *path, char **ret, struct error *ret_error)
{
	_cleanup_close_ int fd = memfd_create("ca", MFD_CLOEXEC);
	_cleanup_free_ char *data = NULL;
	size_t n = 0;
	int r = fd < 0 ? -errno : read_file_at(AT_FDCWD, path, CA_MAX, &data, &n);

	if (r == 0)
		r = write_all(fd, data, n);
	if (r < 0)
		return error_set(ret_error, r, "%s: %s", path, strerror(-r));
	*ret = xasprintf("/proc/self/fd/%d", steal_fd(&fd));
	return 0;
}

static int bind_registry(struct session *s, struct error *ret_error)
{
	static const struct registry_config none = {0};
	struct registry_options *o = &s->options;
	const struct registry_config *rc = config_registry(s->config, o->host) ?: &none;
	_cleanup_free_ char *login = s->publishing ? find_docker_login() : NULL;

	o->config = rc;
	o->ca_name = rc->ca ? xstrdup(rc->ca) : find_ca(o->host);
	o->cache_dir = s->cache_path ? open(s->cache_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	return credential_load(rc->credentials ?: login, o->host, &o->credential, ret_error);
}

static int bind_collector(struct session *s, struct error *ret_error)
{
	const struct report_config *config = &s->config->report;
	struct credential *c = &s->options.credential;
	_cleanup_free_ char *host = NULL;
	const char *after;
	int r;

	replace_string(&s->options.ca_name, config->ca);
	if (!config->url)
		return error_set(ret_error, -EPERM, "no [report] url is configured");
	after = strstr(config->url, "://") + strlen("://");
	host = xstrndup(after, strcspn(after, "/"));
	r = credential_load(config->credentials, host, c, ret_error);
	if (r < 0 || !config->credentials)
		return r;
	if (!c->username)
		return error_set(ret_error, -ENOKEY, "%s has no user and password for %s",
				 config->credentials, host);
	if (!after_prefix(config->url, "https://") && !ref_host_is_loopback(host))
		return error_set(ret_error, -EPERM,
				 "%s: a password is sent over https only, or to this machine",
				 config->url);
	return 0;
}

static int read_files(struct session *s, bool private, struct error *ret_error)
{
	struct registry_options *o = &s->options;
	int r = load_config(s, ret_error);

	if (r == 0)
		r = *o->host ? bind_registry(s, ret_error) : bind_collector(s, ret_error);
	if (r == 0 && o->ca_name && private)
		return copy_ca(o->ca_name, &o->ca_file, ret_error);
	replace_string(&o->ca_file, o->ca_name);
	return r;
}

static void unbind(struct session *s)
{
	credential_free(&s->options.credential);
	replace_string(&s->options.ca_name, NULL);
	replace_string(&s->options.ca_file, NULL);
	replace_string(&s->options.host, NULL);
	s->fault = (struct error){0};
}

int session_bind(struct session *s, const char *host, bool private, struct error *ret_error)
{
	static const char collector[] = "the collector";
	char **bound = &s->options.host;

	/* A child that was told no registry is bound to the collector, until its first question names one. */
	if (!s->asked && *bound && !**bound && *host)
		unbind(s);
	s->asked = true;
	if (!*bound) {
		*bound = xstrdup(host);
		if (read_files(s, private, ret_error) < 0)
			s->fault = *ret_error;
	}
	if (!streq(*bound, host))
		return error_set(ret_error, -EPERM,
				 "this connection is for %s: %s needs one of its own",
				 **bound ? *bound : collector, *host ? host : collector);
	*ret_error = s->fault;
	return s->fault.code;
}

int session_open_registry(struct session *s, struct error *ret_error)
{
	struct stat st;

	if (s->registry)
		return 0;
	/* The process has changed its user by now: only its own directory is private. */
	if (fstat(s->options.cache_dir, &st) < 0 || st.st_uid != geteuid() ||
	    (st.st_mode & (S_IRWXG | S_IRWXO)))
		s->options.cache_dir = -1;
	return registry_open(&s->options, &s->registry, ret_error);
}

void session_close(struct session *s)
{
	registry_close(s->registry);
	config_free(s->config);
	unbind(s);
}
