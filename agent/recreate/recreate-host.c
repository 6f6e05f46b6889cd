/* SPDX-License-Identifier: MIT */
#include "recreate-internal.h"

#include <errno.h>
#include <fnmatch.h>

/* An id dies with its container; a name passes on to the successor, so references use names. text: the container
 * and, behind a colon, options. */
static int refer(const json_t *names, const char *key, const char *text, const char *prefix,
		 json_t **ret, struct error *ret_error)
{
	const char *options = strchrnul(text, ':');
	_cleanup_free_ char *container = xstrndup(text, (size_t)(options - text));
	const char *name = json_get_string(names, container);

	if (!name || streq(name, "") || streq(name, "/"))
		return error_set(ret_error, -EKEYREJECTED,
				 "%s refers to container %s, which is gone", key, container);
	*ret = json_need(json_sprintf("%s%s%s", prefix, name + (name[0] == '/'), options));
	return 0;
}

static int rewrite_references(const struct recreate_input *in, json_t *host,
			      struct error *ret_error)
{
	json_t *from = json_object_get(host, "VolumesFrom"), *value;
	int r;

	for (size_t i = 0; i < RECREATE_MODES; i++) {
		const char *id = recreate_shared_with(host, i);

		if (!id)
			continue;
		r = refer(in->names, recreate_modes[i], id, "container:", &value, ret_error);
		if (r < 0)
			return r;
		json_put(host, recreate_modes[i], value);
	}
	for (size_t i = 0; i < json_array_size(from); i++) {
		const char *text = json_string_value(json_array_get(from, i));

		if (!text)
			continue;
		r = refer(in->volumes ?: in->names, "VolumesFrom", text, "", &value, ret_error);
		if (r < 0)
			return r;
		(void)json_array_set_new(from, i, value);
	}
	return 0;
}

/* "/other:/me/alias" in the answer is "other:alias" in the request. */
static int rewrite_links(const struct recreate_input *in, json_t *host, struct error *ret_error)
{
	json_t *links = json_object_get(host, "Links"), *value;

	for (size_t i = 0; i < json_array_size(links); i++) {
		const char *text = json_string_value(json_array_get(links, i));
		const char *colon = text ? strchr(text, ':') : NULL, *alias;
		_cleanup_free_ char *plain = NULL;
		int r;

		if (!colon)
			continue;
		alias = strrchr(colon, '/');
		plain = xasprintf("%.*s:%s", (int)(colon - text) - (text[0] == '/'),
				  recreate_without_slash(text), alias ? alias + 1 : colon + 1);
		r = refer(in->names, "Links", plain, "", &value, ret_error);
		if (r < 0)
			return r;
		(void)json_array_set_new(links, i, value);
	}
	return 0;
}

/* Paths that the engine fills in itself (moby, oci/defaults.go). */
static const struct {
	const char *key;
	size_t n;
	const char *paths[12]; /* all of 20.10 */
	const char *later[4];  /* patterns of what later versions added */
} default_paths[] = {
	{"MaskedPaths",
	 10,
	 {"/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
	  "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi",
	  "/sys/firmware"},
	 {"/proc/interrupts", "/sys/devices/virtual/powercap",
	  "/sys/devices/system/cpu/cpu*/thermal_throttle"}},
	{"ReadonlyPaths",
	 5,
	 {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
	 {NULL}},
};

static size_t count_paths(const json_t *list, const char *const *patterns)
{
	size_t i, n = 0;
	const json_t *path;

	json_array_foreach (list, i, path)
		for (const char *const *p = patterns; *p && json_is_string(path); p++)
			n += fnmatch(*p, json_string_value(path), 0) == 0;
	return n;
}

/* A copy of a list that the engine filled in would freeze it; every other list is the operator's. */
static void drop_default_paths(json_t *host)
{
	if (json_is_true(json_object_get(host, "Privileged")))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(default_paths); i++) {
		const json_t *list = json_object_get(host, default_paths[i].key);
		size_t n = count_paths(list, default_paths[i].paths);

		if (n == default_paths[i].n &&
		    n + count_paths(list, default_paths[i].later) == json_array_size(list))
			(void)json_object_del(host, default_paths[i].key);
	}
}

/* An empty list means one binding at a port of the engine's choice, but none at all from API 1.52 on (moby,
 * api/docs/CHANGELOG.md): write it in full. */
static void complete_ports(json_t *host)
{
	json_t *bindings = json_object_get(host, "PortBindings");
	const char *port;
	json_t *list;
	void *next;

	json_object_foreach_safe (bindings, next, port, list) {
		if (port[0] == '/' || port[0] == '\0')
			(void)json_object_del(bindings, port);
		else if (recreate_is_empty(list))
			json_put(bindings, port,
				 json_pack("[{s:s,s:s}]", "HostIp", "", "HostPort", ""));
	}
}

static void complete_devices(json_t *host)
{
	json_t *device;
	size_t i;

	json_array_foreach (json_object_get(host, "Devices"), i, device)
		if (json_is_object(device) &&
		    recreate_is_empty(json_object_get(device, "CgroupPermissions")))
			json_put(device, "CgroupPermissions", json_string("rwm"));
}

/* Options of one type on a mount of another were ignored before API 1.42 and are errors since. */
static void clean_mounts(json_t *host)
{
	static const struct {
		const char *key, *type;
	} options[] = {
		{"BindOptions", "bind"},   {"VolumeOptions", "volume"},	  {"TmpfsOptions", "tmpfs"},
		{"ImageOptions", "image"}, {"ClusterOptions", "cluster"},
	};
	json_t *mount;
	size_t i;

	json_array_foreach (json_object_get(host, "Mounts"), i, mount) {
		const char *type = json_get_string(mount, "Type");

		for (size_t k = 0; type && k < ARRAY_SIZE(options); k++)
			if (!streq(type, options[k].type))
				(void)json_object_del(mount, options[k].key);
	}
}

static bool same_path(const char *a, size_t a_len, const char *b)
{
	size_t b_len = strlen(b);

	while (a_len > 1 && a[a_len - 1] == '/')
		a_len--;
	while (b_len > 1 && b[b_len - 1] == '/')
		b_len--;
	return a_len == b_len && strncmp(a, b, a_len) == 0;
}

/* Whether a bind mounts this volume; a bind of the bare destination gets the volume's name. */
static bool bind_covers(json_t *host, const char *name, const char *destination)
{
	json_t *binds = json_object_get(host, "Binds");

	for (size_t i = 0; i < json_array_size(binds); i++) {
		const char *bind = json_string_value(json_array_get(binds, i));
		const char *colon = bind ? strchr(bind, ':') : NULL;
		const char *target = colon ? colon + 1 : bind;

		if (!bind)
			continue;
		if (same_path(target, strcspn(target, ":"), destination)) {
			if (!colon)
				(void)json_array_set_new(
					binds, i, json_need(json_sprintf("%s:%s", name, bind)));
			return true;
		}
		if (colon && strlen(name) == (size_t)(colon - bind) && after_prefix(bind, name))
			return true;
	}
	return false;
}

/* Whether a mount mounts this volume; a mount without source gets the volume's name. */
static bool mount_covers(json_t *host, const char *name, const char *destination)
{
	json_t *mounts = json_object_get(host, "Mounts");

	for (size_t i = 0; i < json_array_size(mounts); i++) {
		json_t *mount = json_array_get(mounts, i);
		const char *source = json_get_string(mount, "Source");
		const char *target = json_get_string(mount, "Target");

		if (target && same_path(target, strlen(target), destination)) {
			if (!source || source[0] == '\0')
				json_put(mount, "Source", json_string(name));
			return true;
		}
		if (streq_null(source, name))
			return true;
	}
	return false;
}

/* VolumesFrom provides volumes of another container again, unless this container configures a volume of its
 * own at the same place. */
static bool is_inherited(const struct recreate_input *in, const char *destination)
{
	const json_t *own = json_get_path(in->container, "Config", "Volumes", NULL);
	const json_t *from = json_get_path(in->container, "HostConfig", "VolumesFrom", NULL);
	const char *path;
	json_t *value;

	if (recreate_is_empty(from))
		return false;
	json_object_foreach ((json_t *)own, path, value)
		if (same_path(path, strlen(path), destination))
			return false;
	return true;
}

/* The volume behind a mount point. Docker 28 leaves the name of a bare destination out; the local driver's
 * path has it. Caller frees; NULL if unknown. */
static char *volume_name(const json_t *point)
{
	const char *name = json_get_string(point, "Name"),
		   *driver = json_get_string(point, "Driver");
	const char *source = json_get_string(point, "Source"), *end, *begin;

	if (name && name[0])
		return xstrdup(name);
	if (!source || !driver || !streq(driver, "local") || !has_suffix(source, "/_data"))
		return NULL;
	end = source + strlen(source) - strlen("/_data");
	begin = memrchr(source, '/', (size_t)(end - source));
	return begin && begin + 1 < end ? xstrndup(begin + 1, (size_t)(end - begin - 1)) : NULL;
}

/* Anonymous volumes are only in the list of mounts: without this the successor would get new, empty volumes. */
static void attach_volumes(const struct recreate_input *in, json_t *host)
{
	const json_t *point;
	size_t i;

	json_array_foreach (json_object_get(in->container, "Mounts"), i, point) {
		const char *driver = json_get_string(point, "Driver");
		const char *destination = json_get_string(point, "Destination");
		_cleanup_free_ char *name = volume_name(point);
		bool is_local = !driver || driver[0] == '\0' || streq(driver, "local");

		if (!streq_null(json_get_string(point, "Type"), "volume") || !name || !destination)
			continue;
		if (bind_covers(host, name, destination) || mount_covers(host, name, destination) ||
		    is_inherited(in, destination))
			continue;

		if (!json_is_array(json_object_get(host, "Mounts")))
			json_put(host, "Mounts", json_array());
		json_append(
			json_object_get(host, "Mounts"),
			json_pack(
				"{s:s, s:s, s:s, s:o*, s:o*}", "Type", "volume", "Source", name,
				"Target", destination, "ReadOnly",
				json_is_false(json_object_get(point, "RW")) ? json_true() : NULL,
				"VolumeOptions",
				is_local ? NULL
					 : json_pack("{s:{s:s}}", "DriverConfig", "Name", driver)));
	}
}

/* Drops settings that conflict with the network namespace of another container or of the host. */
static void drop_network_conflicts(json_t *host)
{
	static const char conflicts[][16] = {"Links", "Dns", "ExtraHosts", "PortBindings",
					     "PublishAllPorts"};
	const char *mode = recreate_network_mode(host);

	if (streq(mode, "host"))
		(void)json_object_del(host, "Links");
	for (size_t i = 0; after_prefix(mode, "container:") && i < ARRAY_SIZE(conflicts); i++)
		if (!recreate_is_empty(json_object_get(host, conflicts[i])))
			(void)json_object_del(host, conflicts[i]);
}

int recreate_host_config(const struct recreate_input *in, struct recreate_plan *plan,
			 struct error *ret_error)
{
	static const char unset[][16] = {"KernelMemory", "KernelMemoryTCP"};
	json_t *host = json_deep_copy(json_object_get(in->container, "HostConfig"));
	int r;

	json_put(plan->body, "HostConfig", host);
	drop_network_conflicts(host);
	r = rewrite_references(in, host, ret_error);
	if (r == 0)
		r = rewrite_links(in, host, ret_error);
	if (r < 0)
		return r;
	drop_default_paths(host);
	for (size_t i = 0; i < ARRAY_SIZE(unset); i++)
		if (recreate_is_empty(json_object_get(host, unset[i])))
			(void)json_object_del(host, unset[i]);
	complete_ports(host);
	complete_devices(host);
	clean_mounts(host);
	attach_volumes(in, host);
	return 0;
}
