/* SPDX-License-Identifier: MIT */
/* Says what is wrong with this machine's Pullet, and how to mend it: units and files are looked at here, all else by
 * pullet-update in its own sandbox (doctor.h). */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "client.h"
#include "command.h"
#include "config.h"
#include "fetch.h"
#include "program.h"
#include "terminal.h"
#include "unit-start.h"

#define UPDATE_SOCKET "/run/pullet/update.sock"
#define UNIT_SOCKET   "pullet-unit.socket"
#define ANSWER_MS     ((uint64_t)200 * 1000) /* of one question; pullet-fetch has 180 s */

struct doctor {
	const struct command_options *o;
	json_t *findings;
	struct terminal out;
	bool live; /* standard error shows who is being asked */
	bool bad;
};

/* fix: NULL if all is well, else the command that mends it, "" if there is none. */
static void tell(struct doctor *d, const char *subject, const char *text, const char *fix)
{
	enum tint tint = fix ? TINT_BAD : TINT_NONE;

	d->bad |= fix != NULL;
	if (d->live)
		fputs("\r\033[K", stderr);
	if (d->o->json) {
		json_append(d->findings,
			    json_pack("{s:s, s:b, s:s, s:s?}", "subject", subject, "ok", !fix,
				      "text", text, "command", fix && *fix ? fix : NULL));
		return;
	}
	printf("%s%-5s%s  %-24s  %s\n", terminal_tint(d->out.colours, tint), fix ? "fault" : "ok",
	       terminal_plain(d->out.colours, tint), subject, text);
	if (fix && *fix)
		printf("       run: %s\n", fix);
	(void)fflush(stdout);
}

/* Opens the line of "FILE:LINE" or "FILE:LINE: ..." in an editor; "": text does not begin like that. Caller frees. */
static char *fix_at(const char *text)
{
	const char *colon = strchr(text, ':');
	size_t digits = colon ? strspn(colon + 1, DIGITS) : 0;

	return digits ? xasprintf("editor +%.*s %.*s", (int)digits, colon + 1, (int)(colon - text),
				  text)
		      : xstrdup("");
}

/* The setting that names the file of which text tells, or NULL. Borrowed. */
static const json_t *find_setting(const json_t *settings, const char *text)
{
	const json_t *setting;
	size_t i;

	json_array_foreach (settings, i, setting) {
		const char *rest = after_prefix(text, json_get_string(setting, "key"));

		if (rest && *rest == ':' && strstr(rest, json_get_string(setting, "value")))
			return setting;
	}
	return NULL;
}

/* A fault ends with the command that mends it, or begins with its line, or with the key that names a faulty file. */
static void tell_fault(struct doctor *d, const json_t *settings, const char *text)
{
	const char *run = strstr(text, ": run ");
	const json_t *setting = run ? NULL : find_setting(settings, text);
	_cleanup_free_ char *what = run ? xstrndup(text, (size_t)(run - text)) : xstrdup(text);
	_cleanup_free_ char *fix = NULL;

	if (run)
		fix = xstrdup(run + strlen(": run "));
	else if (setting && access(json_get_string(setting, "value"), F_OK) == 0)
		fix = xasprintf("editor %s", json_get_string(setting, "value"));
	else if (setting && streq(json_get_string(setting, "key"), "credentials"))
		fix = xasprintf("pullet login %s", json_get_string(setting, "name"));
	else
		fix = fix_at(setting ? json_get_string(setting, "origin") : text);
	tell(d, "configuration", what, fix);
}

/* The unit of a setting; a template has no state without an instance: the container's name, or an event. Caller frees. */
static char *unit_of(const json_t *setting)
{
	const char *name = json_get_string(setting, "name");

	return unit_instance(json_get_string(setting, "value"), name && *name ? name : "0");
}

/* wanted: it must be active, else only exist. False: systemd does not answer. */
static bool check_unit(struct doctor *d, struct client *c, const char *unit, bool wanted)
{
	_cleanup_free_ char *load = NULL, *active = NULL, *fix = NULL;
	bool loaded;

	if (client_unit_state(c, unit, &load, &active) < 0)
		return false;
	loaded = streq(load, "loaded");
	if (!loaded || (wanted && !streq(active, "active")))
		fix = xasprintf("systemctl %s %s", loaded ? "start" : "cat", unit);
	tell(d, unit, loaded ? active : load, fix);
	return true;
}

/* Starts the programs of notify.d and the units of the configuration. Without those it is not shown while it is active. */
static void check_starter(struct doctor *d, struct client *c, bool used)
{
	_cleanup_free_ char *load = NULL, *active = NULL;

	if (client_unit_state(c, UNIT_SOCKET, &load, &active) == 0 &&
	    (used || !streq(active, "active")))
		(void)check_unit(d, c, UNIT_SOCKET, true);
}

/* Returns whether pulletd runs, and why it suspends updates, which the caller frees. */
static bool check_units(struct doctor *d, const json_t *settings, char **ret_error)
{
	static const char *const units[] = {"pullet-update.socket", "pullet-fetch.socket",
					    "pulletd.service"};
	struct client c;
	const json_t *setting;
	struct error e;
	bool up, used = false;
	size_t i;

	if (client_open(&c, &e) < 0) {
		tell(d, "D-Bus", e.text, "systemctl start dbus");
		return false;
	}
	up = c.up;
	*ret_error = steal(c.config_error);
	for (i = 0; i < ARRAY_SIZE(units) && check_unit(d, &c, units[i], true); i++)
		;
	if (!up && i < ARRAY_SIZE(units))
		tell(d, "pulletd", "is not running", "systemctl start pulletd");
	json_array_foreach (settings, i, setting) {
		const char *key = json_get_string(setting, "key");
		_cleanup_free_ char *unit = NULL;

		if (!has_suffix(key, "-unit") && !streq(key, "notify"))
			continue;
		used = true;
		unit = unit_of(setting);
		(void)check_unit(d, &c, unit, false);
	}
	check_starter(d, &c, used);
	client_close(&c);
	return up;
}

/* Whether the services can use the configuration, and the rest can be asked. */
static bool check_configuration(struct doctor *d, const json_t *settings,
				const char *told_by_pulletd)
{
	_cleanup_json_ json_t *faults = json_need(json_array());
	bool usable;
	_cleanup_config_ struct config *c = command_find_faults(d->o, false, faults, &usable);
	_cleanup_free_ char *text = NULL;
	const json_t *fault;
	size_t i;

	json_array_foreach (faults, i, fault)
		tell_fault(d, settings, json_string_value(fault));
	if (i == 0 && told_by_pulletd)
		tell(d, "configuration", told_by_pulletd, "systemctl reload pulletd");
	text = xasprintf("%s: %zu container%s", d->o->config, c->n_containers,
			 c->n_containers == 1 ? "" : "s");
	if (i == 0)
		tell(d, "configuration", text, c->n_containers ? NULL : "pullet adopt --write");
	return usable;
}

/* --- what pullet-update sees --- */

/* The unit of the service, or for another configuration a child. Returns its socket. */
static int start(const struct doctor *d, pid_t *ret_pid, struct error *ret_error)
{
	const char *argv[16] = {"pullet-update", "--config",	  d->o->config,
				"--state-dir",	 d->o->state_dir, d->o->engine ? "--engine" : NULL,
				d->o->engine};

	if (streq(d->o->config, CONFIG_PATH_DEFAULT) && access(UPDATE_SOCKET, F_OK) == 0)
		return fetch_connect(&(struct fetch_options){.socket = UPDATE_SOCKET}, ret_pid,
				     ret_error);
	return program_spawn(argv, STDIN_FILENO, ret_pid, ret_error);
}

/* 0: go on; 1: that was the last one. */
static int take_event(struct doctor *d, const json_t *j)
{
	const char *event = json_get_string(j, "event"), *said = json_get_string(j, "text");
	const char *subject = json_get_string(j, "subject");
	_cleanup_free_ char *text = said ? text_printable(xstrdup(said)) : NULL;

	if (!event || !subject)
		return event && streq(event, "done");
	if (streq(event, "asking") && d->live)
		fprintf(stderr, "\r\033[Kasking %s ...", subject);
	else if (streq(event, "finding") && text)
		tell(d, subject, text, json_get_string(j, "fix"));
	return 0;
}

static int ask(struct doctor *d, int fd, struct error *ret_error)
{
	_cleanup_json_ json_t *job =
		json_need(json_pack("{s:s, s:[]}", "operation", "doctor", "containers"));
	struct protocol_reader reader = {.fd = fd};
	int r = protocol_write(fd, job);

	if (r < 0)
		(void)error_set(ret_error, r, "cannot send the request: %s", strerror(-r));
	while (r == 0) {
		_cleanup_json_ json_t *event = NULL;

		r = protocol_read(&reader, now_ms() + ANSWER_MS, &event, ret_error);
		if (r == 0)
			r = take_event(d, event);
	}
	protocol_reader_free(&reader);
	return r < 0 ? r : 0;
}

static void ask_service(struct doctor *d)
{
	_cleanup_close_ int fd = -1;
	struct error e;
	pid_t pid = 0;
	int r;

	(void)signal(SIGPIPE, SIG_IGN);
	fd = start(d, &pid, &e);
	r = fd < 0 ? fd : ask(d, fd, &e);
	if (r == -EACCES)
		tell(d, "services", "only root may ask them", "sudo pullet doctor");
	else if (r < 0)
		tell(d, "pullet-update", e.text, "journalctl -b -e -u 'pullet-update@*'");
	cleanup_close_p(&fd);
	fd = -1;
	if (pid > 0)
		(void)waitpid(pid, NULL, 0);
}

int command_doctor(const struct command_options *o, const char *const *operands)
{
	_cleanup_json_ json_t *findings = json_need(json_array()), *settings = NULL;
	struct doctor d = {.o = o,
			   .findings = findings,
			   .out = terminal_of(STDOUT_FILENO),
			   .live = terminal_of(STDERR_FILENO).live};
	_cleanup_free_ char *told_by_pulletd = NULL;
	struct error ignored;
	bool up;

	/* NULL if the configuration has a fault, which is told below. */
	(void)!config_settings(o->config, &settings, &ignored);
	up = check_units(&d, settings, &told_by_pulletd);
	if (check_configuration(&d, settings, up ? told_by_pulletd : NULL))
		ask_service(&d);
	if (d.live)
		fputs("\r\033[K", stderr);
	if (o->json)
		command_print_json(json_incref(findings));
	return d.bad ? 1 : 0;
}
