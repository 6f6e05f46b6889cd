/* SPDX-License-Identifier: MIT */
/* Every key there is, and what it takes. */
#include <ctype.h>
#include <errno.h>

#include "config-internal.h"
#include "device.h"
#include "ref.h"
#include "rollout.h"
#include "url.h"

#define INTERVAL_MIN_MS 1000

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
		return config_complain(p, "%s: '%s' is not a time span (15min, 1h 30min, 45s)", key,
				       value);
	return *ret < min_ms ? config_complain(p, "%s: '%s' is too short", key, value) : 0;
}

static int set_bool(struct parser *p, const char *key, const char *value, bool *ret)
{
	static const char yes[][8] = {"yes", "true", "on", "1"};
	static const char no[][8] = {"no", "false", "off", "0"};

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		if (streq(value, yes[i]) || streq(value, no[i])) {
			*ret = streq(value, yes[i]);
			return 0;
		}
	}
	return config_complain(p, "%s: '%s' is neither yes nor no", key, value);
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
		return config_complain(p, "%s: '%s' is not a percentage from 0%% to 100%%", key,
				       value);
	p->config->jitter_percent = (unsigned int)n;
	return 0;
}

static int set_engine(struct parser *p, const char *key, const char *value)
{
	if (!config_engine_path(value))
		return config_complain(p, "%s: '%s' is not of the form unix:///PATH", key, value);
	replace_string(&p->config->engine, config_engine_path(value));
	return 0;
}

static int set_ring(struct parser *p, const char *key, const char *value)
{
	if (!rollout_ring_is_valid(value))
		return config_complain(
			p, "%s: '%s' is no name for a ring: letters, digits, '.', '_', '-'", key,
			value);
	replace_string(&p->config->ring, value);
	return 0;
}

static int set_device_id(struct parser *p, const char *key, const char *value)
{
	if (strlen(value) >= DEVICE_ID_SIZE)
		return config_complain(p, "%s: more than %d bytes", key, DEVICE_ID_SIZE - 1);
	for (const char *c = value; *c; c++) {
		if (!isgraph((unsigned char)*c))
			return config_complain(
				p, "%s: '%s' has more than printable ASCII without blanks", key,
				value);
	}
	replace_string(&p->config->device_id, value);
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

/* A base: "/v1/metrics" and "/v1/logs" are put behind it. */
static int set_report_url(struct parser *p, const char *key, const char *value)
{
	struct url url;
	size_t n = strlen(value);

	if (strpbrk(value, "?#") || url_parse(value, &url) < 0)
		return config_complain(p, "%s: '%s' is not of the form https://HOST[:PORT][/PATH]",
				       key, value);
	url_free(&url);
	replace_string(&p->config->report.url, value);
	while (n > 0 && p->config->report.url[n - 1] == '/')
		p->config->report.url[--n] = '\0';
	return 0;
}

static int set_report_ca(struct parser *p, const char *key, const char *value)
{
	(void)key;
	return set_path(p, &p->config->report.ca, value);
}

static int set_report_credentials(struct parser *p, const char *key, const char *value)
{
	(void)key;
	return set_credentials(p, &p->config->report.credentials, value);
}

static int set_report_interval(struct parser *p, const char *key, const char *value)
{
	return set_span(p, key, value, INTERVAL_MIN_MS, &p->config->report.interval_ms);
}

/* Scrapers take what has that ending, and nothing else. */
static int set_report_textfile(struct parser *p, const char *key, const char *value)
{
	if (!has_suffix(value, ".prom"))
		return config_complain(p, "%s: '%s' does not end in .prom", key, value);
	return set_path(p, &p->config->report.textfile, value);
}

static int set_image(struct parser *p, const char *key, const char *value)
{
	struct ref ref = {0};
	const char *why;

	replace_string(&p->container->image, value);
	if (ref_parse(value, &ref, &why) < 0)
		return config_complain(p, "%s: '%s': %s", key, value, why);
	ref_free(&ref);
	return 0;
}

/* The index of value in words, or -EINVAL. */
static int find_word(const char *value, const char (*words)[12], size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (streq(value, words[i]))
			return (int)i;
	}
	return -EINVAL;
}

static int set_health(struct parser *p, const char *key, const char *value)
{
	static const char names[][12] = {
		[HEALTH_AUTO] = "auto",
		[HEALTH_HEALTHCHECK] = "healthcheck",
		[HEALTH_RUNNING] = "running",
		[HEALTH_EXIT] = "exit",
	};
	int kind = find_word(value, names, ARRAY_SIZE(names));

	if (kind < 0)
		return config_complain(p, "%s: '%s' is none of auto, healthcheck, running, exit",
				       key, value);
	p->container->health = (enum health_kind)kind;
	return 0;
}

static int set_rollout(struct parser *p, const char *key, const char *value)
{
	static const char names[][12] = {
		[ROLLOUT_AUTO] = "auto",
		[ROLLOUT_REQUIRED] = "required",
		[ROLLOUT_NO] = "no",
	};
	int rule = find_word(value, names, ARRAY_SIZE(names));

	if (rule < 0)
		return config_complain(p, "%s: '%s' is none of auto, required, no", key, value);
	p->container->rollout = (enum rollout_rule)rule;
	return 0;
}

static int add_public_key(struct parser *p, const char *key, const char *value)
{
	struct container_config *c = p->container;
	size_t n = 0;

	while (c->keys && c->keys[n])
		n++;
	if (n >= CONFIG_LIST_MAX)
		return config_complain(p, "%s: more than %d of them", key, CONFIG_LIST_MAX);
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

static int append_window(struct parser *p, const char *key, const char *value,
			 struct window **windows, size_t *n)
{
	struct window w;

	if (calendar_parse_window(value, &w) < 0)
		return config_complain(p, "%s: '%s' is not of the form Mon..Fri 02:00-04:00", key,
				       value);
	if (*n >= CONFIG_LIST_MAX)
		return config_complain(p, "%s: more than %d of them", key, CONFIG_LIST_MAX);
	*windows = xrealloc(*windows, (*n + 1) * sizeof(**windows));
	(*windows)[(*n)++] = w;
	return 0;
}

static int add_window(struct parser *p, const char *key, const char *value)
{
	return append_window(p, key, value, &p->container->windows, &p->container->n_windows);
}

static int add_download_window(struct parser *p, const char *key, const char *value)
{
	return append_window(p, key, value, &p->container->download_windows,
			     &p->container->n_download_windows);
}

static int set_min_age(struct parser *p, const char *key, const char *value)
{
	return set_span(p, key, value, 0, &p->container->min_age_ms);
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
		return config_complain(p, "%s: '%s' is more than an hour", key, value);
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
	char key[16];
	int (*set)(struct parser *p, const char *key, const char *value);
} table[] = {
	{SECTION_AGENT, "interval", set_interval},
	{SECTION_AGENT, "jitter", set_jitter},
	{SECTION_AGENT, "engine", set_engine},
	{SECTION_AGENT, "ring", set_ring},
	{SECTION_AGENT, "device-id", set_device_id},

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
	{SECTION_CONTAINER, "download-window", add_download_window},
	{SECTION_CONTAINER, "min-age", set_min_age},
	{SECTION_CONTAINER, "rollout", set_rollout},
	{SECTION_CONTAINER, "hold", set_hold},

	{SECTION_REPORT, "url", set_report_url},
	{SECTION_REPORT, "ca", set_report_ca},
	{SECTION_REPORT, "credentials", set_report_credentials},
	{SECTION_REPORT, "interval", set_report_interval},
	{SECTION_REPORT, "textfile", set_report_textfile},
};

int config_set_key(struct parser *p, const char *key, const char *value)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		if (table[i].section == p->section && streq(table[i].key, key))
			return table[i].set(p, key, value);
	}
	switch (p->section) {
	case SECTION_NONE:
		return config_complain(p, "key '%s' stands before any [section]", key);
	case SECTION_FAULTY:
		return 0;
	case SECTION_AGENT:
		return config_complain(p, "unknown key '%s' in [agent]", key);
	case SECTION_REGISTRY:
		return config_complain(p, "unknown key '%s' in [registry %s]", key,
				       p->registry->host);
	case SECTION_REPORT:
		return config_complain(p, "unknown key '%s' in [report]", key);
	case SECTION_CONTAINER:
		return config_complain(p, "unknown key '%s' in [container %s]", key,
				       p->container->name);
	}
	return -EINVAL;
}
