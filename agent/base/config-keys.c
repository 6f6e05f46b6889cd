/* SPDX-License-Identifier: MIT */
/* Every key of the configuration. A new key is a row of keys[] and, for a new kind of value, a parser. */
#include <ctype.h>
#include <errno.h>
#include <strings.h>
#include <sys/stat.h>

#include "config-internal.h"
#include "device.h"
#include "record.h"
#include "ref.h"
#include "rollout.h"
#include "similar.h"

#define INTERVAL_MIN_MS 1000
/* Three starts of a trial end within the time that pulletd gives a pass. */
#define HEALTH_PERIOD_MAX_MS ((uint64_t)6 * 3600 * 1000)
#define STOP_TIMEOUT_MAX_MS  ((uint64_t)3600 * 1000)
#define HOOK_TIMEOUT_MAX_MS \
	((uint64_t)3600 * 1000) /* systemd/pullet-unit@.service.in has it, too */
#define SPEED_LEAST   1000	/* bytes a second: below it servers end the connection */
#define BUDGET_LEAST  10000	/* bytes: a handshake and the smallest update */
#define DEFERRALS_MAX 1000	/* as counts of the record */

/* A hint for a value with quotes or a comment in it, as other formats have them; else "". */
static const char *quotes_hint(const char *value)
{
	bool has = strchr("\"'", value[0]) || strstr(value, " #") || strstr(value, " ;") ||
		   strstr(value, "\t#");

	return has ? "; write it without quotes, and a comment on a line of its own" : "";
}

/* wrong: what is wrong with value. */
static int complain(struct parser *p, const char *value, const char *wrong)
{
	return config_complain(p, "%s: '%s' %s%s", p->key->name, value, wrong, quotes_hint(value));
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

/* "48k", "64kbit", "20M": bytes, with decimal prefixes. -EINVAL, or -ERANGE above UINT64_MAX / 2. */
static int read_bytes(const char *s, size_t n, uint64_t *ret)
{
	static const char prefixes[] = "kMG";
	char *end;
	unsigned long long value = strtoull(s, &end, 10);
	size_t digits = (size_t)(end - s);
	uint64_t factor = 1;
	const char *prefix;

	if (!isdigit((unsigned char)*s))
		return -EINVAL;
	s = end;
	n -= digits;
	prefix = n > 0 ? memchr(prefixes, s[0], strlen(prefixes)) : NULL;
	for (const char *p = prefixes; prefix && p <= prefix; p++)
		factor *= 1000;
	s += prefix ? 1 : 0;
	n -= prefix ? 1 : 0;
	if (value > INT64_MAX / factor)
		return -ERANGE;
	*ret = value * factor;
	if (n == strlen("bit") && strncmp(s, "bit", n) == 0)
		*ret /= 8;
	else if (n > 0 && (n > 1 || *s != 'B'))
		return -EINVAL;
	return 0;
}

static int parse_speed(struct parser *p, const char *value, void *field)
{
	uint64_t speed;
	int r = read_bytes(value, strlen(value), &speed);

	if (r == -ERANGE)
		return complain(p, value, "is too large");
	if (r < 0)
		return complain(p, value,
				"is not a number of bytes a second (48k, 1M) or of bits (64kbit)");
	if (speed < SPEED_LEAST)
		return complain(p, value, "is too slow: at least 1k, which is 1000 bytes a second");
	*(uint64_t *)field = speed;
	return 0;
}

/* One of each kind: with two, nobody sees which one counts. */
static int parse_budget(struct parser *p, const char *value, void *field)
{
	struct config *c = p->fields;
	size_t n = strcspn(value, "/");
	bool day = streq(value + n, "/day");
	uint64_t *budget = day ? &c->budget_day : &c->budget_month, bytes;
	int r = day || streq(value + n, "/month") ? read_bytes(value, n, &bytes) : -EINVAL;

	if (r == -ERANGE)
		return complain(p, value, "is too large");
	if (r < 0)
		return complain(p, value, "is not of the form 20M/day or 300M/month");
	if (bytes < BUDGET_LEAST)
		return complain(p, value, "is too small: at least 10k, which is 10000 bytes");
	if (*budget)
		return complain(p, value,
				day ? "is a second budget of the day; remove one of the two"
				    : "is a second budget of the month; remove one of the two");
	*budget = bytes;
	return 0;
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
	struct similar similar = {.given = value};
	const char *word = p->key->words;
	_cleanup_free_ char *hint = NULL;

	for (unsigned int i = 0;; i++) {
		size_t n = strcspn(word, ",");

		if (strlen(value) == n && strncmp(value, word, n) == 0) {
			*(unsigned int *)field = i;
			return 0;
		}
		similar_try(&similar, word, n);
		if (!word[n])
			break;
		word += n + strlen(", ");
	}
	hint = similar_hint(&similar);
	return config_complain(p, "%s: '%s' is not one of %s%s%s", p->key->name, value,
			       p->key->words, hint, quotes_hint(value));
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
	_cleanup_free_ char *path = path_beside(p->path, value);

	replace_string(&p->path_value, path);
	return parse_string(p, path, field);
}

/* The units set a credential that is not there to "{}", so that systemd does not tell of it at each start. */
static bool is_loaded(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && st.st_size > 2;
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

	if (path && is_loaded(path))
		return parse_string(p, path, field);
	r = parse_path(p, value, field);
	/* Nobody means a file without a suffix beside the configuration. */
	if (r == 0 && !strchr(value, '/') && access(*(char **)field, F_OK) < 0 &&
	    (!strchr(value, '.') || access(source, F_OK) == 0)) {
		/* The services know the bare name. */
		free(steal(p->path_value));
		return parse_string(p, source, field);
	}
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
		return config_complain(p, "%s: '%s': %s%s", p->key->name, value, why,
				       quotes_hint(value));
	return 0;
}

/* Whether a list of n values takes one more. */
static int check_length(struct parser *p, size_t n)
{
	if (n < CONFIG_LIST_MAX)
		return 0;
	return config_complain(p, "%s: more than %d values", p->key->name, CONFIG_LIST_MAX);
}

/* Appends an entry to a NULL-terminated list, for its parser; NULL after a fault: the list is full. */
static char **add_entry(struct parser *p, char ***list)
{
	size_t n = 0;

	while (*list && (*list)[n])
		n++;
	if (check_length(p, n) < 0)
		return NULL;
	*list = xrealloc(*list, (n + 2) * sizeof(**list));
	(*list)[n] = NULL;
	(*list)[n + 1] = NULL;
	return &(*list)[n];
}

/* A bare name is in keys/ beside the main configuration, also in a drop-in: /etc/pullet/keys/prod.pub. */
static int parse_key_path(struct parser *p, const char *value, void *field)
{
	_cleanup_free_ char *keys = path_beside(p->main_path, "keys");
	_cleanup_free_ char *in_keys = strchr(value, '/') ? NULL : xasprintf("%s/%s", keys, value);
	char **entry = add_entry(p, field);

	return entry ? parse_path(p, in_keys ? in_keys : value, entry) : -EINVAL;
}

static int parse_public_key(struct parser *p, const char *value, void *field)
{
	struct container_config *k = p->fields;
	size_t n = 0;

	while (k->keys && k->keys[n])
		n++;
	if (n >= SIGNATURE_KEYS_MAX)
		return config_complain(p, "%s: more than %d keys; retire one", p->key->name,
				       SIGNATURE_KEYS_MAX);
	return parse_key_path(p, value, field) < 0 ? -EINVAL : config_check_key(p, p->path_value);
}

static int parse_revoked(struct parser *p, const char *value, void *field)
{
	return parse_key_path(p, value, field) < 0 ? -EINVAL
						   : config_check_revoked(p, p->path_value);
}

/* Only services end by themselves with a status. A template leaves room for its instance. */
static int parse_unit(struct parser *p, const char *value, void *field)
{
	const char *at = strchr(value, '@');
	size_t n = strlen(value);

	if (!has_suffix(value, ".service") || n == strlen(".service") || n > 128 || *value == '@' ||
	    strspn(value, ALPHANUMERIC ":-_.\\@") != n || (at && strchr(at + 1, '@')))
		return complain(p, value,
				"is not the name of a service (app-lock.service, dump@.service)");
	return parse_string(p, value, field);
}

static int parse_units(struct parser *p, const char *value, void *field)
{
	char **entry = add_entry(p, field);

	return entry ? parse_unit(p, value, entry) : -EINVAL;
}

static int parse_count(struct parser *p, const char *value, void *field)
{
	if (strspn(value, DIGITS) != strlen(value) || strlen(value) > 4 ||
	    strtoul(value, NULL, 10) > DEFERRALS_MAX)
		return complain(p, value, "is not a number from 0 to 1000");
	*(unsigned int *)field = (unsigned int)strtoul(value, NULL, 10);
	return 0;
}

static int parse_window(struct parser *p, const char *value, void *field)
{
	struct window_list *list = field;
	struct window w;

	if (calendar_parse_window(value, &w) < 0)
		return complain(p, value, "is not of the form Mon..Fri 02:00-04:00");
	if (check_length(p, list->n) < 0)
		return -EINVAL;
	list->items = xrealloc(list->items, (list->n + 1) * sizeof(w));
	list->items[list->n++] = w;
	return 0;
}

static int parse_after(struct parser *p, const char *value, void *field)
{
	struct container_config *k = p->fields;

	if (check_length(p, k->n_after) < 0)
		return -EINVAL;
	k->after = xrealloc(k->after, (k->n_after + 1) * sizeof(*k->after));
	k->after[k->n_after++] = (struct after){.name = xstrdup(value),
						.origin = xasprintf("%s:%u", p->path, p->line)};
	return 0;
}

#define AGENT(field)	 .offset = offsetof(struct config, field)
#define REGISTRY(field)	 .offset = offsetof(struct registry_config, field)
#define CONTAINER(field) .offset = offsetof(struct container_config, field)

/* pullet.conf(5) has them in the same order; a test compares the two. */
static const struct key keys[] = {
	{SECTION_AGENT, "interval", parse_span, AGENT(interval_ms), .least = INTERVAL_MIN_MS,
	 .words = "15min"},
	{SECTION_AGENT, "jitter", parse_percent, AGENT(jitter_percent), .words = "10%"},
	{SECTION_AGENT, "engine", parse_engine, AGENT(engine), .words = "unix:///run/docker.sock"},
	{SECTION_AGENT, "ring", parse_ring, AGENT(ring)},
	{SECTION_AGENT, "device-id", parse_device_id, AGENT(device_id)},
	{SECTION_AGENT, "notify", parse_units, AGENT(notify), .repeats = true},
	{SECTION_AGENT, "speed", parse_speed, AGENT(speed)},
	{SECTION_AGENT, "budget", parse_budget, .repeats = true},
	{SECTION_AGENT, "download", parse_word, AGENT(download),
	 .words = "spool, engine"}, /* enum download_way */
	{SECTION_AGENT, "deltas", parse_bool, AGENT(deltas), .words = "yes"},

	{SECTION_REGISTRY, "insecure", parse_insecure, REGISTRY(insecure)},
	{SECTION_REGISTRY, "ca", parse_path, REGISTRY(ca)},
	{SECTION_REGISTRY, "credentials", parse_credentials, REGISTRY(credentials)},
	{SECTION_REGISTRY, "token-server", parse_base_url, REGISTRY(token_server)},
	{SECTION_REGISTRY, "mirror", parse_server, REGISTRY(mirror)},

	{SECTION_CONTAINER, "image", parse_image, CONTAINER(image)},
	{SECTION_CONTAINER, "health", parse_word, CONTAINER(health),
	 .words = "auto, healthcheck, running, exit"}, /* enum health_kind */
	{SECTION_CONTAINER, "health-period", parse_span, CONTAINER(health_period_ms), .least = 1,
	 .most = HEALTH_PERIOD_MAX_MS, .words = "30s"},
	{SECTION_CONTAINER, "stop-timeout", parse_stop_timeout, CONTAINER(stop_timeout_s)},
	{SECTION_CONTAINER, "create", parse_path, CONTAINER(create)},
	{SECTION_CONTAINER, "key", parse_public_key, CONTAINER(keys), .repeats = true},
	{SECTION_CONTAINER, "key-threshold", config_parse_threshold, CONTAINER(key_threshold),
	 .words = "1"},
	{SECTION_CONTAINER, "revoked", parse_revoked, CONTAINER(revoked), .repeats = true},
	{SECTION_CONTAINER, "window", parse_window, CONTAINER(windows), .repeats = true},
	{SECTION_CONTAINER, "download-window", parse_window, CONTAINER(download_windows),
	 .repeats = true},
	{SECTION_CONTAINER, "min-age", parse_span, CONTAINER(min_age_ms), .words = "0"},
	{SECTION_CONTAINER, "update", parse_word, CONTAINER(update),
	 .words = "take, tell"}, /* enum update_rule */
	{SECTION_CONTAINER, "rollout", parse_word, CONTAINER(rollout),
	 .words = "auto, required, no"}, /* enum rollout_rule */
	{SECTION_CONTAINER, "copied", parse_word, CONTAINER(copied),
	 .words = "refuse, ignore"}, /* enum copied_rule */
	{SECTION_CONTAINER, "hold", parse_bool, CONTAINER(hold), .words = "no"},
	{SECTION_CONTAINER, "after", parse_after, CONTAINER(after), .repeats = true},
	{SECTION_CONTAINER, "before-unit", parse_unit, CONTAINER(hooks[HOOK_BEFORE].unit)},
	{SECTION_CONTAINER, "before-unit-timeout", parse_span,
	 CONTAINER(hooks[HOOK_BEFORE].timeout_ms), .least = 1, .most = HOOK_TIMEOUT_MAX_MS,
	 .words = "5min"},
	{SECTION_CONTAINER, "before-unit-deferrals", parse_count, CONTAINER(before_deferrals)},
	{SECTION_CONTAINER, "before-unit-then", parse_word, CONTAINER(before_then),
	 .words = "go-on, give-up"}, /* enum hook_then */
	{SECTION_CONTAINER, "health-unit", parse_unit, CONTAINER(hooks[HOOK_HEALTH].unit)},
	{SECTION_CONTAINER, "health-unit-timeout", parse_span,
	 CONTAINER(hooks[HOOK_HEALTH].timeout_ms), .least = 1, .most = HOOK_TIMEOUT_MAX_MS,
	 .words = "30s"},
	{SECTION_CONTAINER, "after-unit", parse_unit, CONTAINER(hooks[HOOK_AFTER].unit)},
	{SECTION_CONTAINER, "after-unit-timeout", parse_span,
	 CONTAINER(hooks[HOOK_AFTER].timeout_ms), .least = 1, .most = HOOK_TIMEOUT_MAX_MS,
	 .words = "5min"},

	{SECTION_REPORT, "url", parse_base_url, AGENT(report.url)},
	{SECTION_REPORT, "ca", parse_path, AGENT(report.ca)},
	{SECTION_REPORT, "credentials", parse_credentials, AGENT(report.credentials)},
	{SECTION_REPORT, "interval", parse_span, AGENT(report.interval_ms),
	 .least = INTERVAL_MIN_MS},
	{SECTION_REPORT, "textfile", parse_textfile, AGENT(report.textfile)},
};

/* Notes a value in force, behind the others of its section. It takes the place of one before, unless each line counts. */
static void note_setting(const struct parser *p, const char *section, const char *name,
			 const char *value, const char *origin)
{
	json_t *setting = json_need(json_pack("{s:s, s:o, s:s, s:o, s:o?}", "section", section,
					      "name", json_string_lossy(name), "key", p->key->name,
					      "value", json_string_lossy(value), "origin",
					      origin ? json_string_lossy(origin) : NULL));
	size_t i, at = json_array_size(p->settings);
	json_t *other;

	json_array_foreach (p->settings, i, other) {
		if (!streq(json_get_string(other, "section"), section) ||
		    !json_equal(json_object_get(other, "name"), json_object_get(setting, "name")))
			continue;
		at = i + 1;
		if (!p->key->repeats && streq(json_get_string(other, "key"), p->key->name)) {
			(void)json_array_remove(p->settings, i);
			at = i;
			break;
		}
	}
	(void)json_array_insert_new(p->settings, at, setting);
}

void config_set_defaults(struct parser *p, const char *section, const char *name, void *fields)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const char *words = keys[i].words;
		_cleanup_free_ char *value = words ? xstrndup(words, strcspn(words, ",")) : NULL;

		p->key = &keys[i];
		if (!value || !streq(p->key->section, section))
			continue;
		(void)p->key->parse(p, value, (char *)fields + p->key->offset);
		if (p->settings)
			note_setting(p, section, name, value, NULL);
	}
}

/* Notes the value of the line that was read. */
static void note_line(const struct parser *p, const char *value)
{
	_cleanup_free_ char *origin = xasprintf("%s:%u", p->path, p->line);
	/* A registry may be written in two ways. */
	const char *name = streq(p->section, SECTION_REGISTRY)
				   ? ((const struct registry_config *)p->fields)->host
				   : p->argument;

	note_setting(p, p->section, name, p->path_value ? p->path_value : value, origin);
}

/* Complains about a key that the open section does not have. */
static int complain_of_key(struct parser *p, const char *name)
{
	struct similar similar = {.given = name};
	_cleanup_free_ char *hint = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		bool other = !streq(keys[i].section, p->section);

		if (!other)
			similar_try(&similar, keys[i].name, strlen(keys[i].name));
		else if (!hint && streq(keys[i].name, name))
			hint = xasprintf("; it is a key of [%s%s]", keys[i].section,
					 config_operand(keys[i].section));
	}
	if (!hint || similar.word_size) {
		free(hint);
		hint = similar_hint(&similar);
	}
	return config_complain(p, "unknown key '%s' in [%s%s%s]%s", name, p->section,
			       *p->argument ? " " : "", p->argument, hint);
}

int config_set_key(struct parser *p, const char *name, const char *value)
{
	int r;

	if (!*value)
		return config_complain(p, "%s: no value", name);
	if (!p->section)
		return config_complain(p, "key '%s' appears before any [section]", name);
	if (!p->fields)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		p->key = &keys[i];
		if (!streq(p->key->section, p->section) || !streq(p->key->name, name))
			continue;
		r = p->key->parse(p, value, (char *)p->fields + p->key->offset);
		if (r == 0 && p->settings)
			note_line(p, value);
		free(steal(p->path_value));
		return r;
	}
	return complain_of_key(p, name);
}
