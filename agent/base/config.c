/* SPDX-License-Identifier: MIT */
#include "config-internal.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>

#include "device.h"
#include "login.h"
#include "similar.h"
#include "trusted-file.h"

#define CONFIG_FILE_MAX ((size_t)256 * 1024)
#define CONFIG_LINE_MAX 4096

void config_add_fault(struct parser *p, const struct error *e)
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
	config_add_fault(p, &e);
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

const char *config_name_fault(const char *name)
{
	if (!container_name_is_valid(name))
		return "not a valid container name";
	return has_suffix(name, ".next") || has_suffix(name, ".prev")
		       ? "names that end in .next or .prev are reserved"
		       : NULL;
}

static int open_container(struct parser *p, const char *name)
{
	struct config *c = p->config;
	const char *fault = config_name_fault(name);

	if (fault)
		return config_complain(p, "[container %s]: %s", name, fault);
	p->fields = (struct container_config *)config_container(c, name);
	if (p->fields)
		return 0;
	if (c->n_containers >= CONFIG_LIST_MAX)
		return config_complain(p, "more than %d containers", CONFIG_LIST_MAX);
	c->containers = xrealloc(c->containers, (c->n_containers + 1) * sizeof(*c->containers));
	c->containers[c->n_containers] = (struct container_config){
		.name = xstrdup(name),
		.origin = xasprintf("%s:%u", p->path, p->line),
		.stop_timeout_s = -1,
	};
	p->fields = &c->containers[c->n_containers++];
	config_set_defaults(p, SECTION_CONTAINER, name, p->fields);
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

static int complain_of_section(struct parser *p)
{
	static const char *const sections[] = {SECTION_AGENT, SECTION_REPORT, SECTION_REGISTRY,
					       SECTION_CONTAINER};
	struct similar similar = {.given = p->section};
	_cleanup_free_ char *hint = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(sections); i++)
		similar_try(&similar, sections[i], strlen(sections[i]));
	hint = similar_hint(&similar);
	return config_complain(p, "unknown section [%s%s%s]%s", p->section, *p->argument ? " " : "",
			       p->argument, hint);
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
	return complain_of_section(p);
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
		config_add_fault(p, &e);
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
	_cleanup_free_ char *dir = path_beside(path, "conf.d");
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
		config_add_fault(p, &e);
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

	config_set_defaults(&(struct parser){.config = c}, SECTION_AGENT, "", c);
	return c;
}

size_t config_dependencies(const struct config *c, struct dependency **ret)
{
	size_t n = 0;

	*ret = NULL;
	for (size_t i = 0; i < c->n_containers; i++) {
		const struct container_config *k = &c->containers[i];

		for (size_t j = 0; j < k->n_after; j++) {
			const struct container_config *on = config_container(c, k->after[j].name);

			if (!on)
				continue;
			*ret = xrealloc(*ret, (n + 1) * sizeof(**ret));
			(*ret)[n++] = (struct dependency){.node = i,
							  .before = (size_t)(on - c->containers)};
		}
	}
	return n;
}

char *config_circle(const struct config *c, const size_t *circle, size_t n)
{
	char *text = xstrdup("a circle: ");

	for (size_t i = 0; i < n; i++) {
		_cleanup_free_ char *before = text;

		text = xasprintf("%s%s%s", before, i ? ", " : "", c->containers[circle[i]].name);
	}
	return text;
}

static const char *find_origin(const struct container_config *k, const char *name)
{
	for (size_t i = 0; i < k->n_after; i++) {
		if (streq(k->after[i].name, name))
			return k->after[i].origin;
	}
	return k->origin;
}

/* Whether each after = names a container, and they make no circle. */
static void check_after(struct parser *p)
{
	const struct config *c = p->config;
	_cleanup_free_ struct dependency *d = NULL;
	_cleanup_free_ size_t *order = xcalloc(c->n_containers + 1, sizeof(*order));
	_cleanup_free_ char *circle = NULL;
	size_t n = config_dependencies(c, &d), n_circle;
	struct error e;

	for (const struct container_config *k = c->containers; k < c->containers + c->n_containers;
	     k++) {
		for (size_t i = 0; i < k->n_after; i++) {
			if (config_container(c, k->after[i].name))
				continue;
			(void)error_set(&e, -EINVAL, "%s: after: there is no [container %s]",
					k->after[i].origin, k->after[i].name);
			config_add_fault(p, &e);
		}
	}
	if (order_sort(c->n_containers, d, n, order, &n_circle) == 0)
		return;
	circle = config_circle(c, order, n_circle);
	(void)error_set(&e, -EINVAL, "%s: after: %.800s",
			find_origin(&c->containers[order[0]], c->containers[order[1]].name),
			circle);
	config_add_fault(p, &e);
}

/* drop_in: one more, or NULL. */
static struct config *read_all(struct parser *p, const char *path, const char *drop_in)
{
	struct config *c = config_new();
	struct error e;

	c->auth_dir = login_directory(path);
	p->config = c;
	p->main_path = path;
	if (p->settings)
		config_set_defaults(p, SECTION_AGENT, "", c);
	parse_file(p, path);
	parse_drop_ins(p, path);
	if (drop_in)
		parse_file(p, drop_in);
	for (size_t i = 0; i < c->n_containers; i++) {
		const struct container_config *k = &c->containers[i];

		if (k->image)
			continue;
		(void)error_set(&e, -EINVAL, "%s: [container %s] has no image =", k->origin,
				k->name);
		config_add_fault(p, &e);
	}
	config_check_thresholds(p);
	check_after(p);
	return c;
}

int config_load(const char *path, struct config **ret, struct error *ret_error)
{
	return config_load_with(path, NULL, ret, ret_error);
}

int config_load_with(const char *path, const char *drop_in, struct config **ret,
		     struct error *ret_error)
{
	struct parser p = {0};
	struct config *c = read_all(&p, path, drop_in);

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
	return read_all(&(struct parser){.report = report, .userdata = userdata}, path, NULL);
}

int config_settings(const char *path, json_t **ret, struct error *ret_error)
{
	_cleanup_json_ json_t *settings = json_need(json_array());
	struct parser p = {.settings = settings};
	_cleanup_config_ struct config *ignored = read_all(&p, path, NULL);

	if (p.first.code < 0) {
		*ret_error = p.first;
		return ret_error->code;
	}
	*ret = steal(settings);
	return 0;
}

static void free_list(char **list)
{
	for (char **entry = list; entry && *entry; entry++)
		free(*entry);
	free(list);
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

		free_list(k->keys);
		free_list(k->revoked);
		for (int h = 0; h < HOOK_MAX; h++)
			free(k->hooks[h].unit);
		for (size_t j = 0; j < k->n_after; j++) {
			free(k->after[j].name);
			free(k->after[j].origin);
		}
		free(k->after);
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
	free_list(c->notify);
	free(c->report.url);
	free(c->report.ca);
	free(c->report.credentials);
	free(c->report.textfile);
	free(c->auth_dir);
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
