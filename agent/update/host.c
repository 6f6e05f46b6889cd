/* SPDX-License-Identifier: MIT */
#include "host.h"

#include <errno.h>

#include "host-path.h"
#include "successor.h"

/* One container that is to be started. */
struct subject {
	const struct pass *p;
	const json_t *host;	 /* its HostConfig */
	const json_t *endpoints; /* by network */
	const json_t *old; /* the inspect answer of the container that it replaces; NULL: none */
};

/* Each returns -ENOENT with the name of what is missing, else 0. */
typedef int check_fn(const struct subject *s, struct error *ret_error);

/* A privileged container gets all devices there are. */
static int check_devices(const struct subject *s, struct error *ret_error)
{
	const json_t *device;
	size_t i;
	int r = 0;

	if (json_is_true(json_object_get(s->host, "Privileged")))
		return 0;
	json_array_foreach (json_object_get(s->host, "Devices"), i, device) {
		const char *path = json_get_string(device, "PathOnHost");

		if (r == 0 && path && path[0] == '/')
			r = host_path_check_device(path, ret_error);
	}
	return r;
}

/* Disks whose speed is limited. */
static int check_disks(const struct subject *s, struct error *ret_error)
{
	static const char keys[][24] = {"BlkioWeightDevice", "BlkioDeviceReadBps",
					"BlkioDeviceWriteBps", "BlkioDeviceReadIOps",
					"BlkioDeviceWriteIOps"};
	const json_t *disk;
	size_t k;
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		json_array_foreach (json_object_get(s->host, keys[i]), k, disk) {
			const char *path = json_get_string(disk, "Path");

			if (r == 0 && path && path[0] == '/')
				r = host_path_check_device(path, ret_error);
		}
	}
	return r;
}

/* The container's first process; 0: it is down, or there is none. */
static pid_t pid_of(const struct subject *s)
{
	return (pid_t)json_integer_value(json_get_path(s->old, "State", "Pid", NULL));
}

static int check_source(const struct subject *s, const char *source, const char *destination,
			struct error *ret_error)
{
	const char *id = json_get_string(s->old, "Id");
	_cleanup_json_ json_t *ignored = NULL;
	struct error said;
	int r;

	if (source[0] != '/')
		return 0;
	r = host_path_check_source(source, pid_of(s), destination, ret_error);
	if (r < 0 || !id || !host_path_is_replaced(source, pid_of(s), destination))
		return r;
	/* The engine looks at the place with everything mounted: a directory fits on no file. */
	r = engine_stat(s->p->context.engine, id, destination, &ignored, &said);
	return r == -EIO || r == -EINVAL
		       ? error_set(ret_error, -ENOENT,
				   "%s was replaced by what cannot be mounted at %s", source,
				   destination)
		       : 0;
}

/* The engine makes a missing source of Binds as an empty directory, which is right for a first container only. */
static int check_binds(const struct subject *s, struct error *ret_error)
{
	const json_t *bind;
	size_t i;
	int r = 0;

	json_array_foreach (json_object_get(s->host, "Binds"), i, bind) {
		const char *text = json_string_value(bind),
			   *colon = text ? strchr(text, ':') : NULL;
		_cleanup_free_ char *source = NULL, *destination = NULL;

		if (r < 0 || !s->old || !colon)
			continue;
		source = xstrndup(text, (size_t)(colon - text));
		destination = xstrndup(colon + 1, strcspn(colon + 1, ":"));
		r = check_source(s, source, destination, ret_error);
	}
	return r;
}

static int check_mounts(const struct subject *s, struct error *ret_error)
{
	const json_t *mount;
	size_t i;
	int r = 0;

	json_array_foreach (json_object_get(s->host, "Mounts"), i, mount) {
		const char *source = json_get_string(mount, "Source");
		const char *target = json_get_string(mount, "Target");
		bool made =
			json_is_true(json_get_path(mount, "BindOptions", "CreateMountpoint", NULL));

		if (r == 0 && source && target && (s->old || !made) &&
		    streq_null(json_get_string(mount, "Type"), "bind"))
			r = check_source(s, source, target, ret_error);
	}
	return r;
}

static bool has_cdi_device(const json_t *known, const char *id)
{
	const json_t *device;
	size_t i;

	json_array_foreach (known, i, device)
		if (streq_null(json_get_string(device, "ID"), id))
			return true;
	return false;
}

/* DiscoveredDevices: Docker 28.2 and later. */
static int check_cdi(const struct subject *s, const json_t *info, struct error *ret_error)
{
	const json_t *known = json_object_get(info, "DiscoveredDevices"), *request, *id;
	size_t i, k;

	if (!json_is_array(known))
		return 0;
	json_array_foreach (json_object_get(s->host, "DeviceRequests"), i, request) {
		if (!streq_null(json_get_string(request, "Driver"), "cdi"))
			continue;
		json_array_foreach (json_object_get(request, "DeviceIDs"), k, id)
			if (json_is_string(id) && !has_cdi_device(known, json_string_value(id)))
				return error_set(ret_error, -ENOENT,
						 "the engine does not know the CDI device %s",
						 json_string_value(id));
	}
	return 0;
}

static int check_engine(const struct subject *s, struct error *ret_error)
{
	const char *runtime = json_get_string(s->host, "Runtime"), *path;
	_cleanup_json_ json_t *info = NULL;
	const json_t *known;
	struct error ignored;

	if (engine_info(s->p->context.engine, &info, &ignored) < 0)
		return 0;
	known = json_object_get(info, "Runtimes");
	path = runtime ? json_get_string(json_object_get(known, runtime), "path") : NULL;
	if (path && path[0] == '/' && host_path_check_source(path, 0, "", ret_error) < 0)
		return error_prefix(ret_error, "runtime %s", runtime);
	/* A path, or a shim of containerd, needs no entry; podman has another word for its own. */
	if (!engine_version(s->p->context.engine)->podman && runtime && runtime[0] &&
	    !strpbrk(runtime, "/.") && json_object_size(known) > 0 &&
	    !json_object_get(known, runtime))
		return error_set(ret_error, -ENOENT, "the engine has no runtime %s", runtime);
	return check_cdi(s, info, ret_error);
}

/* The member of this update that has the id or name; it runs when it is needed. */
static bool is_member(const struct pass *p, const char *id_or_name)
{
	bool found = streq(id_or_name, p->c->name);

	for (size_t i = 0; i < MEMBERS_MAX; i++)
		found |= streq(id_or_name, p->world.members[i].old.id) ||
			 streq(id_or_name, p->world.members[i].new.id);
	for (size_t i = 0; i < p->record.n_followers; i++)
		found |= streq(id_or_name, p->record.followers[i].name);
	return found;
}

static int check_address(const struct subject *s, const char *name, const json_t *network,
			 const char *address, struct error *ret_error)
{
	const char *id, *rest;
	json_t *other;

	if (!address || !address[0])
		return 0;
	json_object_foreach (json_object_get(network, "Containers"), id, other) {
		const char *taken = json_get_string(other, "IPv4Address");
		const char *whose = json_get_string(other, "Name");

		rest = taken ? after_prefix(taken, address) : NULL;
		if (rest && (rest[0] == '/' || rest[0] == '\0') && !is_member(s->p, id))
			return error_set(ret_error, -ENOENT,
					 "container %s has the address %s of network %s",
					 whose ? whose : id, address, name);
	}
	return 0;
}

static bool is_user_network(const char *name)
{
	static const char others[][12] = {"",	     "default", "bridge",      "host",	  "none",
					  "private", "pasta",	"slirp4netns", "ingress", "nat"};

	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		if (streq(name, others[i]))
			return false;
	}
	return !strchr(name, ':');
}

static int check_network(const struct subject *s, const char *name, const json_t *endpoint,
			 struct error *ret_error)
{
	const char *address =
		json_get_string(json_object_get(endpoint, "IPAMConfig"), "IPv4Address");
	_cleanup_json_ json_t *network = NULL;
	struct error said;
	int r;

	if (!name || !is_user_network(name))
		return 0;
	r = engine_look_up(s->p->context.engine, "networks", name, &network, &said);
	if (r == -ENOENT)
		return error_set(ret_error, r, "network %s is not there", name);
	return r < 0 ? 0 : check_address(s, name, network, address, ret_error);
}

static int check_networks(const struct subject *s, struct error *ret_error)
{
	const char *mode = json_get_string(s->host, "NetworkMode"), *name;
	int r = check_network(s, mode, NULL, ret_error);
	json_t *endpoint;

	json_object_foreach ((json_t *)s->endpoints, name, endpoint)
		if (r == 0)
			r = check_network(s, name, endpoint, ret_error);
	return r;
}

static int check_ports(const struct subject *s, struct error *ret_error)
{
	json_t *bindings;
	const char *port;
	const json_t *binding;
	size_t i;

	json_object_foreach (json_object_get(s->host, "PortBindings"), port, bindings) {
		json_array_foreach (bindings, i, binding) {
			const char *address = json_get_string(binding, "HostIp");

			if (address && host_path_lacks_address(address))
				return error_set(ret_error, -ENOENT,
						 "port %s: %s is no address of this machine", port,
						 address);
		}
	}
	return 0;
}

/* podman starts what is shared. */
static int check_namespaces(const struct subject *s, struct error *ret_error)
{
	bool podman = engine_version(s->p->context.engine)->podman;

	for (size_t i = 0; !podman && i < RECREATE_MODES; i++) {
		const char *whose = recreate_shared_with(s->host, i);
		_cleanup_json_ json_t *other = NULL;
		const json_t *state;
		struct error ignored;

		if (!whose || is_member(s->p, whose) ||
		    engine_inspect_container(s->p->context.engine, whose, &other, &ignored) < 0)
			continue;
		state = json_object_get(other, "State");
		if (!json_is_true(json_object_get(state, "Running")) ||
		    json_is_true(json_object_get(state, "Restarting")))
			return error_set(ret_error, -ENOENT,
					 "container %s, whose namespace it shares, does not run",
					 world_name_of(other));
	}
	return 0;
}

/* The local driver mounts at each start what its options say; "//server/share" is no path. */
static int check_local(const struct subject *s, const json_t *point, const json_t *volume,
		       struct error *ret_error)
{
	const json_t *options = json_object_get(volume, "Options");
	const char *device = json_get_string(options, "device"), *o = json_get_string(options, "o");
	const char *destination = json_get_string(point, "Destination");
	int r;

	if (!device || device[0] != '/' || device[1] == '/' || !destination)
		return 0;
	r = host_path_check_source(device, o && strstr(o, "bind") ? pid_of(s) : 0, destination,
				   ret_error);
	return r < 0 ? error_prefix(ret_error, "volume %s", json_get_string(point, "Name")) : 0;
}

static int check_volumes(const struct subject *s, struct error *ret_error)
{
	const json_t *point;
	size_t i;
	int r = 0;

	json_array_foreach (json_object_get(s->old, "Mounts"), i, point) {
		const char *name = json_get_string(point, "Name");
		const char *driver = json_get_string(point, "Driver");
		_cleanup_json_ json_t *volume = NULL;
		struct error said;

		if (r < 0 || !name || !name[0] || !driver || !driver[0])
			continue;
		if (engine_look_up(s->p->context.engine, "volumes", name, &volume, &said) == 0)
			r = streq(driver, "local") ? check_local(s, point, volume, ret_error) : 0;
		else if (said.code == -ENOENT || strstr(said.text, "not found"))
			r = error_set(ret_error, -ENOENT,
				      "the engine does not find volume %s of driver %s", name,
				      driver);
	}
	return r;
}

/* Docker connects to the first of these that there is. */
static int check_syslog(struct error *ret_error)
{
	static const char sockets[][16] = {"/var/run/log", "/var/run/syslog", "/dev/log"};
	int r = -ENOENT;

	for (size_t i = 0; r < 0 && i < ARRAY_SIZE(sockets); i++)
		r = host_path_check_socket(sockets[i], ret_error);
	return r;
}

/* The engine opens the container's log at each start. */
static int check_log(const struct subject *s, struct error *ret_error)
{
	const json_t *log = json_object_get(s->host, "LogConfig"),
		     *options = json_object_get(log, "Config");
	const char *driver = json_get_string(log, "Type") ?: "", *key;
	json_t *value;
	int r = 0;

	/* podman's conmon starts without. */
	if (engine_version(s->p->context.engine)->podman)
		return 0;
	if (streq(driver, "journald"))
		return host_path_check_socket("/run/systemd/journal/socket", ret_error);
	if (streq(driver, "syslog") && !json_object_get(options, "syslog-address"))
		return check_syslog(ret_error);
	if (streq_null(json_get_string(options, "fluentd-async"), "true"))
		return 0;
	json_object_foreach ((json_t *)options, key, value) {
		const char *text = json_string_value(value) ?: "";
		const char *path =
			after_prefix(text, "unix://") ?: after_prefix(text, "unixgram://");

		if (r == 0 && path && has_suffix(key, "-address"))
			r = host_path_check_socket(path, ret_error);
	}
	return r;
}

/* Notes what is missing. */
static void check(const struct subject *s, struct error *ret_missing)
{
	static check_fn *const checks[] = {
		check_devices, check_disks,    check_ports,	 check_binds,	check_mounts,
		check_engine,  check_networks, check_namespaces, check_volumes, check_log};

	for (size_t i = 0; ret_missing->code == 0 && i < ARRAY_SIZE(checks); i++)
		(void)!checks[i](s, ret_missing);
}

/* A successor has the settings of the container that it replaces. */
static int check_successor(struct pass *p, const char *id, struct error *ret_error)
{
	struct subject s = {.p = p};
	_cleanup_json_ json_t *old = NULL;
	int r = engine_inspect_container(p->context.engine, id, &old, ret_error);

	if (r < 0)
		return r;
	s.old = old;
	s.host = json_object_get(old, "HostConfig");
	s.endpoints = json_get_path(old, "NetworkSettings", "Networks", NULL);
	check(&s, &p->state.host_lacks);
	return 0;
}

static int check_first(struct pass *p, struct error *ret_error)
{
	struct subject s = {.p = p};
	_cleanup_(recreate_plan_free) struct recreate_plan plan = {0};
	_cleanup_json_ json_t *endpoints = NULL;
	const json_t *connect;
	size_t i;
	int r = successor_plan(p, &p->world, NULL, p->c->image, pass_candidate(p)->text, &plan,
			       ret_error);

	if (r < 0)
		return r;
	s.host = json_object_get(plan.body, "HostConfig");
	endpoints = json_deep_copy(
		json_get_path(plan.body, "NetworkingConfig", "EndpointsConfig", NULL));
	endpoints = endpoints ? endpoints : json_need(json_object());
	json_array_foreach (plan.connect, i, connect)
		json_put(endpoints, json_get_string(connect, "Network"),
			 json_deep_copy(json_get_path(connect, "Body", "EndpointConfig", NULL)));
	s.endpoints = endpoints;
	check(&s, &p->state.host_lacks);
	return 0;
}

int host_check(struct pass *p, struct error *ret_error)
{
	struct error *lacks = &p->state.host_lacks;
	int r;

	*lacks = (struct error){0};
	r = view_exists(&p->world.old) ? check_successor(p, p->world.old.id, ret_error)
				       : check_first(p, ret_error);
	for (size_t i = 0; r == 0 && lacks->code == 0 && i < p->record.n_followers; i++) {
		const struct container_view *old = &p->world.followers[i].old;

		if (!view_exists(old) || !view_is_up(old))
			continue;
		r = check_successor(p, old->id, ret_error);
		if (r == 0 && lacks->code < 0)
			(void)error_prefix(lacks, "container %s", p->record.followers[i].name);
	}
	p->state.host_is_known = r == 0;
	return r;
}
