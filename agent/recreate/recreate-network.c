/* SPDX-License-Identifier: MIT */
#include "recreate-internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#define ENDPOINT_SYSCTLS "com.docker.network.endpoint.sysctls"

static bool mode_has_endpoints(const char *mode)
{
	return !streq(mode, "host") && !streq(mode, "none") && !after_prefix(mode, "container:");
}

/* Engines before 28 generate 02:42 and the four octets of the IP address. A random address (28 and later)
 * cannot be distinguished from a configured one, and is kept. */
static bool is_generated_mac(const char *mac, const json_t *seen)
{
	const char *address = json_get_string(seen, "IPAddress");
	struct in_addr in;
	const unsigned char *o = (const unsigned char *)&in.s_addr;
	char text[sizeof("02:42:ff:ff:ff:ff")];

	if (!address || inet_pton(AF_INET, address, &in) != 1)
		return false;
	(void)snprintf(text, sizeof(text), "02:42:%02x:%02x:%02x:%02x", o[0], o[1], o[2], o[3]);
	return strcasecmp(text, mac) == 0;
}

/* The configured address, or NULL. Below API 1.52 that of the main network is in Config.MacAddress. */
static const char *configured_mac(const struct recreate_input *in, const json_t *seen, bool is_main)
{
	const json_t *config = json_object_get(in->container, "Config");
	const char *configured = is_main ? json_get_string(config, "MacAddress") : NULL;
	const char *mac = json_get_string(seen, "MacAddress");

	if (configured && configured[0] != '\0')
		return configured;
	if (in->api_minor < (is_main ? 52 : 44) || !mac || mac[0] == '\0')
		return NULL;
	return is_generated_mac(mac, seen) ? NULL : mac;
}

/* Copies configuration only, and no value of another type; the rest of an endpoint is state (moby,
 * api/types/network). */
static json_t *copy_endpoint(const struct recreate_input *in, const char *network,
			     const json_t *seen, bool is_main)
{
	static const struct {
		const char *key;
		json_type type;
	} copied[] = {
		{"IPAMConfig", JSON_OBJECT}, {"Links", JSON_ARRAY},	   {"Aliases", JSON_ARRAY},
		{"DriverOpts", JSON_OBJECT}, {"GwPriority", JSON_INTEGER},
	};
	json_t *endpoint = json_need(json_object()), *aliases, *value;
	const char *mac = configured_mac(in, seen, is_main), *key;
	void *next;

	for (size_t i = 0; i < ARRAY_SIZE(copied); i++) {
		value = json_object_get(seen, copied[i].key);
		if (value && json_typeof(value) == copied[i].type)
			json_put(endpoint, copied[i].key, json_deep_copy(value));
	}
	json_object_foreach_safe (json_object_get(endpoint, "IPAMConfig"), next, key, value)
		if (recreate_is_empty(value))
			(void)json_object_del(json_object_get(endpoint, "IPAMConfig"), key);
	aliases = json_object_get(endpoint, "Aliases");
	for (size_t i = json_array_size(aliases); i-- > 0;) {
		const char *alias = json_string_value(json_array_get(aliases, i));

		if (!alias || recreate_is_id(in->container, "Id", alias))
			json_array_remove(aliases, i);
	}
	/* Engines from 25 on refuse aliases on the default bridge. */
	if (streq(network, "bridge"))
		(void)json_object_del(endpoint, "Aliases");
	if (in->api_minor < 48 || recreate_is_empty(json_object_get(endpoint, "GwPriority")))
		(void)json_object_del(endpoint, "GwPriority");
	if (mac)
		json_put(endpoint, "MacAddress", json_string(mac));
	return endpoint;
}

/* The network that NetworkMode means, or another one if the container was disconnected from it. *ret_word:
 * NetworkMode as it was written, by name or id, if it still means this network. The key of the endpoint must
 * be the same text, or its settings are lost (moby/moby#47441). */
static const char *main_network(const json_t *networks, const json_t *host, const char **ret_word)
{
	const char *written = json_get_string(host, "NetworkMode");
	const char *mode = recreate_network_mode(host), *name, *first = NULL;
	json_t *seen;

	*ret_word = written && written[0] ? written : mode;
	if (json_object_size(networks) == 0 || json_object_get(networks, mode))
		return mode;
	json_object_foreach ((json_t *)networks, name, seen) {
		if (recreate_is_id(seen, "NetworkID", mode))
			return name;
		if (!first || strcmp(name, first) < 0)
			first = name;
	}
	*ret_word = first;
	return first;
}

/* The key of another endpoint of the same network; NULL: there is none. */
static const char *twin_of(const json_t *networks, const char *key)
{
	const char *id = json_get_string(json_object_get(networks, key), "NetworkID"), *other;
	json_t *seen;

	json_object_foreach ((json_t *)networks, other, seen)
		if (id && id[0] && !streq(other, key) &&
		    streq_null(json_get_string(seen, "NetworkID"), id))
			return other;
	return NULL;
}

/* Fills what into lacks; aliases are those of both. */
static void merge_endpoint(json_t *into, json_t *from)
{
	json_t *aliases = json_object_get(into, "Aliases"), *value;
	const char *key;
	size_t i;

	json_array_foreach (json_object_get(from, "Aliases"), i, value)
		if (aliases && recreate_index_of(aliases, value) == json_array_size(aliases))
			(void)json_array_append(aliases, value);
	json_object_foreach (from, key, value)
		if (recreate_is_empty(json_object_get(into, key)))
			json_put(into, key, json_incref(value));
}

/* After `docker run --network ID --network-alias A` the engine tells one network under its id and under its name. A
 * container with both never starts again: one endpoint, under the name, does. Caller owns the copy. */
static json_t *merge_networks(const json_t *networks)
{
	json_t *merged = json_is_object(networks) ? json_need(json_deep_copy(networks)) : NULL;
	json_t *seen;
	const char *key;
	void *next;

	json_object_foreach_safe (merged, next, key, seen) {
		const char *id = json_get_string(seen, "NetworkID"), *twin = twin_of(merged, key);

		if (!twin || !after_prefix(id, key))
			continue;
		merge_endpoint(json_object_get(merged, twin), seen);
		(void)json_object_del(merged, key);
	}
	return merged;
}

/* net.X.Y.ethN.Z: from API 1.48 on these belong to the endpoint, with IFNAME for the interface (moby,
 * container_routes.go, handleSysctlBC). */
static int move_sysctls(json_t *host, json_t *endpoint, struct error *ret_error)
{
	json_t *sysctls = json_object_get(host, "Sysctls"), *options;
	_cleanup_free_ char *moved = NULL;
	const char *key, *already;
	json_t *value;
	void *next;

	json_object_foreach_safe (sysctls, next, key, value) {
		char family[16], part[16];
		const char *text = json_string_value(value);
		_cleanup_free_ char *rest = NULL;
		int n = 0;

		if (sscanf(key, "net.%15[^.].%15[^.].eth%n", family, part, &n) != 2 || n == 0)
			continue;
		if (!endpoint || !text || strchr(text, ',') || !after_prefix(key + n, "0."))
			return error_set(ret_error, -EKEYREJECTED,
					 "sysctl %s cannot be assigned to a network", key);
		rest = steal(moved);
		moved = xasprintf("%s%snet.%s.%s.IFNAME.%s=%s", rest ? rest : "", rest ? "," : "",
				  family, part, key + n + 2, text);
		(void)json_object_del(sysctls, key);
	}
	if (!moved)
		return 0;

	options = recreate_object(endpoint, "DriverOpts");
	already = json_get_string(options, ENDPOINT_SYSCTLS);
	json_put(options, ENDPOINT_SYSCTLS,
		 already ? json_sprintf("%s,%s", moved, already) : json_string(moved));
	return 0;
}

/* Puts the endpoints (object by network name; changed) where this API version expects them: all in body, or the main
 * one in body and the others in connect. */
static int place_endpoints(const struct recreate_input *in, struct recreate_plan *plan, json_t *all,
			   const char *main, struct error *ret_error)
{
	const char *name;
	json_t *endpoint;
	void *next;

	if (in->api_minor < 44) {
		json_object_foreach_safe (all, next, name, endpoint) {
			const char *mac = json_get_string(endpoint, "MacAddress");

			if (mac && !streq(name, main))
				return error_set(ret_error, -EKEYREJECTED,
						 "a MAC address on network %s needs API 1.44",
						 name);
			if (mac)
				json_put(plan->body, "MacAddress", json_string(mac));
			(void)json_object_del(endpoint, "MacAddress");
			if (streq(name, main))
				continue;
			json_append(plan->connect, json_pack("{s:s,s:{s:O}}", "Network", name,
							     "Body", "EndpointConfig", endpoint));
			(void)json_object_del(all, name);
		}
	}
	/* NetworkMode alone implies the main network without settings. */
	if (json_object_size(all) == 0 ||
	    (json_object_size(all) == 1 && recreate_is_empty(json_object_get(all, main))))
		(void)json_object_del(plan->body, "NetworkingConfig");
	else
		json_put(plan->body, "NetworkingConfig",
			 json_pack("{s:O}", "EndpointsConfig", all));
	return 0;
}

int recreate_networks(const struct recreate_input *in, struct recreate_plan *plan,
		      struct error *ret_error)
{
	const json_t *told = json_get_path(in->container, "NetworkSettings", "Networks", NULL);
	_cleanup_json_ json_t *networks = merge_networks(told);
	const json_t *configured = json_object_get(in->container, "HostConfig");
	const char *mode = recreate_network_mode(configured), *word = NULL, *name;
	json_t *host = json_object_get(plan->body, "HostConfig"), *endpoint = NULL, *seen;
	_cleanup_json_ json_t *endpoints = json_need(json_object());
	int r;

	if (mode_has_endpoints(mode)) {
		const char *main = main_network(networks, configured, &word);

		if (json_object_get(told, word) && !json_object_get(networks, word))
			word = main;
		json_object_foreach (networks, name, seen)
			json_put(endpoints, streq(name, main) ? word : name,
				 copy_endpoint(in, name, seen, streq(name, main)));
		endpoint = recreate_object(endpoints, word);
		json_put(host, "NetworkMode", json_string(word));
	}
	/* The modes host and container: share interfaces: there is nothing to move. */
	if (in->api_minor >= 48 && (word || streq(mode, "none"))) {
		r = move_sysctls(host, endpoint, ret_error);
		if (r < 0)
			return r;
	}
	return word ? place_endpoints(in, plan, endpoints, word, ret_error) : 0;
}

int recreate_first(const struct recreate_input *in, struct recreate_plan *plan,
		   struct error *ret_error)
{
	json_t *body = json_need(json_deep_copy(in->first));
	const char *main = recreate_network_mode(recreate_object(body, "HostConfig"));
	json_t *written = json_get_path(body, "NetworkingConfig", "EndpointsConfig", NULL);
	_cleanup_json_ json_t *endpoints =
		json_need(json_is_object(written) ? json_incref(written) : json_object());
	json_t *mac = json_object_get(body, "MacAddress");

	plan->body = body;
	if (!mode_has_endpoints(main))
		return 0;
	/* Below 1.44 the engine takes a single endpoint, whatever NetworkMode says. */
	if (json_object_size(endpoints) == 1 && !json_object_get(endpoints, main))
		main = json_object_iter_key(json_object_iter(endpoints));
	if (in->api_minor >= 44 && !recreate_is_empty(mac)) {
		json_t *endpoint = recreate_object(endpoints, main);

		if (!json_object_get(endpoint, "MacAddress"))
			json_put(endpoint, "MacAddress", json_incref(mac));
		(void)json_object_del(body, "MacAddress");
	}
	return place_endpoints(in, plan, endpoints, main, ret_error);
}
