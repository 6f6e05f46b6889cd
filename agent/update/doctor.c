/* SPDX-License-Identifier: MIT */
#include "doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/statvfs.h>

#include "budget.h"
#include "clock.h"
#include "engine.h"
#include "record.h"
#include "ref.h"
#include "survey.h"
#include "world.h"

#define CERTIFICATES	  "/etc/docker/certs.d"
#define SYSTEM_BUNDLE	  "/etc/ssl/certs/ca-certificates.crt"
#define BUNDLE_MAX	  ((size_t)4 * 1024 * 1024)
#define ENGINE_FREE_LEAST ((uint64_t)100 * 1000 * 1000)
#define RECORD_FREE_LEAST ((uint64_t)1000 * 1000)
#define BUDGET_FILE	  "spool/budget.json"
#define BUDGET_FILE_MAX	  ((size_t)4096)

struct doctor {
	const struct task *task;
	struct engine *engine;
	json_t *info;
};

/* Takes fix over, which is as in an event. */
static void format_printf(4, 5)
	tell(const struct doctor *d, const char *subject, char *fix, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL, *command = fix;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		abort();
	va_end(ap);
	d->task->on_event(json_need(json_pack("{s:s, s:s, s:o, s:o?}", "event", "finding",
					      "subject", subject, "text", json_string_lossy(text),
					      "fix", fix ? json_string_lossy(fix) : NULL)));
}

static void announce(const struct doctor *d, const char *subject)
{
	d->task->on_event(
		json_need(json_pack("{s:s, s:s}", "event", "asking", "subject", subject)));
}

/* The command that opens the line of a container's section in an editor. Caller frees. */
static char *edit(const struct container_config *c)
{
	const char *colon = strrchr(c->origin, ':');

	return xasprintf("editor +%s %.*s", colon + 1, (int)(colon - c->origin), c->origin);
}

/* --- the engine and its containers --- */

static char *fix_of_engine(const struct doctor *d)
{
	const char *socket = d->task->config->engine;

	if (access(socket, R_OK | W_OK) < 0 && errno == EACCES)
		return xstrdup("usermod --append --groups docker pullet-update");
	return xasprintf("systemctl start %s",
			 strstr(socket, "podman") ? "podman.socket" : "docker");
}

static bool open_engine(struct doctor *d)
{
	const struct version *v;
	struct error e;
	int r;

	announce(d, "engine");
	r = engine_open(d->task->config->engine, d->task->cancel, &d->engine, &e);
	if (r == 0)
		r = engine_info(d->engine, &d->info, &e);
	if (r < 0) {
		/* What is wrong with its version names the remedy. */
		tell(d, "engine", r == -EPROTO ? xstrdup("") : fix_of_engine(d), "%s", e.text);
		return false;
	}
	v = engine_version(d->engine);
	tell(d, "engine", NULL, "%s %s, API 1.%d, store %s", v->podman ? "podman" : "docker",
	     v->release, v->api_minor, json_get_string(d->info, "Driver") ?: "unknown");
	return true;
}

static void tell_missing(const struct doctor *d, const struct container_config *c,
			 const char *subject)
{
	char name[128];

	if (c->create) {
		tell(d, subject, NULL, "does not exist; %s makes it", c->create);
		return;
	}
	survey_find_service(d->engine, c->name, name, sizeof(name));
	tell(d, subject, edit(c), "there is no container '%s' in the engine%s%s%s%s", c->name,
	     name[0] ? "; there is " : ", and no create = to make one", name,
	     name[0] ? ", whose compose service is " : "", name[0] ? c->name : "");
}

static void check_container(const struct doctor *d, const struct container_config *c)
{
	_cleanup_free_ struct container_view *view = xcalloc(1, sizeof(*view));
	_cleanup_free_ char *subject = xasprintf("container %s", c->name);
	_cleanup_json_ json_t *inspect = NULL;
	const char *why, *status;
	struct error e;
	int r = engine_inspect_container(d->engine, c->name, &inspect, &e);

	if (r == -ENOENT) {
		tell_missing(d, c, subject);
		return;
	}
	if (r == 0)
		r = world_read_container(inspect, view, &e);
	if (r < 0) {
		tell(d, subject, xstrdup(""), "%s", e.text);
		return;
	}
	why = view_left_alone(view);
	status = json_get_string(json_object_get(inspect, "State"), "Status");
	tell(d, subject,
	     why ? xasprintf("docker %s %s", view->state == STATE_PAUSED ? "unpause" : "start",
			     c->name)
		 : NULL,
	     "%s",
	     why      ? why
	     : status ? status
		      : "exists");
}

static void check_record(const struct doctor *d, const struct container_config *c)
{
	_cleanup_free_ struct record *record = xmalloc(sizeof(*record));
	struct error e;
	int r = record_read(d->task->state_dir, c->name, record, &e);

	if (r == 0 || r == -ENOENT)
		return;
	/* The next pass sets a damaged one aside. */
	tell(d, "records",
	     r == -EBADMSG
		     ? xasprintf("pullet check %s", c->name)
		     : xasprintf("chown pullet-update:pullet " CONFIG_STATE_DIR_DEFAULT "/%s.json",
				 c->name),
	     "%s: %s", c->name, e.text);
}

/* --- registries --- */

/* Whether the system trusts the authority in the PEM file, as dockerd does then, too. */
static bool system_trusts(const char *ca)
{
	_cleanup_free_ char *pem = NULL, *bundle = NULL;
	char *line;

	if (read_file_at(AT_FDCWD, ca, BUNDLE_MAX, &pem, NULL) < 0 ||
	    read_file_at(AT_FDCWD, SYSTEM_BUNDLE, BUNDLE_MAX, &bundle, NULL) < 0)
		return false;
	/* The last line of the certificate is of its signature. */
	line = strstr(pem, "\n-----END");
	if (!line)
		return false;
	*line = '\0';
	line = strrchr(pem, '\n');
	return line && strstr(bundle, line);
}

/* Addresses may be allowed by network, which is dockerd's to compare: two networks are loopback. */
static bool engine_takes_plain(const struct doctor *d, const char *host)
{
	const json_t *config = json_object_get(d->info, "RegistryConfig");
	const json_t *index = json_get_path(config, "IndexConfigs", host, NULL);

	return ref_host_is_loopback(host) || json_is_false(json_object_get(index, "Secure")) ||
	       json_array_size(json_object_get(config, "InsecureRegistryCIDRs")) > 2;
}

/* The engine pulls itself, and knows nothing of Pullet's configuration. */
static void check_engine_trust(const struct doctor *d, const char *host)
{
	const struct registry_config *r = config_registry(d->task->config, host);
	_cleanup_free_ char *known = xasprintf(CERTIFICATES "/%s/ca.crt", host);

	if (!d->info || !r || engine_version(d->engine)->podman)
		return;
	if (r->ca && access(known, F_OK) < 0 && !system_trusts(r->ca))
		tell(d, host, xasprintf("install -D -m 644 %s %s", r->ca, known),
		     "the engine does not know the authority %s and cannot pull", r->ca);
	if (r->insecure && !engine_takes_plain(d, host))
		tell(d, host, xstrdup("editor /etc/docker/daemon.json && systemctl reload docker"),
		     "the engine refuses plain HTTP: add \"insecure-registries\": [\"%s\"] to "
		     "/etc/docker/daemon.json",
		     host);
}

static char *fix_of_registry(const char *host, const struct container_config *c,
			     const struct error *e)
{
	/* Of a file, not of the registry. */
	if (e->text[0] == '/')
		return xstrdup("pullet config check");
	if (e->code == -EACCES)
		return xasprintf("pullet login %s", host);
	if (e->code == -ENOENT)
		return edit(c);
	return strstr(e->text, "certificate")
		       ? xasprintf("install -D -m 644 CA.pem " CERTIFICATES "/%s/ca.crt", host)
		       : xasprintf("curl -v https://%s/v2/", host);
}

/* of: the containers of that host, n of them. */
static void ask_registry(const struct doctor *d, const char *host,
			 const struct container_config *const *of, size_t n)
{
	_cleanup_free_ struct fetch_resolved *resolved = xcalloc(n, sizeof(*resolved));
	_cleanup_fetch_ struct fetch *f = fetch_new(&d->task->fetch, host);
	_cleanup_free_ const char **images = xcalloc(n, sizeof(*images));
	bool all = true, named;
	struct error e;
	int failed = 0;

	announce(d, host);
	for (size_t i = 0; i < n; i++)
		images[i] = of[i]->image;
	if (fetch_resolve(f, images, n, resolved, &e) < 0) {
		tell(d, host, xstrdup("systemctl start pullet-fetch.socket"), "%s", e.text);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		const struct error *fault = &resolved[i].error;

		all &= fault->code == 0;
		/* A registry that does not answer fails for all images alike. */
		if (fault->code == 0 || fault->code == failed)
			continue;
		failed = fault->code == -ENOENT || fault->code == -EACCES ? 0 : fault->code;
		named = after_prefix(fault->text, images[i]);
		tell(d, host, fix_of_registry(host, of[i], fault), "%s%s%s", named ? "" : images[i],
		     named ? "" : ": ", fault->text);
	}
	if (all)
		tell(d, host, NULL, "answers for %zu image%s", n, n == 1 ? "" : "s");
	check_engine_trust(d, host);
}

/* Asks the registry of container i for all its images, unless it is that of a container before. */
static void check_registry(const struct doctor *d, const struct config *config, size_t i)
{
	_cleanup_free_ const struct container_config **of =
		xcalloc(config->n_containers, sizeof(*of));
	_cleanup_(ref_free) struct ref ref = {0};
	const char *ignored;
	size_t n = 0;

	if (ref_parse(config->containers[i].image, &ref, &ignored) < 0)
		return;
	for (size_t k = 0; k < config->n_containers; k++) {
		_cleanup_(ref_free) struct ref other = {0};

		if (ref_parse(config->containers[k].image, &other, &ignored) < 0 ||
		    !streq(other.host, ref.host))
			continue;
		if (k < i)
			return;
		of[n++] = &config->containers[k];
	}
	ask_registry(d, ref.host, of, n);
}

/* --- the machine --- */

static void check_room(const struct doctor *d, const char *directory, uint64_t least)
{
	struct statvfs s;
	uint64_t available;

	/* An engine's disk may be hidden from the service. */
	if (!directory || statvfs(directory, &s) < 0)
		return;
	available = (uint64_t)s.f_bavail * s.f_frsize;
	tell(d, "disk space",
	     available < least ? xasprintf("du -xh --max-depth=2 %s | sort -h", directory) : NULL,
	     "%s has %" PRIu64 " MB free", directory, available / 1000000);
}

static void tell_budget(const struct doctor *d, const char *period, uint64_t used, uint64_t of)
{
	_cleanup_free_ char *bytes = text_bytes(used), *all = text_bytes(of);

	if (of)
		tell(d, "budget", NULL, "%s of %s are used in this %s", bytes, all, period);
}

static void check_budget(const struct doctor *d)
{
	const struct config *c = d->task->config;
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ json_t *j = NULL;
	struct budget b = {0};
	struct error e;
	size_t n;

	/* The next download sets a damaged one aside. */
	if (d->task->state_dir >= 0 &&
	    read_file_at(d->task->state_dir, BUDGET_FILE, BUDGET_FILE_MAX, &text, &n) == 0 &&
	    (json_parse(text, n, BUDGET_FILE, &j, &e) < 0 || budget_from_json(j, &b, &e) < 0))
		b = budget_lost();
	(void)budget_add(&b, &(struct traffic){0}, clock_now());
	tell_budget(d, "day", b.day_bytes, c->budget_day);
	tell_budget(d, "month", b.month_bytes, c->budget_month);
}

static void check_clock(const struct doctor *d)
{
	bool set = clock_now() > 0;

	tell(d, "clock", set ? NULL : xstrdup("timedatectl set-ntp true"), "%s",
	     set ? "set" : "not set: no time server has answered");
}

void doctor_run(const struct task *task)
{
	struct doctor d = {.task = task};
	const struct config *config = task->config;
	bool has_engine = open_engine(&d);

	for (size_t i = 0; i < config->n_containers && !*task->cancel; i++) {
		if (has_engine)
			check_container(&d, &config->containers[i]);
		if (task->state_dir >= 0)
			check_record(&d, &config->containers[i]);
		check_registry(&d, config, i);
	}
	check_clock(&d);
	if (has_engine)
		check_room(&d, store_directory(d.info), ENGINE_FREE_LEAST);
	check_room(&d, CONFIG_STATE_DIR_DEFAULT, RECORD_FREE_LEAST);
	check_budget(&d);
	task->on_event(json_need(json_pack("{s:s}", "event", "done")));
	json_decref(d.info);
	engine_close(d.engine);
}
