/* SPDX-License-Identifier: MIT */
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "config.h"
#include "engine-file.h"
#include "ref.h"

#define TELL_MS	 250
#define ALIVE_MS 20000 /* the caller gives up after five minutes without a line */

/* An operator's machine need not have a configuration. */
static int load_config(struct session *s, struct error *ret_error)
{
	int r = s->config ? 0 : config_load(s->config_path, &s->config, ret_error);

	if (r != -ENOENT || !s->operator|| !streq(s->config_path, CONFIG_PATH_DEFAULT))
		return r;
	s->config = config_read(s->config_path, NULL, NULL);
	return 0;
}

/* Reads what belongs to the host of o, and opens the cache. */
static int read_host(struct session *s, struct registry_options *o, const char *credentials,
		     struct error *ret_error)
{
	int r = registry_read_trust(o->config, o->host, &o->trust, ret_error);

	o->others = s->config;
	o->meter = &s->traffic.meter;
	o->tick = &s->tick;
	o->cache_dir = s->traffic.dir;
	/* A login that is tried replaces the present one, which may be damaged. */
	return r < 0 || s->login ? r
				 : credentials_choose(credentials, s->config->auth_dir, o->host,
						      s->operator, & o->credentials, ret_error);
}

/* A mirror has certificates and credentials of its own: those of the registry are not for it. */
static int bind_mirror(struct session *s, const char *mirror, struct error *ret_error)
{
	struct mirror *m = &s->mirrors[s->n_mirrors];
	_cleanup_(url_free) struct url url = {0};
	const struct registry_config *rc;

	if (url_parse(mirror, &url) < 0)
		return error_set(ret_error, -EINVAL, "mirror: '%s' is no valid URL", mirror);
	s->n_mirrors++;
	m->options.host = url_host(&url);
	rc = config_registry(s->config, m->options.host);
	if (rc)
		m->config = *rc;
	m->config.insecure = !url.tls;
	m->config.insecure_set = true;
	m->options.config = &m->config;
	m->options.cancel = s->options.cancel;
	return read_host(s, &m->options, m->config.credentials, ret_error);
}

static int bind_mirrors(struct session *s, const char *configured, struct error *ret_error)
{
	char *engines[MIRRORS_MAX];
	size_t n = 0;
	int r = configured ? bind_mirror(s, configured, ret_error) : 0;

	if (!configured && streq(s->options.host, "docker.io"))
		n = engine_file_mirrors(engines, MIRRORS_MAX);
	for (size_t i = 0; i < n; i++) {
		if (r == 0)
			r = bind_mirror(s, engines[i], ret_error);
		free(engines[i]);
	}
	return r;
}

static int bind_registry(struct session *s, struct error *ret_error)
{
	static const struct registry_config none = {0};
	struct registry_options *o = &s->options;
	const struct registry_config *rc = config_registry(s->config, o->host) ?: &none;
	int r;

	o->config = rc;
	engine_file_use_proxies();
	r = read_host(s, o, rc->credentials, ret_error);
	/* A policy is written to the registry itself, and read from there to be changed. */
	return r < 0 || s->publishing || s->login ? r : bind_mirrors(s, rc->mirror, ret_error);
}

static int bind_collector(struct session *s, struct error *ret_error)
{
	const struct report_config *config = &s->config->report;
	struct credentials *set = &s->options.credentials;
	const struct credential *c;
	_cleanup_free_ char *host = NULL;
	const char *after;
	int r = config->ca ? trust_add_file(&s->options.trust, config->ca, ret_error) : 0;

	if (r < 0)
		return r;
	if (!config->url)
		return error_set(ret_error, -EPERM, "no [report] url is configured");
	after = strstr(config->url, "://") + strlen("://");
	host = xstrndup(after, strcspn(after, "/"));
	r = credentials_load(config->credentials, host, set, ret_error);
	if (r < 0 || !config->credentials)
		return r;
	c = credentials_find(set, "");
	r = credential_check(c, ret_error);
	if (r < 0)
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

static int read_files(struct session *s, struct error *ret_error)
{
	int r = load_config(s, ret_error);

	s->traffic.dir =
		s->cache_path ? open(s->cache_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (r < 0)
		return r;
	return *s->options.host ? bind_registry(s, ret_error) : bind_collector(s, ret_error);
}

static void free_options(struct registry_options *o)
{
	credentials_free(&o->credentials);
	trust_free(&o->trust);
	replace_string(&o->host, NULL);
}

static void unbind(struct session *s)
{
	free_options(&s->options);
	while (s->n_mirrors > 0)
		free_options(&s->mirrors[--s->n_mirrors].options);
	s->fault = (struct error){0};
}

int session_bind(struct session *s, const char *host, struct error *ret_error)
{
	static const char collector[] = "the collector";
	char **bound = &s->options.host;

	/* A child that was told no registry is bound to the collector, until its first question names one. */
	if (!s->asked && *bound && !**bound && *host)
		unbind(s);
	s->asked = true;
	if (!*bound) {
		*bound = xstrdup(host);
		if (read_files(s, ret_error) < 0)
			s->fault = *ret_error;
	}
	if (!streq(*bound, host))
		return error_set(ret_error, -EPERM,
				 "this connection is for %s: %s needs one of its own",
				 **bound ? *bound : collector, *host ? host : collector);
	*ret_error = s->fault;
	return s->fault.code;
}

/* The process has changed its user by now: only its own directory is private. */
bool session_cache_is_private(int dir)
{
	struct stat st;

	return fstat(dir, &st) == 0 && st.st_uid == geteuid() &&
	       !(st.st_mode & (S_IRWXG | S_IRWXO));
}

static void check_cache(struct registry_options *o)
{
	if (!session_cache_is_private(o->cache_dir))
		o->cache_dir = -1;
}

void session_put_traffic(struct session *s, json_t *reply)
{
	struct traffic now;

	if (s->sealed || !traffic_file_add(&s->traffic, &now))
		return;
	json_put(reply, "traffic", message_traffic_to_json(&now));
}

void session_tell_progress(struct session *s, uint64_t bytes)
{
	_cleanup_json_ json_t *j = json_need(json_pack("{s:I}", "progress", (json_int_t)bytes));

	session_put_traffic(s, j);
	(void)!protocol_write(s->caller->fd, j);
}

void session_tell_at_times(struct session *s, struct told *told, uint64_t bytes)
{
	uint64_t now = now_ms();

	if (now - told->at_ms < (bytes > told->bytes ? TELL_MS : ALIVE_MS))
		return;
	*told = (struct told){bytes, now};
	session_tell_progress(s, bytes);
}

int session_open_registry(struct session *s, struct error *ret_error)
{
	struct registry *before, *mirror;
	int r;

	if (s->registry)
		return 0;
	check_cache(&s->options);
	r = registry_open(&s->options, &s->registry, ret_error);
	before = s->registry;
	/* The last one is asked right before the registry. */
	for (size_t i = s->n_mirrors; r == 0 && i > 0; i--) {
		check_cache(&s->mirrors[i - 1].options);
		r = registry_open(&s->mirrors[i - 1].options, &mirror, ret_error);
		if (r < 0)
			break;
		registry_set_mirror(before, mirror);
		before = mirror;
	}
	return r;
}

void session_close(struct session *s)
{
	struct traffic ignored;

	registry_close(steal(s->registry));
	(void)traffic_file_add(&s->traffic, &ignored);
	config_free(steal(s->config));
	unbind(s);
}
