/* SPDX-License-Identifier: MIT */
#include "podman.h"

#include <signal.h>
#include <string.h>

#include "json.h"
#include "util.h"

/* podman(1), --restart: on-failure counts up to MaximumRetryCount, 0 is without end. */
static bool would_restart(const json_t *container)
{
	const json_t *policy = json_get_path(container, "HostConfig", "RestartPolicy", NULL);
	const char *name = json_get_string(policy, "Name");
	json_int_t most = json_integer_value(json_object_get(policy, "MaximumRetryCount"));

	if (streq_null(name, "always") || streq_null(name, "unless-stopped"))
		return true;
	return streq_null(name, "on-failure") &&
	       json_integer_value(json_get_path(container, "State", "ExitCode", NULL)) != 0 &&
	       (most == 0 || json_integer_value(json_object_get(container, "RestartCount")) < most);
}

bool podman_needs_own_answer(const json_t *container)
{
	const char *status = json_get_string(json_object_get(container, "State"), "Status");

	return (streq_null(status, "exited") || streq_null(status, "stopped")) &&
	       would_restart(container);
}

void podman_mend_state(json_t *container, const json_t *own)
{
	if (!json_is_true(json_get_path(own, "State", "StoppedByUser", NULL)))
		(void)json_object_set_new(json_object_get(container, "State"), "Restarting",
					  json_true());
}

void podman_mend_image(json_t *image, const json_t *own)
{
	/* Without one nothing is set. */
	(void)json_object_set(json_object_get(image, "Config"), "Healthcheck",
			      json_object_get(own, "Healthcheck"));
}

/* podman takes HOME from the image's user database, which cannot be read here, or else the working directory. */
static bool is_default(const char *variable, const json_t *config)
{
	const char *home = after_prefix(variable, "HOME=");

	if (home)
		return !home[0] || streq(home, "/") || streq(home, "/root") ||
		       streq_null(json_get_string(config, "WorkingDir"), home);
	return streq(variable, "container=podman") || streq(variable, "container=oci") ||
	       after_prefix(variable, "PATH=/usr/local/sbin:/usr/local/bin:") ||
	       (streq(variable, "TERM=xterm") && json_is_true(json_object_get(config, "Tty")));
}

static bool is_filled_in(const char *variable, const json_t *config, const json_t *image_env)
{
	const char *host_name = after_prefix(variable, "HOSTNAME=");
	size_t name_and_equals = strcspn(variable, "=") + 1, i;
	const json_t *v;

	if (host_name)
		return streq_null(json_get_string(config, "Hostname"), host_name);
	json_array_foreach (image_env, i, v)
		if (json_is_string(v) &&
		    strncmp(json_string_value(v), variable, name_and_equals) == 0)
			return false;
	return is_default(variable, config);
}

/* podman has no order; Docker has the image's variables last, in the image's order. */
static void put_last(json_t *env, const json_t *image_env)
{
	json_t *variable;
	size_t k;

	json_array_foreach (image_env, k, variable)
		for (size_t i = json_array_size(env); i-- > 0;)
			if (json_equal(json_array_get(env, i), variable)) {
				json_array_remove(env, i);
				json_array_append(env, variable);
				break;
			}
}

static void mend_environment(json_t *config, const json_t *image_config)
{
	json_t *env = json_object_get(config, "Env");
	const json_t *image_env = json_object_get(image_config, "Env");

	for (size_t i = json_array_size(env); i-- > 0;) {
		const char *variable = json_string_value(json_array_get(env, i));

		if (variable && is_filled_in(variable, config, image_env))
			json_array_remove(env, i);
	}
	put_last(env, image_env);
}

/* "SIGTERM", "TERM" or "15" to 15; -1: none of them. */
static int signal_number(const char *text)
{
	const char *name = after_prefix(text, "SIG");
	char *end;
	long n = strtol(text, &end, 10);

	if (end != text && *end == '\0')
		return n > 0 && n < NSIG ? (int)n : -1;
	for (int i = 1; i < NSIG; i++)
		if (streq_null(sigabbrev_np(i), name ? name : text))
			return i;
	return -1;
}

/* podman gives its number, even of the default. */
static void mend_stop_signal(json_t *config, const json_t *image_config)
{
	const char *seen = json_get_string(config, "StopSignal");
	const char *image = json_get_string(image_config, "StopSignal");

	if (seen && signal_number(seen) == (image && image[0] ? signal_number(image) : SIGTERM))
		(void)json_object_del(config, "StopSignal");
}

/* podman's own name of a setting, and what it is unless it was chosen. 0000: what comes through Docker's API has 0022,
 * and is shown as this. */
static const struct {
	const char *in, *key, *option, *defaults[2];
} own_settings[] = {
	{"Config", "Secrets", "--secret", {0}},
	{"Config", "Umask", "--umask", {"0022", "0000"}},
	{"Config", "Timeout", "--timeout", {0}},
	{"Config", "Timezone", "--tz", {0}},
	{"Config", "HealthcheckOnFailureAction", "--health-on-failure", {"none"}},
	{"Config", "StartupHealthCheck", "--health-startup-cmd", {0}},
	{"Config", "ChrootDirs", "--chrootdirs", {0}},
	{"HostConfig", "CgroupConf", "--cgroup-conf", {0}},
	{"HostConfig", "IDMappings", "--uidmap", {0}},
	{NULL, "Pod", "--pod", {0}},
	{NULL, "Rootfs", "--rootfs", {0}},
};

static bool is_chosen(const json_t *v, const char *const defaults[2])
{
	const char *text = json_string_value(v);

	if (text)
		return text[0] && !streq_null(defaults[0], text) && !streq_null(defaults[1], text);
	return json_is_true(v) || json_integer_value(v) != 0 || json_array_size(v) > 0 ||
	       json_object_size(v) > 0;
}

/* Options that podman shows nowhere but in the command that made the container. Behind the image come the program's. */
static const char *find_in_command(const json_t *own)
{
	static const char options[][16] = {"--sysctl",	    "--log-opt",     "--requires",
					   "--unsetenv",    "--hostuser",    "--passwd-entry",
					   "--group-entry", "--personality", "--rdt-class",
					   "--sdnotify",    "--no-hostname", "--secret"};
	const char *image = json_get_string(own, "ImageName");
	const json_t *v;
	size_t i;

	json_array_foreach (json_get_path(own, "Config", "CreateCommand", NULL), i, v) {
		const char *arg = json_string_value(v);
		size_t n = arg ? strcspn(arg, "=") : 0;
		const char *end = arg && image ? strstr(image, arg) : NULL;

		if (end && (end == image || end[-1] == '/') &&
		    (streq(end, arg) || streq(end + n, ":latest")))
			return NULL;
		for (size_t k = 0; arg && k < ARRAY_SIZE(options); k++) {
			if (n == strlen(options[k]) && strncmp(arg, options[k], n) == 0)
				return options[k];
		}
	}
	return NULL;
}

const char *podman_find_own_option(const json_t *own)
{
	static const char *const none[2] = {0};
	const json_t *log = json_get_path(own, "HostConfig", "LogConfig", NULL), *v;
	static const char *const no_size[2] = {"0B"};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(own_settings); i++) {
		const json_t *of =
			own_settings[i].in ? json_object_get(own, own_settings[i].in) : own;

		if (is_chosen(json_object_get(of, own_settings[i].key), own_settings[i].defaults))
			return own_settings[i].option;
	}
	if (is_chosen(json_object_get(log, "Size"), no_size) ||
	    is_chosen(json_object_get(log, "Tag"), none))
		return "--log-opt";
	json_array_foreach (json_object_get(own, "Mounts"), i, v)
		if (streq_null(json_get_string(v, "Type"), "image"))
			return "--mount type=image";
	return find_in_command(own);
}

static void drop_value(json_t *object, const char *key, const char *value)
{
	if (streq_null(json_get_string(object, key), value))
		(void)json_object_del(object, key);
}

static void mend_annotations(json_t *host)
{
	static const char *const own[] = {"io.container.manager", "io.podman.annotations.",
					  "org.opencontainers.image.stopSignal",
					  "org.systemd.property."};
	json_t *annotations = json_object_get(host, "Annotations"), *value;
	const char *key;
	void *next;

	json_object_foreach_safe (annotations, next, key, value)
		for (size_t i = 0; i < ARRAY_SIZE(own); i++)
			if (after_prefix(key, own[i])) {
				(void)json_object_del(annotations, key);
				break;
			}
}

/* podman adds the host name to the aliases on each network. */
static void mend_aliases(json_t *container, const char *host_name)
{
	json_t *networks = json_get_path(container, "NetworkSettings", "Networks", NULL), *endpoint;
	const char *network;

	json_object_foreach (networks, network, endpoint) {
		json_t *aliases = json_object_get(endpoint, "Aliases");

		for (size_t i = json_array_size(aliases); host_name && i-- > 0;)
			if (streq_null(json_string_value(json_array_get(aliases, i)), host_name))
				json_array_remove(aliases, i);
	}
}

/* podman's answer has derived settings, too, which conflict with their origin in a request. */
static void mend_conflicts(json_t *host)
{
	const char *ipc = json_get_string(host, "IpcMode");

	if (json_integer_value(json_object_get(host, "CpuQuota")) != 0)
		(void)json_object_del(host, "NanoCpus");
	if (ipc && (streq(ipc, "host") || after_prefix(ipc, "container:")))
		(void)json_object_del(host, "ShmSize");
	if (json_integer_value(json_object_get(host, "MemorySwappiness")) == 0)
		(void)json_object_del(host, "MemorySwappiness");
}

void podman_mend_config(json_t *container, const json_t *image)
{
	json_t *config = json_object_get(container, "Config");
	json_t *host = json_object_get(container, "HostConfig");
	const json_t *image_config = json_object_get(image, "Config");
	const char *directory = json_get_string(image_config, "WorkingDir");

	mend_environment(config, image_config);
	mend_stop_signal(config, image_config);
	if (!directory || !directory[0])
		drop_value(config, "WorkingDir", "/");
	if (json_array_size(json_object_get(config, "Entrypoint")) == 0)
		(void)json_object_del(config, "Entrypoint");
	mend_annotations(host);
	mend_aliases(container, json_get_string(config, "Hostname"));
	drop_value(host, "UTSMode", "private");
	drop_value(host, "PidMode", "private");
	drop_value(host, "Runtime", "oci");
	mend_conflicts(host);
}
