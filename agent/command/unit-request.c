/* SPDX-License-Identifier: MIT */
#include "unit-request.h"

#include <errno.h>

#include "unit-start.h"

int unit_request_check(const json_t *j, const struct config *c, const char *path,
		       struct unit_request *ret, struct error *ret_error)
{
	const char *key = json_get_string(j, "key"), *name = json_get_string(j, "container");
	const struct container_config *container = name ? config_container(c, name) : NULL;
	int kind = 0;

	*ret = (struct unit_request){.event = json_object_get(j, "event")};
	if (streq_null(key, UNIT_KEY_NOTIFY))
		return json_is_object(ret->event)
			       ? 0
			       : error_set(ret_error, -EBADMSG, "request: event is not an object");
	while (kind < HOOK_MAX && !streq_null(key, unit_keys[kind]))
		kind++;
	if (kind == HOOK_MAX || !name)
		return error_set(ret_error, -EBADMSG, "request: no key or container that is known");
	if (!container)
		return error_set(ret_error, -ENOENT, "%s has no [container %s]", path, name);
	if (!container->hooks[kind].unit)
		return error_set(ret_error, -ENOENT, "%s: [container %s] has no %s =", path, name,
				 key);
	ret->unit = unit_instance(container->hooks[kind].unit, name);
	ret->timeout_ms = container->hooks[kind].timeout_ms;
	return 0;
}
