/* SPDX-License-Identifier: MIT */
/* Every key of the configuration. A new key is a row of keys[] and, for a new kind of value, a parser. */
#include <ctype.h>
#include <errno.h>
#include <strings.h>

#include "config-internal.h"
#include "device.h"
#include "ref.h"
#include "rollout.h"

#define INTERVAL_MIN_MS 1000
/* Three starts of a trial end within the time that pulletd gives a pass. */
#define HEALTH_PERIOD_MAX_MS ((uint64_t)6 * 3600 * 1000)
#define STOP_TIMEOUT_MAX_MS  ((uint64_t)3600 * 1000)

struct key {
	char section[12];
	char name[16];
	/* Writes value to field, which is as the parser's name says, or complains. */
	int (*parse)(struct parser *p, const char *value, void *field);
	size_t offset;	   /* of field in the section's structure */
	uint64_t least;	   /* parse_span: ms */
	uint64_t most;	   /* 0: any */
	const char *words; /* parse_word: "WORD, WORD, ..." by the number of each */
};

/* wrong: what is wrong with value. */
static int complain(struct parser *p, const char *value, const char *wrong)
{
	return config_complain(p, "%s: '%s' %s", p->key->name, value, wrong);
}

static int parse_string(struct parser *p, const char *value, void *field)
{
	replace_string(field, value);
	return 0;
}

static int parse_span(struct parser *p, const char *value, void *field)
{
	uint64_t *ms = field;

	if (calendar_parse_span(value, ms) < 0)
		return complain(p, value, "is not a time span (15min, 1h 30min, 45s)");
	if (p->key->most > 0 && *ms > p->key->most)
		return complain(p, value, "is too long");
	return *ms < p->key->least ? complain(p, value, "is too short") : 0;
}

/* The engine takes whole seconds: rounded up. */
static int parse_stop_timeout(struct parser *p, const char *value, void *field)
{
	uint64_t ms;
	int r = parse_span(p, value, &ms);

	if (r == 0 && ms > STOP_TIMEOUT_MAX_MS)
		return complain(p, value, "is more than an hour");
	if (r == 0)
		*(int *)field = (int)((ms + 999) / 1000);
	return r;
}

static int parse_bool(struct parser *p, const char *value, void *field)
{
	static const char yes[][8] = {"yes", "true", "on", "1"};
	static const char no[][8] = {"no", "false", "off", "0"};

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		if (streq(value, yes[i]) || streq(value, no[i])) {
			*(bool *)field = streq(value, yes[i]);
			return 0;
		}
	}
	return complain(p, value, "is neither yes nor no");
}

static int parse_insecure(struct parser *p, const char *value, void *field)
{
	((struct registry_config *)p->fields)->insecure_set = true;
	return parse_bool(p, value, field);
}

static int parse_word(struct parser *p, const char *value, void *field)
{
	const char *word = p->key->words;

	for (unsigned int i = 0;; i++) {
		size_t n = strcspn(word, ",");

		if (strlen(value) == n && strncmp(value, word, n) == 0) {
			*(unsigned int *)field = i;
			return 0;
		}
		if (!word[n])
			return config_complain(p, "%s: '%s' is not one of %s", p->key->name, value,
					       p->key->words);
		word += n + strlen(", ");
	}
}

static int parse_percent(struct parser *p, const char *value, void *field)
{
	char *end;
	unsigned long n = strtoul(value, &end, 10);

	if (!isdigit((unsigned char)*value) || !streq(end, "%") || n > 100)
		return complain(p, value, "is not a percentage from 0% to 100%");
	*(unsigned int *)field = (unsigned int)n;
	return 0;
}

/* A path in the file is relative to the file. */
static int parse_path(struct parser *p, const char *value, void *field)
{
	const char *slash = value[0] == '/' ? NULL : strrchr(p->path, '/');
	_cleanup_free_ char *path =
		xasprintf("%.*s%s", slash ? (int)(slash + 1 - p->path) : 0, p->path, value);

	return parse_string(p, path, field);
}

/* A bare name is a systemd credential where there is one (systemd.exec(5), LoadCredential=), else a file beside the
 * configuration, else the source of the credential: root's commands have no credentials of their own. */
static int parse_credentials(struct parser *p, const char *value, void *field)
{
	const char *dir = getenv("CREDENTIALS_DIRECTORY");
	_cleanup_free_ char *path =
		dir && !strchr(value, '/') ? xasprintf("%s/%s", dir, value) : NULL;
	_cleanup_free_ char *source = xasprintf(CREDENTIAL_STORE "/%s", value);
	int r;

	if (path && access(path, F_OK) == 0)
		return parse_string(p, path, field);
	r = parse_path(p, value, field);
	if (r == 0 && !strchr(value, '/') && access(*(char **)field, F_OK) < 0 &&
	    access(source, F_OK) == 0)
		return parse_string(p, source, field);
	return r;
}

/* node_exporter reads files of this suffix only. */
static int parse_textfile(struct parser *p, const char *value, void *field)
{
	if (!has_suffix(value, ".prom"))
		return complain(p, value, "does not end in .prom");
	return parse_path(p, value, field);
}

static int parse_engine(struct parser *p, const char *value, void *field)
{
	const char *path = config_engine_path(value);

	if (!path)
		return complain(p, value, "is not of the form unix:///PATH");
	return parse_string(p, path, field);
}

static int parse_ring(struct parser *p, const char *value, void *field)
{
	if (!rollout_ring_is_valid(value))
		return complain(p, value, "is not a ring name (letters, digits, '.', '_', '-')");
	return parse_string(p, value, field);
}

static bool is_graphic(const char *s)
{
	while (isgraph((unsigned char)*s))
		s++;
	return !*s;
}

static int parse_device_id(struct parser *p, const char *value, void *field)
{
	if (strlen(value) >= DEVICE_ID_SIZE)
		return config_complain(p, "%s: longer than %d bytes", p->key->name,
				       DEVICE_ID_SIZE - 1);
	if (!is_graphic(value))
		return complain(p, value, "may hold printable ASCII without spaces only");
	return parse_string(p, value, field);
}

/* pullet-fetch parses the URL with libcurl. This check gives a message with a line number. */
static bool is_http_url(const char *s)
{
	const char *host = strncasecmp(s, "https://", 8) == 0  ? s + 8
			   : strncasecmp(s, "http://", 7) == 0 ? s + 7
							       : "/";

	return is_graphic(s) && *host && *host != '/' && *host != ':';
}

/* A base: "/v1/metrics" and "/v1/logs" are appended to it. */
static int parse_base_url(struct parser *p, const char *value, void *field)
{
	_cleanup_free_ char *base = xstrdup(value);

	if (!is_http_url(value) || strpbrk(value, "?#@\\"))
		return complain(p, value, "is not of the form https://HOST[:PORT][/PATH]");
	for (size_t n = strlen(base); base[n - 1] == '/';)
		base[--n] = '\0';
	return parse_string(p, base, field);
}

/* "https://HOST:PORT", as dockerd takes a mirror. */
static int parse_server(struct parser *p, const char *value, void *field)
{
	int r = parse_base_url(p, value, field);

	if (r == 0 && strchr(strstr(*(char **)field, "://") + strlen("://"), '/'))
		return complain(p, value, "is not of the form https://HOST[:PORT], without a path");
	return r;
}

static int parse_image(struct parser *p, const char *value, void *field)
{
	_cleanup_(ref_free) struct ref ref = {0};
	const char *why;

	replace_string(field, value);
	if (ref_parse(value, &ref, &why) < 0)
		return config_complain(p, "%s: '%s': %s", p->key->name, value, why);
	return 0;
}

/* A bare name lies in keys/ beside the configuration: /etc/pullet/keys/prod.pub. */
static int parse_public_key(struct parser *p, const char *value, void *field)
{
	_cleanup_free_ char *in_keys = strchr(value, '/') ? NULL : xasprintf("keys/%s", value);
	char ***keys = field;
	size_t n = 0;

	while (*keys && (*keys)[n])
		n++;
	if (n >= CONFIG_LIST_MAX)
		return config_complain(p, "%s: more than %d values", p->key->name, CONFIG_LIST_MAX);
	*keys = xrealloc(*keys, (n + 2) * sizeof(**keys));
	(*keys)[n] = NULL;
	(*keys)[n + 1] = NULL;
	return parse_path(p, in_keys ? in_keys : value, &(*keys)[n]);
}

static int parse_window(struct parser *p, const char *value, void *field)
{
	struct window_list *list = field;
	struct window w;

	if (calendar_parse_window(value, &w) < 0)
		return complain(p, value, "is not of the form Mon..Fri 02:00-04:00");
	if (list->n >= CONFIG_LIST_MAX)
		return config_complain(p, "%s: more than %d values", p->key->name, CONFIG_LIST_MAX);
	list->items = xrealloc(list->items, (list->n + 1) * sizeof(w));
	list->items[list->n++] = w;
	return 0;
}

#define AGENT(field)	 .offset = offsetof(struct config, field)
#define REGISTRY(field)	 .offset = offsetof(struct registry_config, field)
#define CONTAINER(field) .offset = offsetof(struct container_config, field)

/* pullet.conf(5) has them in the same order; a test compares the two. */
static const struct key keys[] = {
	{SECTION_AGENT, "interval", parse_span, AGENT(interval_ms), .least = INTERVAL_MIN_MS},
	{SECTION_AGENT, "jitter", parse_percent, AGENT(jitter_percent)},
	{SECTION_AGENT, "engine", parse_engine, AGENT(engine)},
	{SECTION_AGENT, "ring", parse_ring, AGENT(ring)},
	{SECTION_AGENT, "device-id", parse_device_id, AGENT(device_id)},

	{SECTION_REGISTRY, "insecure", parse_insecure, REGISTRY(insecure)},
	{SECTION_REGISTRY, "ca", parse_path, REGISTRY(ca)},
	{SECTION_REGISTRY, "credentials", parse_credentials, REGISTRY(credentials)},
	{SECTION_REGISTRY, "token-server", parse_base_url, REGISTRY(token_server)},
	{SECTION_REGISTRY, "mirror", parse_server, REGISTRY(mirror)},

	{SECTION_CONTAINER, "image", parse_image, CONTAINER(image)},
	{SECTION_CONTAINER, "health", parse_word, CONTAINER(health),
	 .words = "auto, healthcheck, running, exit"}, /* enum health_kind */
	{SECTION_CONTAINER, "health-period", parse_span, CONTAINER(health_period_ms), .least = 1,
	 .most = HEALTH_PERIOD_MAX_MS},
	{SECTION_CONTAINER, "stop-timeout", parse_stop_timeout, CONTAINER(stop_timeout_s)},
	{SECTION_CONTAINER, "create", parse_path, CONTAINER(create)},
	{SECTION_CONTAINER, "key", parse_public_key, CONTAINER(keys)},
	{SECTION_CONTAINER, "window", parse_window, CONTAINER(windows)},
	{SECTION_CONTAINER, "download-window", parse_window, CONTAINER(download_windows)},
	{SECTION_CONTAINER, "min-age", parse_span, CONTAINER(min_age_ms)},
	{SECTION_CONTAINER, "rollout", parse_word, CONTAINER(rollout),
	 .words = "auto, required, no"}, /* enum rollout_rule */
	{SECTION_CONTAINER, "copied", parse_word, CONTAINER(copied),
	 .words = "refuse, ignore"}, /* enum copied_rule */
	{SECTION_CONTAINER, "hold", parse_bool, CONTAINER(hold)},

	{SECTION_REPORT, "url", parse_base_url, AGENT(report.url)},
	{SECTION_REPORT, "ca", parse_path, AGENT(report.ca)},
	{SECTION_REPORT, "credentials", parse_credentials, AGENT(report.credentials)},
	{SECTION_REPORT, "interval", parse_span, AGENT(report.interval_ms),
	 .least = INTERVAL_MIN_MS},
	{SECTION_REPORT, "textfile", parse_textfile, AGENT(report.textfile)},
};

int config_set_key(struct parser *p, const char *name, const char *value)
{
	if (!*value)
		return config_complain(p, "%s: no value", name);
	if (!p->section)
		return config_complain(p, "key '%s' appears before any [section]", name);
	if (!p->fields)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		p->key = &keys[i];
		if (streq(p->key->section, p->section) && streq(p->key->name, name))
			return p->key->parse(p, value, (char *)p->fields + p->key->offset);
	}
	return config_complain(p, "unknown key '%s' in [%s%s%s]", name, p->section,
			       *p->argument ? " " : "", p->argument);
}
