/* SPDX-License-Identifier: MIT */
#include "recreate-internal.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

char *recreate_policy_text(const json_t *restart_policy)
{
	const char *name = json_get_string(restart_policy, "Name");
	json_int_t count = json_integer_value(json_object_get(restart_policy, "MaximumRetryCount"));

	if (restart_policy && !json_is_object(restart_policy) && !json_is_null(restart_policy))
		return NULL;
	if (recreate_is_empty(json_object_get(restart_policy, "Name")))
		return xstrdup("no");
	if (!name)
		return NULL;
	if (streq(name, "no") || streq(name, "always") || streq(name, "unless-stopped"))
		return xstrdup(name);
	if (!streq(name, "on-failure") || count < 0 || count > INT_MAX)
		return NULL;
	return count > 0 ? xasprintf("on-failure:%d", (int)count) : xstrdup("on-failure");
}

json_t *recreate_policy_json(const char *text)
{
	const char *count = after_prefix(text, "on-failure:");
	char *end;
	long n;

	if (streq(text, "no") || streq(text, "always") || streq(text, "unless-stopped") ||
	    streq(text, "on-failure"))
		return json_need(json_pack("{s:s}", "Name", text));
	if (!count || count[0] < '1' || count[0] > '9')
		return NULL;
	errno = 0;
	n = strtol(count, &end, 10);
	if (errno != 0 || *end != '\0' || n > INT_MAX)
		return NULL;
	return json_need(json_pack("{s:s,s:i}", "Name", "on-failure", "MaximumRetryCount", (int)n));
}

static void add_reference(json_t *array, const char *text, size_t len)
{
	_cleanup_json_ json_t *item = json_need(json_stringn(text, len));

	for (size_t i = 0; i < json_array_size(array); i++)
		if (json_equal(json_array_get(array, i), item))
			return;
	if (len > 0)
		json_append(array, steal(item));
}

json_t *recreate_references(const json_t *container)
{
	const json_t *host = json_object_get(container, "HostConfig");
	json_t *array = json_need(json_array()), *entry;
	size_t i;

	for (i = 0; i < RECREATE_MODES; i++) {
		const char *id = recreate_shared_with(host, i);

		if (id)
			add_reference(array, id, strlen(id));
	}
	json_array_foreach (json_object_get(host, "VolumesFrom"), i, entry) {
		const char *text = json_string_value(entry);

		if (text)
			add_reference(array, text, strcspn(text, ":"));
	}
	return array;
}

/* Refuses what no create body can reproduce. */
static int check_container(const struct recreate_input *in, struct error *ret_error)
{
	const json_t *config = json_object_get(in->container, "Config");
	const json_t *host = json_object_get(in->container, "HostConfig");
	const json_t *labels = json_object_get(config, "Labels");
	const json_t *defaults = json_object_get(in->old_image, "Config");

	if (!json_is_object(config) || !json_is_object(host))
		return error_set(ret_error, -EKEYREJECTED,
				 "the engine's answer lacks Config or HostConfig");
	if (!json_get_string(in->old_image, "Id") ||
	    (defaults && !json_is_object(defaults) && !json_is_null(defaults)))
		return error_set(ret_error, -EKEYREJECTED,
				 "its image is no longer readable, so image defaults cannot be "
				 "distinguished from the container's own settings");
	if (json_object_get(labels, "com.docker.swarm.service.id") ||
	    json_object_get(labels, "com.docker.swarm.task.id"))
		return error_set(ret_error, -EKEYREJECTED, "it belongs to a swarm service");
	if (json_is_true(json_object_get(host, "AutoRemove")))
		return error_set(ret_error, -EKEYREJECTED,
				 "it was created with --rm: once stopped it is gone, with no way "
				 "to roll back");
	return 0;
}

/* The labels, image and restart policy of every container that Pullet creates. */
static void sign(json_t *body, const json_t *new_image, const char *image, const char *target,
		 const char *policy)
{
	json_t *host = json_object_get(body, "HostConfig");
	json_t *labels = recreate_object(body, "Labels");

	recreate_note_own(body, new_image);
	json_put(labels, RECREATE_LABEL_TARGET, json_string(target));
	json_put(labels, RECREATE_LABEL_POLICY, json_string(policy));
	json_put(body, "Image", json_string(image));
	/* Unset is as good as no. */
	if (!recreate_is_empty(json_object_get(json_object_get(host, "RestartPolicy"), "Name")))
		json_put(host, "RestartPolicy", json_pack("{s:s}", "Name", "no"));
}

static int read_policy(const json_t *host, char **ret, struct error *ret_error)
{
	char *policy = recreate_policy_text(json_object_get(host, "RestartPolicy"));

	if (!policy)
		return error_set(ret_error, -EKEYREJECTED, "its restart policy is unknown");
	*ret = policy;
	return 0;
}

int recreate_spec(const struct recreate_input *in, struct recreate_plan *ret,
		  struct error *ret_error)
{
	_cleanup_json_ json_t *body = NULL, *host = NULL, *connect = json_need(json_array());
	_cleanup_free_ char *policy = NULL;
	int r;

	r = check_container(in, ret_error);
	if (r >= 0)
		r = read_policy(json_object_get(in->container, "HostConfig"), &policy, ret_error);
	if (r >= 0)
		r = recreate_config(in, &body, ret_error);
	if (r >= 0)
		r = recreate_host_config(in, &host, ret_error);
	if (r >= 0)
		r = recreate_networks(in, body, host, connect, ret_error);
	if (r < 0)
		return r;

	json_put(body, "HostConfig", steal(host));
	sign(body, in->new_image, in->image, in->target, policy);
	*ret = (struct recreate_plan){
		.body = steal(body), .connect = steal(connect), .policy = steal(policy)};
	return 0;
}

/* The engine ignores the case of keys, and which of two spellings wins is undefined. */
static int check_key(const json_t *parent, const char *wanted, bool is_object,
		     struct error *ret_error)
{
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)parent, key, value) {
		if (strcasecmp(key, wanted) != 0)
			continue;
		if (!streq(key, wanted))
			return error_set(ret_error, -EKEYREJECTED, "key %s must be written %s", key,
					 wanted);
		if (is_object && !json_is_object(value) && !json_is_null(value))
			return error_set(ret_error, -EKEYREJECTED, "%s must be an object", key);
	}
	return 0;
}

static int check_first(const json_t *body, struct error *ret_error)
{
	const json_t *host = json_object_get(body, "HostConfig");
	const json_t *networking = json_object_get(body, "NetworkingConfig");
	const struct {
		const json_t *parent;
		const char *key;
		bool is_object;
	} rows[] = {
		{body, "Image", false},
		{body, "MacAddress", false},
		{body, "Labels", true},
		{body, "HostConfig", true},
		{body, "NetworkingConfig", true},
		{host, "AutoRemove", false},
		{host, "NetworkMode", false},
		{host, "RestartPolicy", true},
		{networking, "EndpointsConfig", true},
	};
	int r = 0;

	if (!json_is_object(body))
		return error_set(ret_error, -EKEYREJECTED, "the create body must be an object");
	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(rows); i++)
		r = check_key(rows[i].parent, rows[i].key, rows[i].is_object, ret_error);
	if (r >= 0 && json_is_true(json_object_get(host, "AutoRemove")))
		r = error_set(
			ret_error, -EKEYREJECTED,
			"AutoRemove: once stopped the container is gone, with no way to roll back");
	return r;
}

/* Moves the networks of the operator's body to where this API version expects them. */
static int place_first_networks(json_t *body, const json_t *host, int api_minor, json_t *connect,
				struct error *ret_error)
{
	const char *main = recreate_network_mode(host);
	json_t *written = json_get_path(body, "NetworkingConfig", "EndpointsConfig", NULL);
	_cleanup_json_ json_t *endpoints =
		json_need(json_is_object(written) ? json_incref(written) : json_object());
	_cleanup_json_ json_t *mac = json_incref(json_object_get(body, "MacAddress"));

	if (!recreate_mode_has_endpoints(main))
		return 0;
	/* Below 1.44 the engine takes a single endpoint, whatever NetworkMode says. */
	if (json_object_size(endpoints) == 1 && !json_object_get(endpoints, main))
		main = json_object_iter_key(json_object_iter(endpoints));
	if (api_minor >= 44 && !recreate_is_empty(mac)) {
		json_t *endpoint = recreate_object(endpoints, main);

		if (!json_object_get(endpoint, "MacAddress"))
			json_put(endpoint, "MacAddress", json_incref(mac));
		(void)json_object_del(body, "MacAddress");
	}
	return recreate_place_endpoints(body, steal(endpoints), main, api_minor, connect,
					ret_error);
}

int recreate_first(const json_t *written, const json_t *new_image, const char *image,
		   const char *target, int api_minor, struct recreate_plan *ret,
		   struct error *ret_error)
{
	_cleanup_json_ json_t *body = NULL, *connect = json_need(json_array());
	_cleanup_free_ char *policy = NULL;
	json_t *host;
	int r;

	r = check_first(written, ret_error);
	if (r < 0)
		return r;
	body = json_need(json_deep_copy(written));
	host = recreate_object(body, "HostConfig");
	r = read_policy(host, &policy, ret_error);
	if (r >= 0)
		r = place_first_networks(body, host, api_minor, connect, ret_error);
	if (r < 0)
		return r;

	sign(body, new_image, image, target, policy);
	*ret = (struct recreate_plan){
		.body = steal(body), .connect = steal(connect), .policy = steal(policy)};
	return 0;
}

void recreate_plan_free(struct recreate_plan *plan)
{
	json_decref(plan->body);
	json_decref(plan->connect);
	free(plan->policy);
	*plan = (struct recreate_plan){0};
}
