/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include "ref.h"

#define CONFIG_FILE_MAX ((size_t)256 * 1024)
#define CONFIG_LINE_MAX 4096
#define CONFIG_LIST_MAX 1024
#define INTERVAL_MIN_MS 1000

enum section {
	SECTION_NONE,
	SECTION_FAULTY, /* it was complained about, its keys are not */
	SECTION_AGENT,
	SECTION_REGISTRY,
	SECTION_CONTAINER,
};

/* Who wants to hear of all faults; without, the first one ends the reading. */
struct listener {
	void (*tell)(void *userdata, const char *fault);
	void *userdata;
};

/* Where the parser stands: for messages, relative paths and the section that keys go to. */
struct parser {
	struct config *config;
	const char *path;
	unsigned int line;
	struct error *error;
	enum section section;
	struct registry_config *registry;
	struct container_config *container;
};

static int complain(struct parser *p, const char *fmt, ...) format_printf(2, 3);

static int complain(struct parser *p, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return error_set(p->error, -EINVAL, "%s:%u: %s", p->path, p->line, text);
}

/* A path in the file is relative to the file. Caller frees. */
static char *resolve_path(const struct parser *p, const char *value)
{
	const char *slash = strrchr(p->path, '/');

	if (value[0] == '/' || !slash)
		return xstrdup(value);
	return xasprintf("%.*s/%s", (int)(slash - p->path), p->path, value);
}

static int set_span(struct parser *p, const char *key, const char *value, uint64_t min_ms,
		    uint64_t *ret)
{
	if (calendar_parse_span(value, ret) < 0)
		return complain(p, "%s: '%s' is not a time span (15min, 1h 30min, 45s)", key,
				value);
	return *ret < min_ms ? complain(p, "%s: '%s' is too short", key, value) : 0;
}

static int set_bool(struct parser *p, const char *key, const char *value, bool *ret)
{
	static const char *const yes[] = {"yes", "true", "on", "1"};
	static const char *const no[] = {"no", "false", "off", "0"};

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		if (streq(value, yes[i]) || streq(value, no[i])) {
			*ret = streq(value, yes[i]);
			return 0;
		}
	}
	return complain(p, "%s: '%s' is neither yes nor no", key, value);
}

static int set_path(struct parser *p, char **ret, const char *value)
{
	free(*ret);
	*ret = resolve_path(p, value);
	return 0;
}

/* A bare name is a systemd credential where there is one (systemd.exec(5), LoadCredential=). */
static int set_credentials(struct parser *p, char **ret, const char *value)
{
	const char *dir = getenv("CREDENTIALS_DIRECTORY");

	if (dir && !strchr(value, '/')) {
		_cleanup_free_ char *path = xasprintf("%s/%s", dir, value);

		if (access(path, F_OK) == 0) {
			free(*ret);
			*ret = steal(path);
			return 0;
		}
	}
	return set_path(p, ret, value);
}

static int set_interval(struct parser *p, const char *key, const char *value)
{
	return set_span(p, key, value, INTERVAL_MIN_MS, &p->config->interval_ms);
}

static int set_jitter(struct parser *p, const char *key, const char *value)
{
	char *end;
	unsigned long n = strtoul(value, &end, 10);

	if (!isdigit((unsigned char)*value) || !streq(end, "%") || n > 100)
		return complain(p, "%s: '%s' is not a percentage from 0%% to 100%%", key, value);
	p->config->jitter_percent = (unsigned int)n;
	return 0;
}

static int set_engine(struct parser *p, const char *key, const char *value)
{
	if (!config_engine_path(value))
		return complain(p, "%s: '%s' is not of the form unix:///PATH", key, value);
	replace_string(&p->config->engine, config_engine_path(value));
	return 0;
}

static int set_insecure(struct parser *p, const char *key, const char *value)
{
	p->registry->insecure_set = true;
	return set_bool(p, key, value, &p->registry->insecure);
}

static int set_ca(struct parser *p, const char *key, const char *value)
{
	(void)key;
	return set_path(p, &p->registry->ca, value);
}

static int set_registry_credentials(struct parser *p, const char *key, const char *value)
{
	(void)key;
	return set_credentials(p, &p->registry->credentials, value);
}

static int set_image(struct parser *p, const char *key, const char *value)
{
	struct ref ref = {0};
	const char *why;

	replace_string(&p->container->image, value);
	if (ref_parse(value, &ref, &why) < 0)
		return complain(p, "%s: '%s': %s", key, value, why);
	ref_free(&ref);
	return 0;
}

static int set_health(struct parser *p, const char *key, const char *value)
{
	static const char *const names[] = {
		[HEALTH_AUTO] = "auto",
		[HEALTH_HEALTHCHECK] = "healthcheck",
		[HEALTH_RUNNING] = "running",
		[HEALTH_EXIT] = "exit",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (streq(value, names[i])) {
			p->container->health = (enum health_kind)i;
			return 0;
		}
	}
	return complain(p, "%s: '%s' is none of auto, healthcheck, running, exit", key, value);
}

static int add_public_key(struct parser *p, const char *key, const char *value)
{
	struct container_config *c = p->container;
	size_t n = 0;

	while (c->keys && c->keys[n])
		n++;
	if (n >= CONFIG_LIST_MAX)
		return complain(p, "%s: more than %d of them", key, CONFIG_LIST_MAX);
	c->keys = xrealloc(c->keys, (n + 2) * sizeof(*c->keys));
	c->keys[n] = NULL;
	c->keys[n + 1] = NULL;
	/* Keys live in keys/ beside the configuration: /etc/pullet/keys/prod.pub. */
	if (!strchr(value, '/')) {
		_cleanup_free_ char *in_keys = xasprintf("keys/%s", value);

		return set_path(p, &c->keys[n], in_keys);
	}
	return set_path(p, &c->keys[n], value);
}

static int add_window(struct parser *p, const char *key, const char *value)
{
	struct container_config *c = p->container;
	struct window w;

	if (calendar_parse_window(value, &w) < 0)
		return complain(p, "%s: '%s' is not of the form Mon..Fri 02:00-04:00", key, value);
	if (c->n_windows >= CONFIG_LIST_MAX)
		return complain(p, "%s: more than %d of them", key, CONFIG_LIST_MAX);
	c->windows = xrealloc(c->windows, (c->n_windows + 1) * sizeof(*c->windows));
	c->windows[c->n_windows++] = w;
	return 0;
}

static int set_health_period(struct parser *p, const char *key, const char *value)
{
	return set_span(p, key, value, 1, &p->container->health_period_ms);
}

static int set_stop_timeout(struct parser *p, const char *key, const char *value)
{
	uint64_t ms;
	int r = set_span(p, key, value, 0, &ms);

	if (r == 0 && ms > (uint64_t)3600 * 1000)
		return complain(p, "%s: '%s' is more than an hour", key, value);
	if (r == 0)
		p->container->stop_timeout_s = (int)((ms + 999) / 1000);
	return r;
}

static int set_create(struct parser *p, const char *key, const char *value)
{
	(void)key;
	return set_path(p, &p->container->create, value);
}

static int set_hold(struct parser *p, const char *key, const char *value)
{
	return set_bool(p, key, value, &p->container->hold);
}

/* All there are; the table of pullet.conf(5) is compared with it. */
static const struct {
	enum section section;
	const char *key;
	int (*set)(struct parser *p, const char *key, const char *value);
} table[] = {
	{SECTION_AGENT, "interval", set_interval},
	{SECTION_AGENT, "jitter", set_jitter},
	{SECTION_AGENT, "engine", set_engine},

	{SECTION_REGISTRY, "insecure", set_insecure},
	{SECTION_REGISTRY, "ca", set_ca},
	{SECTION_REGISTRY, "credentials", set_registry_credentials},

	{SECTION_CONTAINER, "image", set_image},
	{SECTION_CONTAINER, "health", set_health},
	{SECTION_CONTAINER, "health-period", set_health_period},
	{SECTION_CONTAINER, "stop-timeout", set_stop_timeout},
	{SECTION_CONTAINER, "create", set_create},
	{SECTION_CONTAINER, "key", add_public_key},
	{SECTION_CONTAINER, "window", add_window},
	{SECTION_CONTAINER, "hold", set_hold},
};

static int set_key(struct parser *p, const char *key, const char *value)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		if (table[i].section == p->section && streq(table[i].key, key))
			return table[i].set(p, key, value);
	}
	switch (p->section) {
	case SECTION_NONE:
		return complain(p, "key '%s' stands before any [section]", key);
	case SECTION_FAULTY:
		return 0;
	case SECTION_AGENT:
		return complain(p, "unknown key '%s' in [agent]", key);
	case SECTION_REGISTRY:
		return complain(p, "unknown key '%s' in [registry %s]", key, p->registry->host);
	case SECTION_CONTAINER:
		return complain(p, "unknown key '%s' in [container %s]", key, p->container->name);
	}
	return -EINVAL;
}

/* The engine's own rule for names, and short enough for the names we derive. */
static bool container_name_is_valid(const char *s)
{
	size_t n = strlen(s);

	if (n < 2 || n > 120 || !isalnum((unsigned char)s[0]))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!isalnum((unsigned char)s[i]) && !strchr("_.-", s[i]))
			return false;
	}
	return true;
}

static int open_registry(struct parser *p, const char *host)
{
	struct config *c = p->config;

	p->section = SECTION_REGISTRY;
	if (!*host || strpbrk(host, " \t/@"))
		return complain(p, "[registry %s]: a host is wanted, registry.example:5000", host);
	for (size_t i = 0; i < c->n_registries; i++) {
		p->registry = &c->registries[i];
		if (streq(p->registry->host, host))
			return 0;
	}
	if (c->n_registries >= CONFIG_LIST_MAX)
		return complain(p, "more than %d registries", CONFIG_LIST_MAX);
	c->registries = xrealloc(c->registries, (c->n_registries + 1) * sizeof(*c->registries));
	p->registry = &c->registries[c->n_registries++];
	*p->registry = (struct registry_config){.host = xstrdup(host)};
	return 0;
}

static int open_container(struct parser *p, const char *name)
{
	struct config *c = p->config;

	p->section = SECTION_CONTAINER;
	if (!container_name_is_valid(name))
		return complain(p, "[container %s]: not a name the engine takes", name);
	if (has_suffix(name, ".next") || has_suffix(name, ".prev"))
		return complain(p, "[container %s]: names ending in .next and .prev are ours",
				name);
	for (size_t i = 0; i < c->n_containers; i++) {
		p->container = &c->containers[i];
		if (streq(p->container->name, name))
			return 0;
	}
	if (c->n_containers >= CONFIG_LIST_MAX)
		return complain(p, "more than %d containers", CONFIG_LIST_MAX);
	c->containers = xrealloc(c->containers, (c->n_containers + 1) * sizeof(*c->containers));
	p->container = &c->containers[c->n_containers++];
	*p->container = (struct container_config){
		.name = xstrdup(name),
		.origin = xasprintf("%s:%u", p->path, p->line),
		.health_period_ms = 30000,
		.stop_timeout_s = -1,
	};
	return 0;
}

static char *trim(char *s)
{
	size_t n;

	s += strspn(s, " \t");
	n = strlen(s);
	while (n > 0 && isspace((unsigned char)s[n - 1]))
		s[--n] = '\0';
	return s;
}

static int open_section(struct parser *p, char *line)
{
	size_t n = strlen(line);
	char *name, *argument;

	if (line[n - 1] != ']')
		return complain(p, "'%s': a section ends with ']'", line);
	line[n - 1] = '\0';
	name = trim(line + 1);
	argument = name + strcspn(name, " \t");
	if (*argument)
		*argument++ = '\0';
	argument = trim(argument);
	if (streq(name, "agent") && !*argument) {
		p->section = SECTION_AGENT;
		return 0;
	}
	if (streq(name, "registry"))
		return open_registry(p, argument);
	if (streq(name, "container"))
		return open_container(p, argument);
	return complain(p, "unknown section [%s%s%s]", name, *argument ? " " : "", argument);
}

static int parse_line(struct parser *p, char *line)
{
	char *equals, *key, *value;
	int r;

	if (strlen(line) > CONFIG_LINE_MAX)
		return complain(p, "line of more than %d bytes", CONFIG_LINE_MAX);
	line = trim(line);
	if (!*line || *line == '#' || *line == ';')
		return 0;
	if (*line == '[') {
		r = open_section(p, line);
		if (r < 0)
			p->section = SECTION_FAULTY;
		return r;
	}
	equals = strchr(line, '=');
	if (!equals)
		return complain(p, "'%s': neither [section] nor key = value", line);
	*equals = '\0';
	key = trim(line);
	value = trim(equals + 1);
	if (!*value)
		return complain(p, "%s: no value", key);
	return set_key(p, key, value);
}

/* 0 when somebody was told of it and wants to hear on. */
static int tell_fault(const struct listener *l, int r, const struct error *e)
{
	if (r < 0 && l->tell)
		l->tell(l->userdata, e->text);
	return l->tell ? 0 : r;
}

static int parse_file(struct config *config, const char *path, const struct listener *l,
		      struct error *ret_error)
{
	struct parser p = {.config = config, .path = path, .error = ret_error};
	_cleanup_free_ char *text = NULL;
	struct stat st;
	char *line;
	size_t len;
	int r;

	r = read_file_at(AT_FDCWD, path, CONFIG_FILE_MAX, &text, &len);
	if (r < 0)
		return error_set(ret_error, r, "%s: %s", path, strerror(-r));
	if (stat(path, &st) == 0 && (st.st_mode & S_IWOTH))
		return error_set(ret_error, -EPERM,
				 "%s: anybody may write to it (mode %03o): chmod o-w", path,
				 (unsigned int)st.st_mode & 0777);
	if (strlen(text) != len) {
		p.line = 1;
		return complain(&p, "not a text file: it has a NUL byte");
	}
	for (char *next = text; next;) {
		line = strsep(&next, "\n");
		p.line++;
		r = tell_fault(l, parse_line(&p, line), ret_error);
		if (r < 0)
			return r;
	}
	return 0;
}

static int is_drop_in(const struct dirent *d)
{
	return d->d_name[0] != '.' && has_suffix(d->d_name, ".conf");
}

static int parse_drop_ins(struct config *config, const char *path, const struct listener *l,
			  struct error *ret_error)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *dir =
		slash ? xasprintf("%.*s/conf.d", (int)(slash - path), path) : xstrdup("conf.d");
	struct dirent **entries = NULL;
	int n = scandir(dir, &entries, is_drop_in, alphasort), r = 0;

	if (n < 0)
		return errno == ENOENT
			       ? 0
			       : error_set(ret_error, -errno, "%s: %s", dir, strerror(errno));
	for (int i = 0; i < n; i++) {
		_cleanup_free_ char *file = xasprintf("%s/%s", dir, entries[i]->d_name);

		if (r == 0)
			r = tell_fault(l, parse_file(config, file, l, ret_error), ret_error);
		free(entries[i]);
	}
	free(entries);
	return r;
}

static int check_whole(const struct config *c, const struct listener *l, struct error *ret_error)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < c->n_containers; i++) {
		const struct container_config *k = &c->containers[i];

		if (!k->image)
			r = tell_fault(l,
				       error_set(ret_error, -EINVAL,
						 "%s: [container %s] has no image =", k->origin,
						 k->name),
				       ret_error);
	}
	return r;
}

static int read_all(struct config *c, const char *path, const struct listener *l,
		    struct error *ret_error)
{
	int r;

	c->interval_ms = (uint64_t)15 * 60 * 1000;
	c->jitter_percent = 10;
	c->engine = xstrdup("/run/docker.sock");
	r = tell_fault(l, parse_file(c, path, l, ret_error), ret_error);
	if (r == 0)
		r = tell_fault(l, parse_drop_ins(c, path, l, ret_error), ret_error);
	return r < 0 ? r : check_whole(c, l, ret_error);
}

int config_load(const char *path, struct config **ret, struct error *ret_error)
{
	struct config *c = xcalloc(1, sizeof(*c));
	int r = read_all(c, path, &(struct listener){0}, ret_error);

	if (r < 0)
		config_free(c);
	else
		*ret = c;
	return r;
}

struct config *config_read(const char *path, void (*tell)(void *userdata, const char *fault),
			   void *userdata)
{
	struct config *c = xcalloc(1, sizeof(*c));
	struct error ignored;

	(void)!read_all(c, path, &(struct listener){tell, userdata}, &ignored);
	return c;
}

void config_free(struct config *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n_registries; i++) {
		free(c->registries[i].host);
		free(c->registries[i].ca);
		free(c->registries[i].credentials);
	}
	for (size_t i = 0; i < c->n_containers; i++) {
		struct container_config *k = &c->containers[i];

		for (char **key = k->keys; key && *key; key++)
			free(*key);
		free(k->keys);
		free(k->windows);
		free(k->name);
		free(k->origin);
		free(k->image);
		free(k->create);
	}
	free(c->registries);
	free(c->containers);
	free(c->engine);
	free(c);
}

const struct container_config *config_container(const struct config *c, const char *name)
{
	for (size_t i = 0; i < c->n_containers; i++) {
		if (streq(c->containers[i].name, name))
			return &c->containers[i];
	}
	return NULL;
}

const struct registry_config *config_registry(const struct config *c, const char *host)
{
	for (size_t i = 0; i < c->n_registries; i++) {
		if (streq(c->registries[i].host, host))
			return &c->registries[i];
	}
	return NULL;
}

const char *config_engine_path(const char *url)
{
	const char *path = after_prefix(url, "unix://");

	return path && path[0] == '/' ? path : NULL;
}
