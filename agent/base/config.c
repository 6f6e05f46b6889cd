/* SPDX-License-Identifier: MIT */
#include "config-internal.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>

#include "device.h"
#include "trusted-file.h"

#define CONFIG_FILE_MAX ((size_t)256 * 1024)
#define CONFIG_LINE_MAX 4096

static void add_fault(struct parser *p, const struct error *e)
{
	if (p->first.code == 0)
		p->first = *e;
	if (p->report)
		p->report(p->userdata, e->text);
}

int config_complain(struct parser *p, const char *fmt, ...)
{
	struct error e;
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	(void)error_set(&e, -EINVAL, "%s:%u: %s", p->path, p->line, text);
	add_fault(p, &e);
	return e.code;
}

/* The engine's rule for names; short enough for the names that are derived from it. */
static bool container_name_is_valid(const char *s)
{
	size_t n = strlen(s);

	return n >= 2 && n <= 120 && !strchr("_.-", s[0]) && strspn(s, ALPHANUMERIC "_.-") == n;
}

static int open_registry(struct parser *p, const char *host)
{
	struct config *c = p->config;

	if (!*host || strpbrk(host, " \t/@"))
		return config_complain(p, "[registry %s]: not a host such as registry.example:5000",
				       host);
	/* As in image references. */
	if (streq(host, "index.docker.io"))
		host = "docker.io";
	p->fields = (struct registry_config *)config_registry(c, host);
	if (p->fields)
		return 0;
	if (c->n_registries >= CONFIG_LIST_MAX)
		return config_complain(p, "more than %d registries", CONFIG_LIST_MAX);
	c->registries = xrealloc(c->registries, (c->n_registries + 1) * sizeof(*c->registries));
	c->registries[c->n_registries] = (struct registry_config){.host = xstrdup(host)};
	p->fields = &c->registries[c->n_registries++];
	return 0;
}

static int open_container(struct parser *p, const char *name)
{
	struct config *c = p->config;

	if (!container_name_is_valid(name))
		return config_complain(p, "[container %s]: not a valid container name", name);
	if (has_suffix(name, ".next") || has_suffix(name, ".prev"))
		return config_complain(
			p, "[container %s]: names that end in .next or .prev are reserved", name);
	p->fields = (struct container_config *)config_container(c, name);
	if (p->fields)
		return 0;
	if (c->n_containers >= CONFIG_LIST_MAX)
		return config_complain(p, "more than %d containers", CONFIG_LIST_MAX);
	c->containers = xrealloc(c->containers, (c->n_containers + 1) * sizeof(*c->containers));
	c->containers[c->n_containers] = (struct container_config){
		.name = xstrdup(name),
		.origin = xasprintf("%s:%u", p->path, p->line),
		.health_period_ms = 30000,
		.stop_timeout_s = -1,
	};
	p->fields = &c->containers[c->n_containers++];
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

	p->section = line;
	p->fields = NULL;
	if (line[n - 1] != ']')
		return config_complain(p, "'%s': a section ends with ']'", line);
	line[n - 1] = '\0';
	name = trim(line + 1);
	argument = name + strcspn(name, " \t");
	if (*argument)
		*argument++ = '\0';
	argument = trim(argument);
	p->section = name;
	p->argument = argument;
	if (streq(name, SECTION_REGISTRY))
		return open_registry(p, argument);
	if (streq(name, SECTION_CONTAINER))
		return open_container(p, argument);
	if ((streq(name, SECTION_AGENT) || streq(name, SECTION_REPORT)) && !*argument) {
		p->fields = p->config;
		return 0;
	}
	return config_complain(p, "unknown section [%s%s%s]", name, *argument ? " " : "", argument);
}

static int parse_line(struct parser *p, char *line)
{
	char *equals;

	if (strlen(line) > CONFIG_LINE_MAX)
		return config_complain(p, "line longer than %d bytes", CONFIG_LINE_MAX);
	line = trim(line);
	if (!*line || *line == '#' || *line == ';')
		return 0;
	if (*line == '[')
		return open_section(p, line);
	equals = strchr(line, '=');
	if (!equals)
		return config_complain(p, "'%s': neither [section] nor key = value", line);
	*equals = '\0';
	return config_set_key(p, trim(line), trim(equals + 1));
}

static void parse_file(struct parser *p, const char *path)
{
	_cleanup_free_ char *text = NULL;
	struct error e;
	size_t len;

	if (read_trusted_file(path, CONFIG_FILE_MAX, &text, &len, &e) < 0) {
		add_fault(p, &e);
		return;
	}
	p->config->fingerprint = p->config->fingerprint * 31 + device_number(text);
	p->path = path;
	p->line = 1;
	p->section = NULL;
	if (strlen(text) != len) {
		config_complain(p, "not a text file: it contains a NUL byte");
		return;
	}
	for (char *next = text; next; p->line++)
		parse_line(p, strsep(&next, "\n"));
}

static int is_drop_in(const struct dirent *d)
{
	return d->d_name[0] != '.' && has_suffix(d->d_name, ".conf");
}

static void parse_drop_ins(struct parser *p, const char *path)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *dir =
		xasprintf("%.*sconf.d", slash ? (int)(slash + 1 - path) : 0, path);
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent **entries = NULL;
	struct error e;
	int n = 0, r;

	if (fd < 0 && errno == ENOENT)
		return;
	/* An empty directory too: another user may have removed the drop-in that requires signatures. */
	r = check_trusted(fd, dir, &e);
	if (r == 0)
		n = scandirat(fd, ".", &entries, is_drop_in, alphasort);
	if (n < 0)
		r = error_set(&e, -errno, "%s: %s", dir, strerror(errno));
	if (r < 0)
		add_fault(p, &e);
	for (int i = 0; i < n; i++) {
		_cleanup_free_ char *file = xasprintf("%s/%s", dir, entries[i]->d_name);

		parse_file(p, file);
		free(entries[i]);
	}
	free(entries);
}

struct config *config_new(void)
{
	struct config *c = xcalloc(1, sizeof(*c));

	c->interval_ms = (uint64_t)15 * 60 * 1000;
	c->jitter_percent = 10;
	c->engine = xstrdup("/run/docker.sock");
	return c;
}

static struct config *read_all(struct parser *p, const char *path)
{
	struct config *c = config_new();
	struct error e;

	p->config = c;
	parse_file(p, path);
	parse_drop_ins(p, path);
	for (size_t i = 0; i < c->n_containers; i++) {
		const struct container_config *k = &c->containers[i];

		if (k->image)
			continue;
		(void)error_set(&e, -EINVAL, "%s: [container %s] has no image =", k->origin,
				k->name);
		add_fault(p, &e);
	}
	return c;
}

int config_load(const char *path, struct config **ret, struct error *ret_error)
{
	struct parser p = {0};
	struct config *c = read_all(&p, path);

	if (p.first.code == 0) {
		*ret = c;
		return 0;
	}
	config_free(c);
	*ret_error = p.first;
	return ret_error->code;
}

struct config *config_read(const char *path, void (*report)(void *userdata, const char *text),
			   void *userdata)
{
	return read_all(&(struct parser){.report = report, .userdata = userdata}, path);
}

void config_free(struct config *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n_registries; i++) {
		free(c->registries[i].host);
		free(c->registries[i].ca);
		free(c->registries[i].credentials);
		free(c->registries[i].token_server);
		free(c->registries[i].mirror);
	}
	for (size_t i = 0; i < c->n_containers; i++) {
		struct container_config *k = &c->containers[i];

		for (char **key = k->keys; key && *key; key++)
			free(*key);
		free(k->keys);
		free(k->windows.items);
		free(k->download_windows.items);
		free(k->name);
		free(k->origin);
		free(k->image);
		free(k->create);
	}
	free(c->registries);
	free(c->containers);
	free(c->engine);
	free(c->ring);
	free(c->device_id);
	free(c->report.url);
	free(c->report.ca);
	free(c->report.credentials);
	free(c->report.textfile);
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
