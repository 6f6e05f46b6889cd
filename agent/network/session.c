/* SPDX-License-Identifier: MIT */
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "collector.h"

#define CA_MAX ((size_t)4 * 1024 * 1024)

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

static bool is_private_dir(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_uid == geteuid() && !(st.st_mode & (S_IRWXG | S_IRWXO));
}

static int bind_registry(struct session *s, struct error *ret_error)
{
	const struct registry_config *rc = config_registry(s->config, s->host);
	_cleanup_free_ char *login = s->publishing ? find_docker_login() : NULL;

	s->ca_name = rc && rc->ca ? xstrdup(rc->ca) : registry_find_ca(s->host);
	s->options = (struct registry_options){
		.insecure = rc && rc->insecure,
		.insecure_set = rc && rc->insecure_set,
		.ca_name = s->ca_name,
		.credential = &s->credential,
		.cache_dir = s->cache_path ? open(s->cache_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
					   : -1,
		.cancel = s->cancel,
	};
	return credential_load(rc && rc->credentials ? rc->credentials : login, s->host,
			       &s->credential, ret_error);
}

static int bind_collector(struct session *s, struct error *ret_error)
{
	replace_string(&s->ca_name, s->config->report.ca);
	return collector_load_credential(&s->config->report, &s->credential, ret_error);
}

/* A child that was told no registry is bound to the collector, until its first question names one. */
static void unbind_collector(struct session *s)
{
	credential_free(&s->credential);
	replace_string(&s->ca_name, NULL);
	replace_string(&s->ca_file, NULL);
	replace_string(&s->host, NULL);
	s->fault = (struct error){0};
}

int session_bind(struct session *s, const char *host, bool private, struct error *ret_error)
{
	static const char collector[] = "the collector";
	int r;

	if (!s->asked && s->host && !*s->host && *host)
		unbind_collector(s);
	s->asked = true;
	if (s->host && !streq(s->host, host))
		return error_set(ret_error, -EPERM,
				 "this connection is for %s: %s needs one of its own",
				 *s->host ? s->host : collector, *host ? host : collector);
	if (s->host) {
		*ret_error = s->fault;
		return s->fault.code;
	}
	s->host = xstrdup(host);
	r = load_config(s, ret_error);
	if (r == 0)
		r = *host ? bind_registry(s, ret_error) : bind_collector(s, ret_error);
	if (r == 0 && s->ca_name && private)
		r = copy_ca(s->ca_name, &s->ca_file, ret_error);
	else
		replace_string(&s->ca_file, s->ca_name);
	s->options.ca_file = s->ca_file;
	if (r < 0)
		s->fault = *ret_error;
	return r;
}

int session_registry(struct session *s, struct registry **ret, struct error *ret_error)
{
	int r = 0;

	if (!s->registry) {
		/* The process has changed its user by now. */
		if (!is_private_dir(s->options.cache_dir))
			s->options.cache_dir = -1;
		r = registry_open(s->host, &s->options, &s->registry, ret_error);
	}
	*ret = s->registry;
	return r;
}

void session_close(struct session *s)
{
	registry_close(s->registry);
	credential_free(&s->credential);
	config_free(s->config);
	free(s->ca_name);
	free(s->ca_file);
	free(s->host);
}
