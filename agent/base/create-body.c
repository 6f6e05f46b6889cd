/* SPDX-License-Identifier: MIT */
#include "create-body.h"

#include <errno.h>

/* The engine ignores the case of keys, and which of two spellings wins is undefined. */
int create_body_check(const json_t *body, struct error *ret_error)
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
	const char *key;
	json_t *value;

	if (!json_is_object(body))
		return error_set(ret_error, -EKEYREJECTED, "the create body must be an object");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		json_object_foreach ((json_t *)rows[i].parent, key, value) {
			if (!json_keys_match(key, rows[i].key))
				continue;
			if (!streq(key, rows[i].key))
				return error_set(ret_error, -EKEYREJECTED,
						 "key %s must be written %s", key, rows[i].key);
			if (rows[i].is_object && !json_is_object(value) && !json_is_null(value))
				return error_set(ret_error, -EKEYREJECTED, "%s must be an object",
						 key);
		}
	}
	if (json_is_true(json_object_get(host, "AutoRemove")))
		return error_set(
			ret_error, -EKEYREJECTED,
			"AutoRemove: once stopped the container is gone, with no way to roll back");
	return 0;
}
