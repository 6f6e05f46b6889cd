/* SPDX-License-Identifier: MIT */
#include "recreate-internal.h"

const char recreate_modes[RECREATE_MODES][12] = {"NetworkMode", "PidMode", "IpcMode"};

bool recreate_is_empty(const json_t *j)
{
	/* Each of these is 0 for a value of another type. */
	return !j || !(json_is_real(j) || json_is_boolean(j) || json_string_length(j) ||
		       json_array_size(j) || json_object_size(j) || json_integer_value(j));
}

bool recreate_same(const json_t *a, const json_t *b)
{
	return recreate_is_empty(a) ? recreate_is_empty(b) : json_equal(a, b);
}

bool recreate_is_id(const json_t *object, const char *key, const char *text)
{
	const char *id = json_get_string(object, key);

	return id && strlen(text) >= 12 && after_prefix(id, text);
}

const char *recreate_shared_with(const json_t *host, size_t i)
{
	const char *mode = json_get_string(host, recreate_modes[i]);

	return mode ? after_prefix(mode, "container:") : NULL;
}

const char *recreate_network_mode(const json_t *host)
{
	const char *mode = json_get_string(host, "NetworkMode");

	return !mode || mode[0] == '\0' || streq(mode, "default") ? "bridge" : mode;
}

size_t recreate_index_of(const json_t *array, const json_t *value)
{
	size_t i = 0;

	while (i < json_array_size(array) && !json_equal(json_array_get(array, i), value))
		i++;
	return i;
}

json_t *recreate_object(json_t *parent, const char *key)
{
	if (!json_is_object(json_object_get(parent, key)))
		json_put(parent, key, json_object());
	return json_object_get(parent, key);
}
