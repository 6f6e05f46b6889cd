/* SPDX-License-Identifier: MIT */
#include "recreate-internal.h"

#include <errno.h>

#include "port-set.h"

#define OWN_PORTS_MAX  1024
#define COMPOSE_PREFIX "com.docker.compose."
#define COMPOSE_IMAGE  "com.docker.compose.image"

/* A setting of a container that equals the image's may come from either. If the create body had it, a label
 * says that it is the operator's: ["User","Labels.vendor"]. */

/* Without Env, where the engine's order decides. */
static const char values[][12] = {"User", "WorkingDir", "StopSignal", "Entrypoint", "Cmd"};
/* The parts of Config that the engine merges entry by entry. */
static const char tables[][16] = {"Labels", "Healthcheck", "ExposedPorts", "Volumes"};

static json_t *read_label(const json_t *container, const json_t *image)
{
	const char *text = recreate_own_label(container, image, RECREATE_LABEL_OWN);

	return text ? json_loads(text, 0, NULL) : NULL;
}

/* Where many ports are exposed, the engine's answer has ranges (engine.h). */
static bool has_ranges(const json_t *ports)
{
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)ports, key, value)
		if (strchr(key, '-'))
			return true;
	return false;
}

/* The set of these ports. Caller frees. */
static struct port_set *read_ports(const json_t *ports)
{
	struct port_set *set = xcalloc(1, sizeof(*set));
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)ports, key, value)
		(void)port_set_add(set, key);
	return set;
}

static int put_port(void *userdata, const char *key)
{
	json_put(userdata, key, json_object());
	return 0;
}

/* Removes a port that may be in a range. */
static void remove_port(json_t *ports, const char *key)
{
	_cleanup_free_ struct port_set *set = has_ranges(ports) ? read_ports(ports) : NULL;
	_cleanup_free_ struct port_set *one = xcalloc(1, sizeof(*one));

	(void)json_object_del(ports, key);
	if (!set || !port_set_has(set, key) || !port_set_add(one, key))
		return;
	port_set_subtract(set, one);
	(void)json_object_clear(ports);
	(void)port_set_walk(set, true, put_port, ports);
}

/* The ports that the image has not got become single ones, as the engine takes them. */
static int subtract_ports(json_t *config, const json_t *defaults, struct error *ret_error)
{
	const json_t *old = json_object_get(defaults, "ExposedPorts");
	json_t *ports = json_object_get(config, "ExposedPorts");
	_cleanup_free_ struct port_set *set = NULL, *of_image = NULL;

	if (!has_ranges(ports) && !has_ranges(old))
		return 0;
	set = read_ports(ports);
	of_image = read_ports(old);
	port_set_subtract(set, of_image);
	if (port_set_count(set) > OWN_PORTS_MAX)
		return error_set(ret_error, -EKEYREJECTED,
				 "it exposes %zu ports that its image does not, over %d: leave out "
				 "--expose, which publishes nothing",
				 port_set_count(set), OWN_PORTS_MAX);
	(void)json_object_clear(ports);
	return port_set_walk(set, false, put_port, ports);
}

/* The image's Config: the defaults of the container, without those that its label declares the operator's
 * own. Caller owns it. */
static json_t *defaults_of(const json_t *container, const json_t *image)
{
	_cleanup_json_ json_t *own = read_label(container, image);
	const json_t *config = json_object_get(image, "Config");
	json_t *defaults =
		json_need(json_is_object(config) ? json_deep_copy(config) : json_object());
	const json_t *entry;
	size_t i;

	json_array_foreach (own, i, entry) {
		const char *path = json_string_value(entry);

		for (size_t k = 0; path && k < ARRAY_SIZE(values); k++)
			if (streq(path, values[k]))
				json_put(defaults, path,
					 json_true()); /* equals no container's value */
		for (size_t k = 0; path && k < ARRAY_SIZE(tables); k++) {
			const char *key = after_prefix(path, tables[k]);

			if (key && key[0] == '.' && streq(tables[k], "ExposedPorts"))
				remove_port(json_object_get(defaults, tables[k]), key + 1);
			else if (key && key[0] == '.')
				(void)json_object_del(json_object_get(defaults, tables[k]),
						      key + 1);
		}
	}
	return defaults;
}

/* Empty for Entrypoint and Cmd, where [""] is, too. */
static bool is_no_command(const json_t *j)
{
	return recreate_is_empty(j) ||
	       (json_array_size(j) == 1 && recreate_is_empty(json_array_get(j, 0)));
}

/* The engine appends the image's variables to the configured ones, in the image's order (moby,
 * daemon/commit.go, merge). Returns the index of the first of them: variables before it were configured,
 * even where they equal the image's. */
static size_t first_of_image(const json_t *env, const json_t *defaults)
{
	size_t first = json_array_size(env), next = json_array_size(defaults);

	while (first > 0) {
		size_t at = recreate_index_of(defaults, json_array_get(env, first - 1));

		if (at >= next)
			break;
		next = at;
		first--;
	}
	return first;
}

static void subtract_env(json_t *config, const json_t *defaults)
{
	json_t *env = json_object_get(config, "Env");
	const json_t *old = json_object_get(defaults, "Env");
	size_t first = recreate_same(env, old) ? 0 : first_of_image(env, old);

	/* A tool that copies configures all of the image's variables: they count as the image's. */
	if (first == json_array_size(env))
		first = 0;
	for (size_t i = json_array_size(env); i-- > first;)
		if (recreate_index_of(old, json_array_get(env, i)) < json_array_size(old))
			json_array_remove(env, i);
}

/* Images that compose built have compose's project and service labels, too. The container keeps its own, or
 * compose would not recognize it. The engine merges a health check field by field; a zero field means "as in
 * the image". */
static void subtract_table(json_t *config, const json_t *defaults, const char *table)
{
	const json_t *old = json_object_get(defaults, table), *inherited;
	json_t *entries = json_object_get(config, table), *value;
	bool zero_means_old = streq(table, "Healthcheck");
	const char *key;
	void *next;

	json_object_foreach_safe (entries, next, key, value) {
		inherited = json_object_get(old, key);
		if ((zero_means_old && recreate_is_empty(value)) ||
		    (inherited && recreate_same(value, inherited) &&
		     !after_prefix(key, COMPOSE_PREFIX)))
			(void)json_object_del(entries, key);
	}
}

/* The engine takes Cmd from the image only if neither Entrypoint nor Cmd is given (moby, daemon/commit.go, merge). It
 * stores a reset [""] as null: null is a reset if the image has an entrypoint. */
static void subtract_command(json_t *config, const json_t *defaults)
{
	const json_t *old_entry = json_object_get(defaults, "Entrypoint");
	json_t *entry = json_object_get(config, "Entrypoint");
	bool cmd_same =
		recreate_same(json_object_get(config, "Cmd"), json_object_get(defaults, "Cmd"));
	bool cmd_empty = recreate_is_empty(json_object_get(config, "Cmd"));

	if (recreate_is_empty(entry) && !is_no_command(old_entry)) {
		if (!json_is_array(entry)) {
			json_put(config, "Entrypoint", json_pack("[s]", ""));
			return;
		}
	} else if (recreate_is_empty(entry)) {
		/* An explicit [] stays, unless the answer leaves the image's out (API 1.52): then the
		 * two cannot be distinguished. */
		if (!(json_is_array(entry) && json_is_null(old_entry)))
			(void)json_object_del(config, "Entrypoint");
	} else if (json_equal(entry, old_entry)) {
		/* Without a command where the image has one, the operator set the entrypoint, and it
		 * must stay: it keeps the engine from taking the image's command. */
		if (cmd_same || !cmd_empty)
			(void)json_object_del(config, "Entrypoint");
	} else {
		return;
	}
	if (cmd_same)
		(void)json_object_del(config, "Cmd");
}

/* A published port is an exposed one. Ports without a number ("/tcp") are refused by the engine. */
static void carry_ports(json_t *config, const json_t *host, const char *mode)
{
	json_t *ports, *value;
	const char *key;
	void *next;

	if (after_prefix(mode, "container:")) {
		(void)json_object_del(config, "ExposedPorts");
		return;
	}
	ports = recreate_object(config, "ExposedPorts");
	json_object_foreach (json_object_get(host, "PortBindings"), key, value)
		json_put(ports, key, json_object());
	json_object_foreach_safe (ports, next, key, value)
		if (key[0] == '/' || key[0] == '\0')
			(void)json_object_del(ports, key);
}

/* The engine fills these in, and refuses them with the network or UTS namespace of another container. */
static void carry_host_name(const struct recreate_input *in, json_t *config, const json_t *host,
			    const char *mode)
{
	const char *name = json_get_string(config, "Hostname");
	bool shared = after_prefix(mode, "container:") ||
		      !recreate_is_empty(json_object_get(host, "UTSMode"));

	if (shared)
		(void)json_object_del(config, "Domainname");
	if (shared || (name && (recreate_is_id(in->container, "Id", name) ||
				(streq(mode, "host") && streq_null(name, in->host_name)))))
		(void)json_object_del(config, "Hostname");
}

static void drop_empty(json_t *config)
{
	const char *key;
	json_t *value;
	void *next;

	json_object_foreach_safe (config, next, key, value) {
		if (streq(key, "Entrypoint") && json_is_array(value))
			continue; /* a reset */
		if (recreate_is_empty(value) && !json_is_integer(value))
			(void)json_object_del(config, key);
	}
}

/* compose compares it with the image's, and would recreate the container. */
static int write_compose_image(const struct recreate_input *in, json_t *config,
			       struct error *ret_error)
{
	json_t *labels = json_object_get(config, "Labels");
	const char *id = json_get_string(in->new_image, "Id");

	if (!json_object_get(labels, COMPOSE_IMAGE))
		return 0;
	if (!id)
		return error_set(ret_error, -EKEYREJECTED,
				 "compose requires the new image's id in a label, and it has none");
	json_put(labels, COMPOSE_IMAGE, json_string(id));
	return 0;
}

int recreate_config(const struct recreate_input *in, struct recreate_plan *plan,
		    struct error *ret_error)
{
	/* No image sets StopTimeout, and its Shell and OnBuild are for builds. */
	static const char inherited[][12] = {"User", "WorkingDir", "StopSignal", "ArgsEscaped"};
	json_t *config = json_need(json_deep_copy(json_object_get(in->container, "Config")));
	_cleanup_json_ json_t *defaults = defaults_of(in->container, in->old_image);
	const json_t *host = json_object_get(in->container, "HostConfig");
	const char *mode = recreate_network_mode(host);
	int r;

	plan->body = config;
	r = subtract_ports(config, defaults, ret_error);
	if (r < 0)
		return r;
	subtract_env(config, defaults);
	subtract_command(config, defaults);
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		subtract_table(config, defaults, tables[i]);
	for (size_t i = 0; i < ARRAY_SIZE(inherited); i++)
		if (recreate_same(json_object_get(config, inherited[i]),
				  json_object_get(defaults, inherited[i])))
			(void)json_object_del(config, inherited[i]);
	carry_ports(config, host, mode);
	carry_host_name(in, config, host, mode);
	/* recreate_networks() sets it where it was configured. */
	(void)json_object_del(config, "MacAddress");
	drop_empty(config);
	return write_compose_image(in, config, ret_error);
}

/* Whether recreate_config() carries it over in any case. */
static bool is_carried(const json_t *body, const char *table, const char *key)
{
	if (streq(table, "ExposedPorts"))
		return json_get_path(body, "HostConfig", "PortBindings", key, NULL);
	return after_prefix(key, "com.docker.compose.") || after_prefix(key, "pullet.");
}

void recreate_note_own(json_t *body, const json_t *image)
{
	const json_t *config = json_object_get(image, "Config");
	json_t *labels = json_object_get(body, "Labels"), *value;
	_cleanup_free_ struct port_set *ports = read_ports(json_object_get(config, "ExposedPorts"));
	_cleanup_json_ json_t *own = json_need(json_array());
	const char *key;

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		const json_t *of_image = json_object_get(config, values[i]);

		value = json_object_get(body, values[i]);
		if (value && (recreate_same(value, of_image) ||
			      (is_no_command(value) && is_no_command(of_image))))
			json_append(own, json_string(values[i]));
	}
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		json_object_foreach (json_object_get(body, tables[i]), key, value) {
			const json_t *of_image = json_get_path(config, tables[i], key, NULL);
			bool same = of_image && recreate_same(value, of_image);

			if (streq(tables[i], "ExposedPorts"))
				same |= port_set_has(ports, key);
			if (same && !is_carried(body, tables[i], key))
				json_append(own, json_sprintf("%s.%s", tables[i], key));
		}

	(void)json_object_del(labels, RECREATE_LABEL_OWN);
	if (json_array_size(own) > 0) {
		_cleanup_free_ char *text = json_text(own, JSON_COMPACT);

		json_put(labels, RECREATE_LABEL_OWN, json_string(text));
	}
}
