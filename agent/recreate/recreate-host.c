/* SPDX-License-Identifier: MIT */
#include "recreate-internal.h"

#include <errno.h>

/* An id dies with its container; a name passes on to the successor, so references use names. */
static int refer(const struct recreate_input *in, const char *what, const char *container,
		 const char **ret, struct error *ret_error)
{
	const char *name = json_get_string(in->names, container);

	if (!name || streq(name, "") || streq(name, "/"))
		return error_set(ret_error, -EKEYREJECTED,
				 "%s refers to container %s, which is gone", what, container);
	*ret = name[0] == '/' ? name + 1 : name;
	return 0;
}

static int rewrite_modes(const struct recreate_input *in, json_t *host, struct error *ret_error)
{
	for (size_t i = 0; i < RECREATE_MODES; i++) {
		const char *id = recreate_shared_with(host, i);
		const char *name;
		int r;

		if (!id)
			continue;
		r = refer(in, recreate_modes[i], id, &name, ret_error);
		if (r < 0)
			return r;
		json_put(host, recreate_modes[i], json_sprintf("container:%s", name));
	}
	return 0;
}

static int rewrite_volumes_from(const struct recreate_input *in, json_t *host,
				struct error *ret_error)
{
	json_t *from = json_object_get(host, "VolumesFrom");

	for (size_t i = 0; i < json_array_size(from); i++) {
		const char *text = json_string_value(json_array_get(from, i));
		const char *options = text ? strchrnul(text, ':') : NULL;
		_cleanup_free_ char *container = NULL;
		const char *name;
		int r;

		if (!text)
			continue;
		container = xstrndup(text, (size_t)(options - text));
		r = refer(in, "VolumesFrom", container, &name, ret_error);
		if (r < 0)
			return r;
		recreate_set_text(from, i, xasprintf("%s%s", name, options));
	}
	return 0;
}

/* "/other:/me/alias" in the answer is "other:alias" in the request. */
static void rewrite_links(json_t *host)
{
	json_t *links = json_object_get(host, "Links");

	for (size_t i = 0; i < json_array_size(links); i++) {
		const char *text = json_string_value(json_array_get(links, i));
		const char *colon = text ? strchr(text, ':') : NULL;
		const char *alias;

		if (!colon || text[0] != '/')
			continue;
		alias = strrchr(colon, '/');
		recreate_set_text(links, i,
				  xasprintf("%.*s:%s", (int)(colon - text - 1), text + 1,
					    alias ? alias + 1 : colon + 1));
	}
}

static bool is_among(const char *path, const char (*list)[32])
{
	for (; (*list)[0]; list++)
		if (streq(*list, path))
			return true;
	return false;
}

/* Whether the engine filled the list in: all of base, which is 20.10's list, and perhaps paths that later
 * versions added (moby, oci/defaults.go). A copy would freeze them; every other list is the operator's. */
static bool is_default_paths(const json_t *list, const char (*base)[32], const char (*later)[32])
{
	size_t found = 0;

	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *path = json_string_value(json_array_get(list, i));

		if (!path)
			return false;
		if (is_among(path, base))
			found++;
		else if (!is_among(path, later) &&
			 !(after_prefix(path, "/sys/devices/system/cpu/cpu") &&
			   has_suffix(path, "/thermal_throttle")))
			return false;
	}
	for (; (*base)[0] && found > 0; base++)
		found--;
	return !(*base)[0] && found == 0;
}

static void drop_default_paths(json_t *host)
{
	static const char masked[][32] = {"/proc/asound",
					  "/proc/acpi",
					  "/proc/kcore",
					  "/proc/keys",
					  "/proc/latency_stats",
					  "/proc/timer_list",
					  "/proc/timer_stats",
					  "/proc/sched_debug",
					  "/proc/scsi",
					  "/sys/firmware",
					  ""};
	static const char masked_later[][32] = {"/proc/interrupts", "/sys/devices/virtual/powercap",
						""};
	static const char readonly[][32] = {
		"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", ""};
	static const char none[][32] = {""};

	if (json_is_true(json_object_get(host, "Privileged")))
		return;
	if (is_default_paths(json_object_get(host, "MaskedPaths"), masked, masked_later))
		(void)json_object_del(host, "MaskedPaths");
	if (is_default_paths(json_object_get(host, "ReadonlyPaths"), readonly, none))
		(void)json_object_del(host, "ReadonlyPaths");
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
	json_t *devices = json_object_get(host, "Devices");

	for (size_t i = 0; i < json_array_size(devices); i++) {
		json_t *device = json_array_get(devices, i);

		if (json_is_object(device) &&
		    recreate_is_empty(json_object_get(device, "CgroupPermissions")))
			json_put(device, "CgroupPermissions", json_string("rwm"));
	}
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
	json_t *mounts = json_object_get(host, "Mounts");

	for (size_t i = 0; i < json_array_size(mounts); i++) {
		json_t *mount = json_array_get(mounts, i);
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

		if (!bind)
			continue;
		if (!colon) {
			if (!same_path(bind, strlen(bind), destination))
				continue;
			recreate_set_text(binds, i, xasprintf("%s:%s", name, bind));
			return true;
		}
		if (strncmp(bind, name, (size_t)(colon - bind)) == 0 && name[colon - bind] == '\0')
			return true;
		if (same_path(colon + 1, strcspn(colon + 1, ":"), destination))
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

/* Anonymous volumes appear only in the list of mounts: without this the successor would get new, empty
 * volumes. */
static void attach_volumes(const struct recreate_input *in, json_t *host)
{
	const json_t *seen = json_object_get(in->container, "Mounts");

	for (size_t i = 0; i < json_array_size(seen); i++) {
		const json_t *point = json_array_get(seen, i);
		const char *type = json_get_string(point, "Type");
		const char *driver = json_get_string(point, "Driver");
		const char *destination = json_get_string(point, "Destination");
		_cleanup_free_ char *name = volume_name(point);
		json_t *mount;

		if (!type || !streq(type, "volume") || !name || !destination)
			continue;
		if (bind_covers(host, name, destination) || mount_covers(host, name, destination) ||
		    is_inherited(in, destination))
			continue;

		mount = json_need(json_pack("{s:s,s:s,s:s}", "Type", "volume", "Source", name,
					    "Target", destination));
		if (json_is_false(json_object_get(point, "RW")))
			json_put(mount, "ReadOnly", json_true());
		if (driver && driver[0] != '\0' && !streq(driver, "local"))
			json_put(mount, "VolumeOptions",
				 json_pack("{s:{s:s}}", "DriverConfig", "Name", driver));
		if (!json_is_array(json_object_get(host, "Mounts")))
			json_put(host, "Mounts", json_array());
		json_append(json_object_get(host, "Mounts"), mount);
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

static void drop_if_empty(json_t *object, const char *key)
{
	if (recreate_is_empty(json_object_get(object, key)))
		(void)json_object_del(object, key);
}

int recreate_host_config(const struct recreate_input *in, json_t **ret, struct error *ret_error)
{
	_cleanup_json_ json_t *host =
		json_need(json_deep_copy(json_need(json_object_get(in->container, "HostConfig"))));
	int r;

	r = rewrite_modes(in, host, ret_error);
	if (r >= 0)
		r = rewrite_volumes_from(in, host, ret_error);
	if (r < 0)
		return r;
	rewrite_links(host);
	drop_network_conflicts(host);
	drop_default_paths(host);
	drop_if_empty(host, "KernelMemory");
	drop_if_empty(host, "KernelMemoryTCP");
	complete_ports(host);
	complete_devices(host);
	clean_mounts(host);
	attach_volumes(in, host);
	*ret = steal(host);
	return 0;
}
