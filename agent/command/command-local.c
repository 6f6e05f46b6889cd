/* SPDX-License-Identifier: MIT */
/* Commands that work without pulletd. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "command.h"
#include "config.h"
#include "create-body.h"
#include "fetch.h"
#include "log.h"
#include "ref.h"
#include "trusted-file.h"

static void add_fault(void *userdata, const char *text)
{
	json_append(userdata, json_string_lossy(text));
}

static void add_once(json_t *faults, const char *text)
{
	const json_t *fault;
	size_t i;

	json_array_foreach (faults, i, fault) {
		if (streq(json_string_value(fault), text))
			return;
	}
	add_fault(faults, text);
}

/* The host of container i; NULL: its image is a fault already, or a container before it has the same host. */
static char *next_host(const struct config *c, size_t i, bool again)
{
	_cleanup_(ref_free) struct ref ref = {0};
	const char *why;

	if (!c->containers[i].image || ref_parse(c->containers[i].image, &ref, &why) < 0)
		return NULL;
	for (size_t k = 0; k < i && !again; k++) {
		_cleanup_free_ char *before = next_host(c, k, true);

		if (before && streq(before, ref.host))
			return NULL;
	}
	return steal(ref.host);
}

/* Lets pullet-fetch, which asks no registry for it, read the credentials and certificates for each image. */
static void check_registries(const struct command_options *o, const struct config *c,
			     json_t *faults)
{
	const struct fetch_options options = {.config = o->config};

	for (size_t i = 0; i < c->n_containers; i++) {
		_cleanup_free_ char *host = next_host(c, i, false);
		_cleanup_fetch_ struct fetch *fetch = host ? fetch_new(&options, host) : NULL;

		for (size_t k = i; host && k < c->n_containers; k++) {
			_cleanup_free_ char *other = next_host(c, k, true);
			_cleanup_json_ json_t *question = NULL, *ignored = NULL;
			struct error e;

			if (!other || !streq(other, host))
				continue;
			question = json_pack("{s:s, s:s}", "op", "check", "image",
					     c->containers[k].image);
			if (fetch_ask_publish(fetch, question, &ignored, &e) < 0)
				add_once(faults, e.text);
		}
	}
}

#define CREATE_FILE_MAX ((size_t)256 * 1024) /* as pullet-update reads it */

/* errno of an open by that user; 0: the user may read it, or there is no such user here, or we may not try. */
static int try_as(const char *user, const char *path)
{
	const struct passwd *pw = geteuid() == 0 ? getpwnam(user) : NULL;
	int status = 0;
	pid_t pid = pw ? fork() : -1;

	if (pid == 0) {
		if (initgroups(user, pw->pw_gid) < 0 || setgid(pw->pw_gid) < 0 ||
		    setuid(pw->pw_uid) < 0)
			_exit(0);
		_exit(open(path, O_RDONLY | O_CLOEXEC) < 0 ? errno : 0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status))
		return 0;
	return WEXITSTATUS(status);
}

/* What lets the services read a file: a secret of a registry goes to systemd; else its mode, or that of a directory above
 * it, forbids it. Caller frees. */
static char *fix_of_reader(const char *path, const char *host)
{
	struct stat st;

	if (host)
		return xasprintf("pullet login %s", host);
	if (stat(path, &st) == 0 && (st.st_mode & S_IROTH))
		return xasprintf("mv %s /etc/pullet/", path);
	return xasprintf("chmod a+r %s", path);
}

/* One fault a file: whoever cannot read it first. That it is missing is told where it is used. host: whose secret it is,
 * or NULL. */
static void check_readers(json_t *faults, const char *path, const char *host,
			  const char *const *users)
{
	for (; *users && access(path, F_OK) == 0; users++) {
		int code = try_as(*users, path);
		_cleanup_free_ char *text = NULL, *fix = NULL;

		if (!code)
			continue;
		fix = fix_of_reader(path, host);
		text = xasprintf("%s: the user %s cannot read it: %s: run %s", path, *users,
				 strerror(code), fix);
		add_fault(faults, text);
		return;
	}
}

static void check_drop_ins(json_t *faults, const char *config, const char *const *users)
{
	_cleanup_free_ char *pattern = path_beside(config, "conf.d/*.conf");
	glob_t found;

	if (glob(pattern, 0, NULL, &found) != 0)
		return;
	for (size_t i = 0; i < found.gl_pathc; i++)
		check_readers(faults, found.gl_pathv[i], NULL, users);
	globfree(&found);
}

/* The body is parsed as well; it is used when it is too late to mend it. */
static void check_create(json_t *faults, const char *path)
{
	static const char *const readers[] = {"pullet-update", NULL};
	_cleanup_json_ json_t *body = NULL;
	_cleanup_free_ char *data = NULL, *text = NULL;
	struct error e;
	size_t n;
	int r;

	if (!path)
		return;
	r = read_trusted_file(path, CREATE_FILE_MAX, &data, &n, &e);
	if (r == 0)
		r = json_parse(data, n, path, &body, &e);
	if (r == 0 && !json_is_object(body))
		r = error_set(&e, -EBADMSG, "%s: it is no JSON object", path);
	if (r == 0 && create_body_check(body, &e) < 0)
		r = error_prefix(&e, "%s", path);
	/* A user who may not read it knows nothing of who may. */
	if (r == -EACCES && geteuid() != 0)
		return;
	if (r < 0) {
		text = xasprintf("create: %s", e.text);
		add_fault(faults, text);
		return;
	}
	check_readers(faults, path, NULL, readers);
}

static void check_key_readers(json_t *faults, const char *path)
{
	static const char *const readers[] = {"pullet", "pullet-update", "pullet-fetch", NULL};

	check_readers(faults, path, NULL, readers);
}

static bool is_told(const json_t *faults, const char *path)
{
	const json_t *fault;
	size_t i;

	json_array_foreach (faults, i, fault) {
		if (strstr(json_string_value(fault), path))
			return true;
	}
	return false;
}

/* pullet-fetch reads the files of a registry and tells the first that is at fault. This tells the others, and those of
 * a registry that no container uses. */
static void check_registry_file(json_t *faults, const char *key, const char *path, const char *host,
				const char *const *users)
{
	_cleanup_free_ char *text = NULL;

	if (!path || is_told(faults, path))
		return;
	if (access(path, F_OK) == 0) {
		check_readers(faults, path, host, users);
		return;
	}
	/* Only root sees what is a credential of systemd. */
	if (geteuid() != 0)
		return;
	text = xasprintf("%s: %s: %s", key, path, strerror(errno));
	add_fault(faults, text);
}

/* The files that the configuration names, as the services will read them: what fails then fails now. */
static void check_files(const struct config *c, json_t *faults)
{
	static const char *const network[] = {"pullet-fetch", NULL};
	static const char *const both[] = {"pullet-fetch", "pullet-update", NULL};

	for (size_t i = 0; i < c->n_containers; i++) {
		const struct container_config *k = &c->containers[i];

		check_create(faults, k->create);
		/* All programs read them with the configuration. */
		for (char **path = k->keys; path && *path; path++)
			check_key_readers(faults, *path);
		for (char **path = k->revoked; path && *path; path++)
			check_key_readers(faults, *path);
	}
	for (size_t i = 0; i < c->n_registries; i++) {
		check_registry_file(faults, "credentials", c->registries[i].credentials,
				    c->registries[i].host, both);
		check_registry_file(faults, "ca", c->registries[i].ca, NULL, network);
	}
	check_registry_file(faults, "credentials", c->report.credentials, NULL, network);
	check_registry_file(faults, "ca", c->report.ca, NULL, network);
}

/* Root and the users of the services may read a file that the sandbox of the units hides. */
static void check_sandbox(const struct command_options *o, json_t *faults)
{
	static const char hidden[][12] = {"/home/", "/root/", "/run/user/", "/tmp/", "/var/tmp/"};
	_cleanup_json_ json_t *settings = NULL;
	const json_t *setting;
	struct error ignored;
	size_t i;

	if (!streq(o->config, CONFIG_PATH_DEFAULT) ||
	    config_settings(o->config, &settings, &ignored) < 0)
		return;
	json_array_foreach (settings, i, setting) {
		const char *key = json_get_string(setting, "key");
		const char *value = json_get_string(setting, "value");
		_cleanup_free_ char *text = xasprintf(
			"%s: %s: the services see no files of users and no temporary ones: run mv "
			"%s /etc/pullet/",
			key, value, value);

		for (size_t k = 0; k < ARRAY_SIZE(hidden); k++) {
			if (after_prefix(value, hidden[k]))
				add_fault(faults, text);
		}
	}
}

struct config *command_find_faults(const struct command_options *o, bool asks, json_t *faults,
				   bool *ret_usable)
{
	static const char *const readers[] = {"pullet", "pullet-update", "pullet-fetch", NULL};
	struct config *c = config_read(o->config, add_fault, faults);
	bool valid = json_array_size(faults) == 0;

	check_readers(faults, o->config, NULL, readers);
	check_drop_ins(faults, o->config, readers);
	*ret_usable = json_array_size(faults) == 0;
	/* Only root may read what the service may, and pullet-fetch reads the configuration, too. */
	if (asks && valid && geteuid() == 0)
		check_registries(o, c, faults);
	check_files(c, faults);
	check_sandbox(o, faults);
	return c;
}

int command_config_check(const struct command_options *o, const char *const *operands)
{
	_cleanup_json_ json_t *faults = json_need(json_array()), *names = json_need(json_array());
	bool ignored;
	_cleanup_config_ struct config *c = command_find_faults(o, true, faults, &ignored);
	size_t n = json_array_size(faults), i;
	const json_t *fault;

	for (i = 0; i < c->n_containers; i++)
		json_append(names, json_string(c->containers[i].name));
	if (o->json) {
		command_print_json(json_pack("{s:s, s:O, s:O}", "config", o->config, "containers",
					     names, "faults", faults));
	} else if (n > 0) {
		json_array_foreach (faults, i, fault)
			puts(json_string_value(fault));
		printf("%zu error%s\n", n, n == 1 ? "" : "s");
	} else {
		printf("%s: no errors; %zu container%s, %zu registr%s\n", o->config,
		       c->n_containers, c->n_containers == 1 ? "" : "s", c->n_registries,
		       c->n_registries == 1 ? "y" : "ies");
	}
	return n ? 2 : 0;
}

/* A setting in the form of the configuration, with its origin as a comment before it. */
static void print_setting(const json_t *setting, bool opens_section, bool is_first)
{
	const char *origin = json_get_string(setting, "origin");
	const char *name = json_get_string(setting, "name");

	if (opens_section)
		printf("%s[%s%s%s]\n", is_first ? "" : "\n", json_get_string(setting, "section"),
		       *name ? " " : "", name);
	printf("# %s\n%s = %s\n", origin ? origin : "default", json_get_string(setting, "key"),
	       json_get_string(setting, "value"));
}

int command_config_show(const struct command_options *o, const char *const *operands)
{
	_cleanup_json_ json_t *settings = NULL, *shown = json_need(json_array());
	const json_t *before = NULL;
	json_t *setting;
	struct error e;
	size_t i;

	if (config_settings(o->config, &settings, &e) < 0) {
		log_error("%s; for all errors: pullet config check", e.text);
		return 2;
	}
	json_array_foreach (settings, i, setting) {
		if (!operands[0] || (streq(json_get_string(setting, "section"), "container") &&
				     streq(json_get_string(setting, "name"), operands[0])))
			json_append(shown, json_incref(setting));
	}
	if (operands[0] && json_array_size(shown) == 0) {
		log_error("the configuration has no [container %s]", operands[0]);
		return 2;
	}
	if (o->json) {
		command_print_json(steal(shown));
		return 0;
	}
	json_array_foreach (shown, i, setting) {
		bool same = before &&
			    json_equal(json_object_get(before, "section"),
				       json_object_get(setting, "section")) &&
			    json_equal(json_object_get(before, "name"),
				       json_object_get(setting, "name"));

		print_setting(setting, !same, !before);
		before = setting;
	}
	return 0;
}
