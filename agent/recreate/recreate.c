/* SPDX-License-Identifier: MIT */
#include "recreate-internal.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "create-body.h"
#include "ref.h"

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
	const char *count = strchr(text, ':');
	_cleanup_json_ json_t *policy = json_pack(
		"{s:s#, s:o*}", "Name", text, (int)strcspn(text, ":"), "MaximumRetryCount",
		count ? json_integer(strtoll(count + 1, NULL, 10)) : NULL);
	_cleanup_free_ char *again = policy ? recreate_policy_text(policy) : NULL;

	/* What does not read back the same is no policy: a count of 0, a sign, another name with a count. */
	return streq_null(again, text) ? steal(policy) : NULL;
}

static void add_reference(json_t *array, const char *text)
{
	_cleanup_json_ json_t *item =
		text ? json_need(json_stringn(text, strcspn(text, ":"))) : NULL;

	if (!recreate_is_empty(item) && recreate_index_of(array, item) == json_array_size(array))
		json_append(array, steal(item));
}

json_t *recreate_references(const json_t *container)
{
	const json_t *host = json_object_get(container, "HostConfig");
	json_t *array = json_need(json_array()), *entry;
	size_t i;

	for (i = 0; i < RECREATE_MODES; i++)
		add_reference(array, recreate_shared_with(host, i));
	json_array_foreach (json_object_get(host, "VolumesFrom"), i, entry)
		add_reference(array, json_string_value(entry));
	json_array_foreach (json_object_get(host, "Links"), i, entry)
		add_reference(array, recreate_without_slash(json_string_value(entry)));
	return array;
}

/* The engine takes every unambiguous prefix of an id; n: the length of text. */
static bool means_id(const char *text, size_t n, const char *id)
{
	if (n == strlen(id))
		return strncmp(id, text, n) == 0;
	return n >= 4 && strspn(text, "0123456789abcdef") >= n && strncmp(id, text, n) == 0;
}

bool recreate_depends_on(const json_t *host, const char *id, const char *name, const char *known_as)
{
	const json_t *entry;
	size_t i;

	for (i = 0; i < RECREATE_MODES; i++) {
		const char *whose = recreate_shared_with(host, i);

		if (whose && (means_id(whose, strlen(whose), id) || streq_null(known_as, whose)))
			return true;
	}
	json_array_foreach (json_object_get(host, "Links"), i, entry) {
		const char *to = recreate_without_slash(json_string_value(entry));

		if (to && name[0] && strcspn(to, ":") == strlen(name) && after_prefix(to, name))
			return true;
	}
	/* Volumes stay; only the id, from which its own successor would take them, goes. */
	json_array_foreach (json_object_get(host, "VolumesFrom"), i, entry) {
		const char *from = json_string_value(entry);

		if (from && means_id(from, strcspn(from, ":"), id) &&
		    !(strcspn(from, ":") == strlen(name) && after_prefix(from, name)))
			return true;
	}
	return false;
}

const char *recreate_own_label(const json_t *container, const json_t *image, const char *key)
{
	const char *text = json_get_string(json_get_path(container, "Config", "Labels", NULL), key);
	const char *of_image = json_get_string(json_get_path(image, "Config", "Labels", NULL), key);

	return text && !streq_null(text, of_image) ? text : NULL;
}

/* Refuses what no create body can reproduce. */
static int check_container(const struct recreate_input *in, struct error *ret_error)
{
	const json_t *config = json_object_get(in->container, "Config");
	const json_t *host = json_object_get(in->container, "HostConfig");
	const json_t *defaults = json_object_get(in->old_image, "Config");

	if (!json_is_object(config) || !json_is_object(host))
		return error_set(ret_error, -EKEYREJECTED,
				 "the engine's answer lacks Config or HostConfig");
	if (!json_get_string(in->old_image, "Id") ||
	    (defaults && !json_is_object(defaults) && !json_is_null(defaults)))
		return error_set(ret_error, -EKEYREJECTED,
				 "its image %.19s is no longer readable in the engine, so what was "
				 "set by hand is unknown: pull that image again, by its digest, or "
				 "create the container again",
				 json_string_value(json_object_get(in->container, "Image")));
	if (recreate_own_label(in->container, in->old_image, "com.docker.swarm.service.id") ||
	    recreate_own_label(in->container, in->old_image, "com.docker.swarm.task.id"))
		return error_set(ret_error, -EKEYREJECTED, "it belongs to a swarm service");
	if (json_is_true(json_object_get(host, "AutoRemove")))
		return error_set(ret_error, -EKEYREJECTED,
				 "it was created with --rm: once stopped it is gone, with no way "
				 "to roll back");
	return 0;
}

/* The labels, image and restart policy of every container that Pullet creates. */
static void sign(const struct recreate_input *in, const struct recreate_plan *plan)
{
	json_t *host = json_object_get(plan->body, "HostConfig");
	json_t *labels = recreate_object(plan->body, "Labels");
	const char *own = json_get_string(plan->body, "Image");

	recreate_note_own(plan->body, in->new_image);
	json_put(labels, RECREATE_LABEL_TARGET, json_string(in->target));
	json_put(labels, RECREATE_LABEL_POLICY, json_string(plan->policy));
	/* The way in which the operator wrote it stays: log tags and docker ps show it. */
	if (!own || strchr(own, '@') || !ref_is_same_tag(own, in->image))
		json_put(plan->body, "Image", json_string(in->image));
	/* Unset is as good as no. */
	if (!recreate_is_empty(json_object_get(json_object_get(host, "RestartPolicy"), "Name")))
		json_put(host, "RestartPolicy", json_pack("{s:s}", "Name", "no"));
}

static int plan_successor(const struct recreate_input *in, struct recreate_plan *plan,
			  struct error *ret_error)
{
	int r = recreate_config(in, plan, ret_error);

	if (r >= 0)
		r = recreate_host_config(in, plan, ret_error);
	return r < 0 ? r : recreate_networks(in, plan, ret_error);
}

int recreate_spec(const struct recreate_input *in, struct recreate_plan *ret,
		  struct error *ret_error)
{
	const json_t *host = json_object_get(in->first ? in->first : in->container, "HostConfig");
	_cleanup_(recreate_plan_free) struct recreate_plan plan = {0};
	int r = in->first ? create_body_check(in->first, ret_error)
			  : check_container(in, ret_error);

	if (r < 0)
		return r;
	plan.connect = json_need(json_array());
	plan.policy = recreate_policy_text(json_object_get(host, "RestartPolicy"));
	if (!plan.policy)
		return error_set(ret_error, -EKEYREJECTED, "its restart policy is unknown");
	r = in->first ? recreate_first(in, &plan, ret_error) : plan_successor(in, &plan, ret_error);
	if (r < 0)
		return r;
	sign(in, &plan);
	*ret = plan;
	plan = (struct recreate_plan){0};
	return 0;
}

void recreate_plan_free(struct recreate_plan *plan)
{
	json_decref(plan->body);
	json_decref(plan->connect);
	free(plan->policy);
	*plan = (struct recreate_plan){0};
}
